"""Pools on a device: the CPU's numbers to the bit, windows of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from compare import normal

import littlecore as lc
import littlecore.nn.functional as F

POOLS = {
    "max": lambda x: F.max_pool2d(x, 2),
    "max overlapping": lambda x: F.max_pool2d(x, (3, 2), (2, 1), (1, 0), ceil_mode=True),
    "max dilated": lambda x: F.max_pool2d(x, (2, 3), (1, 2), (1, 2), (3, 2)),
    "avg": lambda x: F.avg_pool2d(x, 3, 2, 1),
    "avg of what is inside": lambda x: F.avg_pool2d(x, (2, 3), (2, 2), (1, 1), ceil_mode=True, count_include_pad=False),
    "avg divided by 5": lambda x: F.avg_pool2d(x, 2, divisor_override=5),
    "avg adaptive": lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    "avg of all": lambda x: F.adaptive_avg_pool2d(x, 1),
    "max of lines": lambda x: F.max_pool1d(x[0], 3, 2, 1),
}


@pytest.mark.parametrize("dtype", [lc.float32, lc.float64], ids=lambda d: d.name)
@pytest.mark.parametrize("name", POOLS)
def test_pool(name, dtype):
    x, results = normal((2, 3, 7, 10), dtype, grad=False), []
    for at in ("cpu", "cuda"):
        leaf = x.to(at).detach().requires_grad_(True)
        y = POOLS[name](leaf)
        y.backward(normal(y.shape, dtype, 1, grad=False).to(at))
        results.append((y.tolist(), leaf.grad.tolist()))
    assert results[0] == results[1]


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], ids=lambda d: d.name)
@pytest.mark.parametrize("name", POOLS)
def test_16_bits_are_rounded_once(name, dtype):
    x = normal((1, 3, 7, 10), dtype, grad=False)
    wide, narrow = x.float().requires_grad_(True), x.cuda().requires_grad_(True)
    want, got = POOLS[name](wide), POOLS[name](narrow)
    dy = normal(want.shape, dtype, 1, grad=False)
    want.backward(dy.float())
    got.backward(dy.cuda())
    assert got.tolist() == want.to(dtype).tolist() and narrow.grad.tolist() == wide.grad.to(dtype).tolist()


def test_the_first_of_equals_and_nan():
    low, nan = -np.inf, np.nan
    x = lc.tensor([[1.0, 1, nan, 3], [1, 1, nan, 9], [low, low, 0, -0.0], [low, low, 0, 0]])[None, None]
    want, places = F.max_pool2d(x, 2, return_indices=True)
    got, at = F.max_pool2d(x.cuda(), 2, return_indices=True)
    assert at.tolist() == places.tolist()
    np.testing.assert_array_equal(got.cpu().numpy(), want.numpy())


def test_no_planes():
    x = lc.zeros(0, 2, 4, 4, device="cuda").requires_grad_(True)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.shape == x.shape
