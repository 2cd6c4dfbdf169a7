"""Layers on a device beside the CPU's: group_norm, rotary embeddings, recurrent layers, pointwise losses, scans."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS, both, close, normal

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import _core, nn

IDS = {"ids": lambda d: d.name}
WIDE = [lc.float32, lc.float64]


@pytest.mark.parametrize("dtype", WIDE, **IDS)
@pytest.mark.parametrize("shape, groups", [((2, 6, 5, 7), 3), ((3, 4), 2), ((1, 9, 300), 1), ((2, 34, 3), 34)], ids=str)
def test_group_norm(shape, groups, dtype):
    x = normal(shape, dtype) + 100
    w, b = normal((shape[1],), dtype, 1), normal((shape[1],), dtype, 2)
    both(lambda x, w, b: F.group_norm(x, groups, w, b), x, w, b, units=4)
    both(lambda x: F.group_norm(x.transpose(0, 1), 1), normal(shape, dtype))
    both(lambda x: F.group_norm(x[:0], groups), x)


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], **IDS)
def test_group_norm_of_half_the_bits(dtype):
    x, w = normal((2, 6, 11), dtype, grad=False), normal((6,), dtype, 1, grad=False)
    there = [t.cuda().requires_grad_(True) for t in (x, w)]
    here = [t.float().requires_grad_(True) for t in (x, w)]
    y, expected = F.group_norm(there[0], 3, there[1]), F.group_norm(here[0], 3, here[1])
    close(y, expected.to(dtype))
    y.backward(lc.ones_like(y))
    expected.backward(lc.ones_like(expected))
    for a, b in zip(there, here, strict=True):
        close(a.grad, b.grad.to(dtype))


def test_instance_norm():
    both(lambda x: F.instance_norm(x), normal((2, 3, 4, 5), lc.float32))
    layers = [nn.InstanceNorm1d(3, track_running_stats=True) for _ in range(2)]
    layers[1].cuda()
    x = normal((2, 3, 9), lc.float32)
    close(layers[1](x.cuda()), layers[0](x))
    for name in ("running_mean", "running_var"):
        close(getattr(layers[1], name), getattr(layers[0], name))


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_embedding(interleaved, dtype):
    angles = lc.tensor(np.random.default_rng(0).uniform(0, 6, (5, 3))).to(
        lc.float64 if dtype is lc.float64 else lc.float32
    )
    cos, sin = lc.cos(angles), lc.sin(angles)
    turn = _core.rotary_embedding
    both(lambda x, cos, sin: turn(x, cos, sin, interleaved), normal((2, 3, 5, 9), dtype), cos, sin)
    both(lambda x, cos, sin: turn(x.transpose(1, 2), cos, sin, interleaved), normal((2, 6, 5), dtype), cos, sin)
    both(lambda x, cos, sin: turn(x[:0], cos, sin, interleaved), normal((2, 5, 6), dtype), cos, sin)


LOSSES = {
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "smooth_l1": lambda x, t, reduction: F.smooth_l1_loss(x, t, reduction=reduction, beta=0.3),
    "huber": lambda x, t, reduction: F.huber_loss(x, t, reduction=reduction, delta=0.4),
    "bce": lambda x, t, reduction: _core.binary_cross_entropy(lc.sigmoid(x), t, reduction=reduction),
    "logits": F.binary_cross_entropy_with_logits,
    "kl": lambda x, t, reduction: F.kl_div(x, t, reduction=reduction),
    "kl log": lambda x, t, reduction: F.kl_div(x, t, reduction=reduction, log_target=True),
}


@pytest.mark.parametrize("dtype", WIDE, **IDS)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype):
    rng = np.random.default_rng(0)
    for shape in ((3, 7), (2, 4500), (0, 3)):
        t = lc.tensor(rng.uniform(0.1, 0.9, shape)).to(dtype).requires_grad_(True)
        for reduction in ("none", "mean", "sum"):
            both(lambda x, t, r=reduction: LOSSES[name](x, t, reduction=r), normal(shape, dtype), t)


def test_weighted_losses():
    x, t = normal((5, 9), lc.float32), lc.tensor(np.random.default_rng(1).uniform(0, 1, (5, 9))).float()
    w, p = lc.arange(1, 10).float() / 4, lc.arange(2, 11).float() / 3
    both(lambda x, t, w, p: F.binary_cross_entropy_with_logits(x, t, weight=w, pos_weight=p), x, t, w, p)
    both(lambda x, t: F.mse_loss(x.transpose(0, 1), t[0, :, None]), x, t)
    if lc.cuda.get_device_name().startswith("emulated"):
        with pytest.raises(RuntimeError):
            _core.binary_cross_entropy(lc.full((3,), 1.5, device="cuda"), lc.zeros(3, device="cuda"))
            lc.cuda.synchronize()


RECURRENT = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "tanh": nn.RNN,
    "relu": lambda *sizes, **how: nn.RNN(*sizes, nonlinearity="relu", **how),
}


@pytest.mark.parametrize("dtype", WIDE, **IDS)
@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_layers(name, dtype):
    lc.manual_seed(0)
    make = RECURRENT[name]
    here = make(5, 7, num_layers=2, bidirectional=True).to(dtype)
    there = make(5, 7, num_layers=2, bidirectional=True).to("cuda", dtype)
    there.load_state_dict(here.state_dict())
    x = normal((9, 3, 5), dtype)
    copy = x.detach().cuda().requires_grad_(True)
    y, y_there = here(x)[0], there(copy)[0]
    close(y_there, y)
    dy = normal(y.shape, dtype, 3, grad=False)
    y.backward(dy)
    y_there.backward(dy.cuda())
    close(copy.grad, x.grad)
    for a, b in zip(there.parameters(), here.parameters(), strict=True):
        close(a.grad, b.grad, units=4)


def test_a_projected_lstm():
    lc.manual_seed(0)
    here, there = (nn.LSTM(4, 6, proj_size=3) for _ in range(2))
    there.cuda()
    there.load_state_dict(here.state_dict())
    x = normal((5, 2, 4), lc.float32)
    for m, t in ((here, x), (there, x.detach().cuda().requires_grad_(True))):
        m(t)[0].sum().backward()
    for a, b in zip(there.parameters(), here.parameters(), strict=True):
        close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
def test_scans(dtype):
    for shape, dim in (((3, 40), 1), ((40, 3), 0), ((2, 5, 3), 1), ((1500,), 0), ((4, 0), 1)):
        both(lambda x, d=dim: lc.cumsum(x, d), normal(shape, dtype) / 8)
        both(lambda x, d=dim: lc.cumsum(x.transpose(0, -1), d), normal(shape, dtype) / 8)
    x = lc.tensor(np.random.default_rng(0).uniform(0.8, 1.2, (3, 20))).to(dtype)
    x[1, 5] = 0
    x[2, 3] = x[2, 9] = 0
    both(lambda x: lc.cumprod(x, 1), x.requires_grad_(True), units=2)
    both(lambda x: lc.cumprod(x, 0), x)


def test_scans_of_integers():
    x = lc.tensor(np.random.default_rng(0).integers(-3, 4, (3, 1300)))
    assert lc.cumsum(x.cuda(), 1).tolist() == lc.cumsum(x, 1).tolist()
    assert lc.cumsum(x.cuda().int(), 0).tolist() == lc.cumsum(x, 0).tolist()
    assert lc.cumprod(x.cuda() > 0, 0).tolist() == lc.cumprod(x > 0, 0).tolist()
