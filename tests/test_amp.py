"""GradScaler's arithmetic and autocast's refusals, which need no GPU. In 16 bits: tests/cuda/test_cuda_autocast.py."""

from __future__ import annotations

import math

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn, optim
from littlecore.amp import GradScaler


def weight(value: float = 1.0) -> lc.Tensor:
    return lc.full((3,), value).requires_grad_()


def backward(scaler: GradScaler, w: lc.Tensor, gradient: float) -> None:
    w.grad = None
    scaler.scale((w * gradient).sum()).backward()


def test_the_loss_is_scaled_and_the_gradient_is_not():
    w, scaler = weight(), GradScaler(init_scale=8.0)
    step = optim.SGD([w], lr=0.5)
    backward(scaler, w, 0.75)
    assert w.grad.tolist() == [6.0] * 3
    scaler.step(step)
    assert w.grad.tolist() == [0.75] * 3 and w.tolist() == [1 - 0.375] * 3
    scaler.update()
    assert scaler.get_scale() == 8


def test_gradients_can_be_clipped_between_unscale_and_step():
    w, scaler = weight(), GradScaler(init_scale=1024.0)
    step = optim.SGD([w], lr=1.0)
    backward(scaler, w, 2.0)
    scaler.unscale_(step)
    nn.utils.clip_grad_value_([w], 0.25)
    scaler.step(step)
    assert w.tolist() == [0.75] * 3


@pytest.mark.parametrize("gradient", [math.inf, -math.inf, math.nan])
def test_a_step_of_no_numbers_is_skipped(gradient):
    bad, good, scaler = weight(), weight(), GradScaler(init_scale=64.0, backoff_factor=0.25, growth_interval=2)
    first, second = optim.SGD([bad], lr=1.0), optim.SGD([good], lr=1.0)
    backward(scaler, bad, gradient)
    backward(scaler, good, 1.0)
    assert scaler.step(first) is None
    scaler.step(second)
    scaler.update()
    assert bad.tolist() == [1.0] * 3 and good.tolist() == [0.0] * 3
    assert scaler.get_scale() == 16
    backward(scaler, good, 1.0)
    assert good.grad.tolist() == [16.0] * 3, "the next loss is scaled by the new scale"


def test_growth_follows_steps_in_a_row():
    w, scaler = weight(), GradScaler(init_scale=4.0, growth_factor=3.0, backoff_factor=0.5, growth_interval=2)
    step = optim.SGD([w], lr=0.0)
    scales = []
    for gradient in (1, 1, 1, math.inf, 1, 1, 1, 1):
        backward(scaler, w, gradient)
        scaler.step(step)
        scaler.update()
        scales.append(scaler.get_scale())
    assert scales == [4, 12, 12, 6, 6, 18, 18, 54]


def test_the_scale_stays_a_float32():
    w, scaler = weight(), GradScaler(init_scale=2.0**127, growth_interval=1)
    step = optim.SGD([w], lr=0.0)
    backward(scaler, w, 2.0**-20)
    scaler.step(step)
    scaler.update()
    assert scaler.get_scale() == 2.0**127


def test_the_order_of_calls():
    w, scaler = weight(), GradScaler()
    step = optim.SGD([w], lr=0.0)
    with pytest.raises(ValueError, match="no step"):
        scaler.update()
    with pytest.raises(ValueError, match="no parameter of the optimizer has a gradient"):
        scaler.step(step)
    backward(scaler, w, 1.0)
    scaler.unscale_(step)
    with pytest.raises(RuntimeError, match="a second time"):
        scaler.unscale_(step)
    scaler.step(step)
    with pytest.raises(RuntimeError, match="a second time"):
        scaler.step(step)
    with pytest.raises(RuntimeError, match="came first"):
        scaler.unscale_(step)
    half = lc.ones(2, dtype=lc.float16).requires_grad_()
    half.grad = lc.ones(2, dtype=lc.float16)
    with pytest.raises(ValueError, match="float16 gradients"):
        GradScaler().unscale_(optim.SGD([half], lr=0.1))
    with pytest.raises(RuntimeError, match="closure"):
        scaler.step(step, lambda: None)


def test_state_and_disabled():
    scaler = GradScaler(init_scale=32.0, growth_factor=4.0, growth_interval=7)
    scaler.update(16.0)
    other = GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict() and other.get_scale() == 16
    off = GradScaler(enabled=False)
    w = weight()
    assert off.scale(w) is w and off.get_scale() == 1 and off.state_dict() == {} and not off.is_enabled()
    backward(off, w, 2.0)
    off.unscale_(step := optim.SGD([w], lr=0.25))
    off.step(step)
    off.update()
    assert w.tolist() == [0.5] * 3
    losses = scaler.scale([lc.ones(1), (lc.ones(2),)])
    assert losses[0].tolist() == [16.0] and losses[1][0].tolist() == [16.0, 16.0]


def test_the_same_as_pytorch():
    torch = pytest.importorskip("torch")
    ours, theirs = (
        GradScaler(init_scale=4.0, growth_interval=3),
        torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3),
    )
    w, v = weight(), torch.ones(3, requires_grad=True)
    step, their_step = optim.SGD([w], lr=0.1), torch.optim.SGD([v], lr=0.1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        g = float(rng.choice([0.5, 2.0, math.inf, math.nan], p=[0.5, 0.4, 0.05, 0.05]))
        backward(ours, w, g)
        v.grad = None
        theirs.scale((v * g).sum()).backward()
        for scaler, optimizer in ((ours, step), (theirs, their_step)):
            scaler.step(optimizer)
            scaler.update()
        assert ours.state_dict() == theirs.state_dict()
        np.testing.assert_array_equal(w.detach().numpy(), v.detach().numpy())


def test_autocast_is_for_cuda():
    with pytest.raises(ValueError, match="kernels of the CPU compute in float32"):
        lc.autocast("cpu", dtype=lc.bfloat16)
    with pytest.raises(ValueError, match="device_type"):
        lc.autocast("tpu")
    with pytest.raises(ValueError, match="bfloat16 or float16"):
        lc.autocast("cuda", dtype=lc.float32)
    with lc.autocast("cpu", enabled=False):
        assert (lc.ones(2, 2) @ lc.ones(2, 2)).dtype is lc.float32


def test_what_is_on_the_cpu_stays_as_it_is():
    x = lc.ones(2, 2)
    with lc.autocast("cuda", dtype=lc.bfloat16):
        assert (x @ x).dtype is lc.float32
        assert lc.softmax(x.bfloat16().float(), 0).dtype is lc.float32
        assert lc._core.autocast_dtype() is lc.bfloat16
        with lc.autocast("cuda", enabled=False):
            assert lc._core.autocast_dtype() is None
        assert lc._core.autocast_dtype() is lc.bfloat16
    assert lc._core.autocast_dtype() is None


def test_a_decorated_function_and_an_exception():
    @lc.autocast("cuda", dtype=lc.float16)
    def f(fail: bool) -> lc.dtype:
        if fail:
            raise KeyError
        return lc._core.autocast_dtype()

    assert f(False) is lc.float16
    with pytest.raises(KeyError):
        f(True)
    assert lc._core.autocast_dtype() is None
