"""Tensors made on a device: the CPU's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS

import littlecore as lc

MAKE = {
    "arange": lambda d: lc.arange(-3, 100, 7, device=d),
    "arange float": lambda d: lc.arange(0.1, 3.0, 0.007, device=d),
    "arange nothing": lambda d: lc.arange(0, device=d),
    "eye": lambda d: lc.eye(5, 7, dtype=lc.bfloat16, device=d),
    "linspace": lambda d: lc.linspace(-1, 2, 13, device=d),
    "uniform": lambda d: lc.rand(5001, device=d),
    "normal": lambda d: lc.randn(7, 300, device=d),
    "normal bfloat16": lambda d: lc.randn(131, dtype=lc.bfloat16, device=d),
    "uniform float64": lambda d: lc.rand(131, dtype=lc.float64, device=d),
    "like": lambda d: lc.rand_like(lc.zeros(5, 3, device=d)),
    "integers": lambda d: lc.randint(-5, 1000, (777,), device=d),
    "large integers": lambda d: lc.randint(-(2**62), 2**62, (65,), device=d),
    "permutation": lambda d: lc.randperm(37, device=d),
    "bernoulli": lambda d: lc.bernoulli(lc.full((100,), 0.3, device=d)),
    "in place": lambda d: lc.zeros(9, 11, device=d).transpose(0, 1).normal_(3, 0.5),
    "uniform in place": lambda d: lc.zeros(130, device=d).uniform_(-2, 5),
    "bernoulli in place": lambda d: lc.zeros(130, device=d).bernoulli_(0.7),
    "multinomial": lambda d: lc.multinomial(
        lc.tensor([[0.1, 0.0, 3.0], [1.0, 1.0, 1.0]], device=d), 5, replacement=True
    ),
}


@pytest.mark.parametrize("name", MAKE)
def test_the_cpus_numbers(name):
    results = []
    for device in ("cpu", "cuda"):
        lc.manual_seed(11)
        x = MAKE[name](device)
        assert x.device == ("cuda:0" if device == "cuda" else "cpu")
        results.append((x.dtype, x.shape, x.tolist(), lc.rand(1).item()))  # and the generator stands at the same place
    assert results[0] == results[1]


def test_normals_of_float64_within_the_math_librarys_error():
    results = []
    for device in ("cpu", "cuda"):
        lc.manual_seed(5)
        results.append(lc.randn(1000, dtype=lc.float64, device=device).cpu().numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_every_call_draws_new_numbers(dtype):
    x = lc.zeros(70, dtype=dtype, device="cuda")
    x.uniform_()
    first = x.tolist()
    x.uniform_()
    assert x.tolist() != first and min(x.tolist()) >= 0 and max(x.tolist()) <= 1
