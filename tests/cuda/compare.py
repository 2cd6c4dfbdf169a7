"""One computation on the CPU and on a device: results and gradients side by side."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import littlecore as lc

FLOATS = [lc.float32, lc.float64, lc.bfloat16, lc.float16]
CLOSE = {lc.float32: 1e-5, lc.float64: 1e-12, lc.bfloat16: 2e-2, lc.float16: 3e-3}  # of the largest element


def close(device_result: lc.Tensor, cpu_result: lc.Tensor, units: float = 1) -> None:
    assert device_result.device == "cuda:0" and device_result.dtype is cpu_result.dtype
    got, want = device_result.detach().cpu().double().numpy(), cpu_result.detach().double().numpy()
    assert got.shape == want.shape
    finite = np.abs(want[np.isfinite(want)])
    np.testing.assert_allclose(got, want, rtol=0, atol=units * CLOSE[cpu_result.dtype] * (1 + finite.max(initial=0)))


def both(f: Callable[..., lc.Tensor], *inputs: lc.Tensor | None, units: float = 1, seed: int = 0) -> None:
    """f of the inputs here and there: the same result, and the same gradient for every input that asks for one."""
    leaves = [x if x is None else x.detach().requires_grad_(x.requires_grad) for x in inputs]
    copies = [x if x is None else x.detach().cuda().requires_grad_(x.requires_grad) for x in inputs]
    here, there = f(*leaves), f(*copies)
    close(there, here, units)
    if not here.requires_grad:
        return
    dy = lc.tensor(np.random.default_rng(seed).normal(0, 1, here.shape)).to(here.dtype)
    here.backward(dy)
    there.backward(dy.cuda())
    for x, y in zip(leaves, copies, strict=True):
        if x is not None and x.requires_grad:
            close(y.grad, x.grad, units)


def normal(shape: tuple[int, ...], dtype: lc.dtype, seed: int = 0, grad: bool = True) -> lc.Tensor:
    return lc.tensor(np.random.default_rng(seed).normal(0, 1, shape)).to(dtype).requires_grad_(grad)
