"""littlecore.kernels: linear with its activation, dropout, group_norm, embeddings, avg_pool2d, conv_transpose2d,
losses, optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frameworks import back, near, random, torch
from reference.dropout import mask as dropout_mask
from reference.embedding import embedding_backward
from reference.group_norm import group_norm_backward, group_norm_forward
from reference.rotary_embedding import angles, rotary_embedding_backward, rotary_embedding_forward

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import kernels


@pytest.mark.parametrize("name", ["linear_relu", "linear_gelu", "linear_gelu_tanh", "linear_silu"])
def test_linear_and_activation(array, name: str):
    x, w, b, dy = random(2, 3, 5), random(4, 5, seed=1), random(4, seed=2), random(2, 3, 4, seed=3)
    _, act, *tanh = name.split("_")
    how = {"tanh": True} if tanh else {}
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
    f = getattr(torch.nn.functional, act)
    want = f(torch.nn.functional.linear(tx, tw, tb), **({"approximate": "tanh"} if tanh else {}))
    want.backward(torch.from_numpy(dy))
    forward, backward = (getattr(kernels, f"linear_{act}_{way}") for way in ("forward", "backward"))
    got = forward(array(x), array(w), array(b), **how)
    y, saved = (got, got) if act == "relu" else got
    near(y, want.detach().numpy())
    for g, t in zip(backward(array(dy), array(x), array(w), saved, **how), (tx, tw, tb), strict=True):
        near(g, t.grad.numpy())
    none, dw, db = backward(array(dy), array(x), array(w), saved, **how, out=(False, None, False))
    assert none is None and db is None
    near(dw, tw.grad.numpy())
    if act != "relu":
        y, saved = forward(array(x), array(w), **how, out=(None, False))
        assert saved is None
        near(y, f(torch.from_numpy(x @ w.T), **({"approximate": "tanh"} if tanh else {})).numpy())


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout(array, p: float):
    x, dy, key = random(3, 50), random(3, 50, seed=1), np.array([7, 2])
    z = dropout_mask(7, 2, x.size, p).reshape(x.shape) if p < 1 else 0
    near(kernels.dropout_forward(array(x), array(key), p=p), x * z)
    near(kernels.dropout_backward(array(dy), array(key), p=p), dy * z)
    assert not np.array_equal(back(kernels.dropout_forward(array(x), array(key + 1))), x * z)
    with pytest.raises(ValueError, match=r"key has shape \[3\], needs \[2\]"):
        kernels.dropout_forward(array(x), array(np.arange(3)))


def test_dropout_is_that_of_the_library():
    lc.manual_seed(11)
    ours = F.dropout(lc.ones(1000), 0.25)
    got = kernels.dropout_forward(np.ones(1000, "float32"), np.array([11, 0]), p=0.25)
    assert np.array_equal(got, ours.numpy())


@pytest.mark.parametrize("shape, groups", [((2, 6, 5), 3), ((3, 4, 2, 3), 4), ((4, 6), 1)])
def test_group_norm(array, shape: tuple[int, ...], groups: int):
    x, w, b, dy = random(*shape) + 3, random(shape[1], seed=1), random(shape[1], seed=2), random(*shape, seed=3)
    how = {"groups": groups, "eps": 1e-3}
    y, *saved = kernels.group_norm_forward(*map(array, (x, w, b)), **how)
    near(y, group_norm_forward(x, groups, w, b, 1e-3))
    near(saved[2], x.reshape(shape[0], groups, -1).var(-1))
    want = group_norm_backward(dy, x, groups, w, 1e-3)
    for g, exact in zip(kernels.group_norm_backward(*map(array, (dy, x, w)), *saved, **how), want, strict=True):
        near(g, exact)
    with pytest.raises(ValueError, match="do not divide into 5 groups"):
        kernels.group_norm_forward(array(x), groups=5)


@pytest.mark.parametrize("interleaved", [False, True])
def test_rotary_embedding(array, interleaved: bool):
    x, dy, table = random(2, 4, 5, 8), random(2, 4, 5, 8, seed=1), angles(5, 3)
    cos, sin = np.cos(table), np.sin(table)
    for f, given, exact in (
        (kernels.rotary_embedding_forward, x, rotary_embedding_forward),
        (kernels.rotary_embedding_backward, dy, rotary_embedding_backward),
    ):
        near(f(*map(array, (given, cos, sin)), interleaved=interleaved), exact(given, cos, sin, interleaved))
    with pytest.raises(ValueError, match="need at least 6 features, x has 4"):
        kernels.rotary_embedding_forward(array(x[..., :4].copy()), array(cos), array(sin))


def test_embedding(array):
    w, index = random(6, 3), np.array([[0, 5, 2], [5, 5, 1]])
    dy = random(2, 3, 3, seed=1)
    near(kernels.embedding_forward(array(w), array(index)), w[index])
    near(kernels.embedding_backward(*map(array, (dy, index, w))), embedding_backward(dy, index, 6))
    got = kernels.embedding_backward(*map(array, (dy, index, w)), padding_index=5)
    near(got, embedding_backward(dy, index, 6, 5))
    for wrong in (-1, 6):
        with pytest.raises(IndexError, match=f"index {wrong} is out of range for a table of 6 rows"):
            kernels.embedding_forward(array(w), array(np.array([wrong])))


@pytest.mark.parametrize(
    "how",
    [
        {"kernel": 2},
        {"kernel": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True},
        {"kernel": 3, "padding": 1, "count_include_pad": False},
        {"kernel": 2, "divisor": 3},
    ],
)
def test_avg_pool2d(array, how: dict[str, Any]):
    x = random(2, 3, 7, 8)
    names = {{"kernel": "kernel_size", "divisor": "divisor_override"}.get(n, n): value for n, value in how.items()}
    t = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.avg_pool2d(t, **names)
    dy = random(*want.shape, seed=1)
    want.backward(torch.from_numpy(dy))
    near(kernels.avg_pool2d_forward(array(x), **how), want.detach().numpy())
    near(kernels.avg_pool2d_backward(array(dy), array(x), **how), t.grad.numpy())


@pytest.mark.parametrize("how", [{}, {"momentum": 0.9, "dampening": 0.1}, {"momentum": 0.8, "nesterov": True}])
def test_sgd(writable, how: dict[str, Any]):
    p, b = random(40, 1000), np.full((40, 1000), np.nan)  # the first step reads no momentum
    t = torch.nn.Parameter(torch.tensor(p))
    optimizer = torch.optim.SGD([t], lr=0.1, weight_decay=0.2, **how)
    for step in (1, 2, 3):
        g = random(40, 1000, seed=step)
        t.grad = torch.from_numpy(g)
        optimizer.step()
        state = [writable(p), writable(g)] + ([writable(b)] if how else [])
        assert kernels.sgd_step(*state, lr=0.1, step=step, weight_decay=0.2, **how) is None
    near(p, t.detach().numpy())
    with pytest.raises(ValueError, match="b is needed with momentum"):
        kernels.sgd_step(writable(p), writable(g), lr=0.1, step=1, momentum=0.5)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"stride": (2, 3), "padding": 1, "output_padding": (1, 2), "groups": 2},
        {"stride": 2, "dilation": (1, 3), "output_padding": (0, 2)},
    ],
)
def test_conv_transpose2d(array, how: dict[str, Any]):
    x, w, b = random(2, 4, 5, 3), random(4, 6 // how.get("groups", 1), 3, 2, seed=1), random(6, seed=2)
    ts = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    want = torch.nn.functional.conv_transpose2d(*ts, **how)
    dy = random(*want.shape, seed=3)
    want.backward(torch.from_numpy(dy))
    near(kernels.conv_transpose2d_forward(*map(array, (x, w, b)), **how), want.detach().numpy())
    got = kernels.conv_transpose2d_backward(*map(array, (dy, x, w)), **how)
    for g, t in zip(got, ts, strict=True):
        near(g, t.grad.numpy())
    dx, dw, none = kernels.conv_transpose2d_backward(*map(array, (dy, x, w)), **how, out=(False, None, False))
    assert dx is None and none is None
    near(dw, ts[1].grad.numpy())


@pytest.mark.parametrize(
    "how, says",
    [
        ({"output_padding": 1}, "output_padding 1 must be smaller"),
        ({"padding": 9}, "leave a plane of -11 elements"),
        ({"groups": 3}, "3 groups of filters"),
        ({"stride": 0}, "stride 0 is out of range"),
        ({"b": random(7)}, "c is 7, but the other arguments make it 6"),
    ],
)
def test_conv_transpose2d_refuses(how: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=f"conv_transpose2d_forward: .*{says}"):
        kernels.conv_transpose2d_forward(random(2, 4, 5, 3), random(4, 6, 3, 2), **how)


LOSSES: dict[str, Any] = {
    "mse_loss": {},
    "smooth_l1_loss": {"beta": 0.7},
    "huber_loss": {"delta": 0.7},
    "binary_cross_entropy_with_logits": {},
    "kl_div": {"log_target": True},
}


@pytest.mark.parametrize("expanded", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses(array, name: str, expanded: bool):
    x, target, dloss = random(3, 50), random(3, 50, seed=1), random(3, 50, seed=2)
    if expanded:  # one number for all, as of a sum
        dloss = np.lib.stride_tricks.as_strided(dloss, (3, 50), (0, 0))
    forward, backward = (getattr(kernels, f"{name}_{way}") for way in ("forward", "backward"))
    ts = [torch.tensor(a, requires_grad=True) for a in (x, target)]
    want = getattr(torch.nn.functional, name)(*ts, reduction="none", **LOSSES[name])
    want.backward(torch.tensor(dloss))
    near(forward(array(x), array(target), **LOSSES[name]), want.detach().numpy())
    for g, t in zip(backward(*map(array, (dloss, x, target)), **LOSSES[name]), ts, strict=True):
        near(g, t.grad.numpy())
    dx, none = backward(*map(array, (dloss, x, target)), **LOSSES[name], out=(None, False))
    assert none is None
    near(dx, ts[0].grad.numpy())


def test_losses_have_weights_and_probabilities(array):
    x, target, weight, of_ones = (np.abs(random(3, 5, seed=i)) for i in range(4))
    tx, *others = (torch.tensor(a, requires_grad=not i) for i, a in enumerate((x, target, weight, of_ones)))
    want = torch.nn.functional.binary_cross_entropy_with_logits(tx, *others[:2], pos_weight=others[2], reduction="none")
    want.sum().backward()
    given = [array(a) for a in (x, target, weight, of_ones)]
    near(kernels.binary_cross_entropy_with_logits_forward(*given), want.detach().numpy())
    dx, _ = kernels.binary_cross_entropy_with_logits_backward(array(np.ones_like(x)), *given)
    near(dx, tx.grad.numpy())
    target[0, 0] = 0
    exact = torch.nn.functional.kl_div(torch.tensor(x), torch.tensor(target), reduction="none")
    near(kernels.kl_div_forward(array(x), array(target)), exact.numpy())
    for name, option in (("smooth_l1_loss", "beta"), ("huber_loss", "delta")):
        with pytest.raises(ValueError, match=f"{name}_forward: {option} must"):
            getattr(kernels, f"{name}_forward")(array(x), array(target), **{option: -1.0})


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adam(writable, amsgrad: bool):
    p, m, v, top = random(40, 1000), *(np.zeros((40, 1000)) for _ in range(3))
    t = torch.nn.Parameter(torch.tensor(p))
    optimizer = torch.optim.Adam([t], lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.2, amsgrad=amsgrad)
    for step in (1, 2, 3):
        g = random(40, 1000, seed=step) / step**3
        t.grad = torch.from_numpy(g)
        optimizer.step()
        state = [writable(a) for a in (p, g, m, v)] + ([writable(top)] if amsgrad else [])
        kernels.adam_step(*state, lr=0.1, step=step, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.2)
    near(p, t.detach().numpy())


@pytest.mark.parametrize("momentum, centered", [(0.0, False), (0.9, False), (0.5, True)])
def test_rmsprop(writable, momentum: float, centered: bool):
    p, v, b, a = random(40, 1000), *(np.zeros((40, 1000)) for _ in range(3))
    t = torch.nn.Parameter(torch.tensor(p))
    how = {"lr": 0.1, "alpha": 0.9, "eps": 1e-6, "weight_decay": 0.2, "momentum": momentum}
    optimizer = torch.optim.RMSprop([t], centered=centered, **how)
    for step in (1, 2, 3):
        g = random(40, 1000, seed=step)
        t.grad = torch.from_numpy(g)
        optimizer.step()
        state = [writable(p), writable(g), writable(v), writable(b) if momentum else None]
        kernels.rmsprop_step(*state, writable(a) if centered else None, **how)
    near(p, t.detach().numpy())
    with pytest.raises(ValueError, match="b is needed with momentum"):
        kernels.rmsprop_step(writable(p), writable(g), writable(v), lr=0.1, momentum=0.5)
