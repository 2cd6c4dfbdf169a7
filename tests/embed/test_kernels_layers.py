"""littlecore.kernels: linear with its activation, dropout, group_norm, embeddings, avg_pool2d, SGD's step."""

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
