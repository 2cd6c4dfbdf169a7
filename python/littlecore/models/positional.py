"""Sinusoidal positional encoding (Vaswani et al., 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._core import Tensor, float32, from_numpy


def sinusoidal_encoding(length: int, dim: int, base: float = 1e4, dtype: Any = None) -> Tensor:
    """[length, dim]: sin(t / base^(2i/dim)) in column 2i, cos of the same in column 2i + 1. Computed in float64."""
    if dim % 2:
        raise ValueError(f"sinusoidal_encoding: dim must be even, got {dim}")
    frequency = np.exp(np.arange(0, dim, 2) * (-math.log(base) / dim))  # [dim/2]
    angle = np.arange(length)[:, None] * frequency  # [length, dim/2]
    table = np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(length, dim)  # interleaved
    return from_numpy(table).to(float32 if dtype is None else dtype)
