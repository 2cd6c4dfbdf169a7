"""Ops that move elements or leave them out, on a device: the CPU's bits, forward and backward, in views too."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS, normal

import littlecore as lc

DTYPES = [*FLOATS, lc.int64, lc.int32, lc.uint8, lc.bool_]
IDS = {"ids": lambda d: d.name}


def exact(f, *inputs):
    """f here and there: equal bits, and equal gradients of small integers."""
    leaves = [x.detach().requires_grad_(x.requires_grad) for x in inputs]
    copies = [x.detach().cuda().requires_grad_(x.requires_grad) for x in inputs]
    here, there = f(*leaves), f(*copies)
    assert there.device == "cuda:0" and there.dtype is here.dtype
    assert str(there.tolist()) == str(here.tolist())  # NaN equals itself as text
    if here.requires_grad:
        dy = lc.tensor(np.random.default_rng(1).integers(-3, 4, here.shape)).to(here.dtype)
        here.backward(dy)
        there.backward(dy.cuda())
        for x, y in zip(leaves, copies, strict=True):
            if x.requires_grad:
                assert y.grad.tolist() == x.grad.tolist()


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_where(dtype):
    rng = np.random.default_rng(0)
    a, b = (lc.tensor(rng.integers(0, 5, s)).to(dtype) for s in ((5, 1, 33), (3, 33)))
    if dtype in FLOATS:
        a, b = a.requires_grad_(True), b.requires_grad_(True)
    c = lc.tensor(rng.integers(0, 2, (3, 33))).bool()
    exact(lc.where, c, a, b)
    exact(lambda c, a, b: lc.where(c.transpose(0, 1), a[0, 0, :, None], b.transpose(0, 1)), c, a, b)
    exact(lambda c, a: lc.where(c[:, :0], a[:, :, :0], a[:, :, :0]), c, a)


def test_numbers_of_the_cpu():
    c = lc.tensor([True, False, True])
    x = normal((3,), lc.float32)
    exact(lambda c, x: lc.where(c, x, 2.0), c, x)
    exact(lambda x, c: x.masked_fill(c, -float("inf")), x, c)
    one = lc.tensor(3.0, requires_grad=True)
    lc.where(c.cuda(), one, x.detach().cuda()).sum().backward()
    assert one.grad.item() == 2 and one.grad.device == "cpu"
    y = x.detach().cuda()
    assert y.masked_fill_(c.cuda(), 7).tolist() == x.detach().masked_fill(c, 7).tolist()
    with pytest.raises(ValueError, match=r"where: the operands are on cuda:0 and cpu"):
        lc.where(c.cuda(), x.cuda(), x)


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
def test_clamp(dtype):
    x = lc.tensor([[-2.0, float("nan"), 0.5, 3.0, 1.0], [9.0, -1.0, 0.0, 2.0, 1.0]]).to(dtype).requires_grad_(True)
    low = lc.tensor([0.0, 0.0, 0.0, float("nan"), 1.0]).to(dtype).requires_grad_(True)
    exact(lambda x, low: lc.clamp(x, low, low + 1), x, low)
    exact(lambda x: lc.clamp(x, max=lc.tensor(1.0)), x)


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_tril(dtype):
    x = lc.tensor(np.random.default_rng(0).integers(1, 5, (2, 5, 37))).to(dtype).requires_grad_(dtype in FLOATS)
    for diagonal in (-9, -2, 0, 3, 50):
        exact(lambda x, d=diagonal: lc.tril(x, d), x)
        exact(lambda x, d=diagonal: lc.triu(x.transpose(1, 2), d), x)
    assert lc.tril(lc.ones(3, 0, device="cuda")).shape == (3, 0)
