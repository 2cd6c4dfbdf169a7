"""Arrays of every framework that littlecore.kernels is tested on."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

import littlecore as lc

torch = pytest.importorskip("torch")

FRAMEWORKS = {
    "numpy": (np.ndarray, lambda a: a),
    "torch": (torch.Tensor, torch.from_numpy),
    "littlecore": (lc.Tensor, lc.from_numpy),
}
jax: Any = None
if importlib.util.find_spec("jax"):
    import jax

    FRAMEWORKS["jax"] = (jax.Array, jax.numpy.asarray)


class Framework:
    """Puts a NumPy array into a framework, on the same memory."""

    def __init__(self, name: str):
        self.type, self.convert = FRAMEWORKS[name]

    def __call__(self, a: np.ndarray) -> Any:
        return self.convert(a)


def random(*shape: int, seed: int = 0, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(dtype)


def back(x: Any) -> np.ndarray:
    return x.numpy() if hasattr(x, "numpy") else np.asarray(x)


def near(got: Any, want: np.ndarray) -> None:
    np.testing.assert_allclose(back(got), want, rtol=1e-10, atol=1e-10)
