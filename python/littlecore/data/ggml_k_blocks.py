"""Values to the K kinds of llama.cpp's blocks: the search for the scales of groups.

Formats: ggml_blocks.py. The scale that just holds the largest value need not be the best one: ggml tries some others,
fits scale and offset to the codes of each by least squares, larger values counting more, and keeps the best. Then the
groups' scales are rounded, and the codes chosen once more. All is in float32, in the order of ggml's reference and
without fused products, so that the bytes are the same.

Below, a group is a column, so that sums run over rows, one after the other: x is float32 [values of a group, groups].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TINY = np.float32(1e-15)  # groups of smaller values are zero


def _columns(x: Array, groups: int) -> Array:
    """[n, 256] -> [256 / groups, n * groups]"""
    return np.ascontiguousarray(x.reshape(-1, 256 // groups).T)


def _codes_by_row(codes: Array) -> Array:
    """The inverse of _columns, as bytes.    -> uint8 [n, 256]"""
    return np.ascontiguousarray(codes.T).reshape(-1, 256).astype(np.uint8)


def _sum(terms: Array) -> Array:
    """One after the other, in float32.    [values, groups] -> [groups]"""
    total: Array = np.add.accumulate(terms, axis=0)[-1]
    return total


def _whole(x: Array, least: int, most: int) -> Array:
    """The nearest whole number of a range, halves to even, still as float32; `most` for what is no number."""
    return np.fmax(np.fmin(np.rint(x), np.float32(most)), np.float32(least))


def _ratio(a: Array, b: Array) -> Array:
    """a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b)), np.float32), where=b != 0)


def _largest(x: Array) -> Array:
    """The value of largest magnitude of each column, the first of equal ones."""
    return np.take_along_axis(x, np.abs(x).argmax(0)[None], 0)[0]


# ---- scales of codes around zero -------------------------------------------------------------------------------------


def _fit_around_zero(x: Array, half: int) -> tuple[Array, Array]:
    """Scales [groups] and codes from -half to half - 1 that lose least, larger values counting more."""
    peak, weight = _largest(x), x * x
    best = np.full(peak.shape, -1, np.float32)
    scale, codes = np.zeros_like(best), np.zeros_like(x)
    for step in (0, *range(-9, 0), *range(1, 10)):
        tried = _whole(_ratio(-(half + np.float32(0.1) * np.float32(step)), peak) * x, -half, half - 1)
        along, square = _sum(weight * x * tried), _sum(weight * tried * tried)
        better = (square > 0) & (along * along > best * square) | (step == 0)
        scale = np.where(better, _ratio(along, square), scale)
        best = np.where(better, scale * along, best)
        codes = np.where(better, tried, codes)
    zero = np.abs(peak) < TINY
    return np.where(zero, np.float32(0), scale), np.where(zero, np.float32(-half), codes)


def _fit_by_turns(x: Array, half: int) -> tuple[Array, Array]:
    """The same, each code in turn moved to where the scale of the others wants it, five times over."""
    peak, weight = _largest(x), x * x
    codes = _whole(_ratio(np.float32(-half), peak) * x, -half, half - 1)
    along, square = _sum(weight * x * codes), _sum(weight * codes * codes)
    for _ in range(5):
        for value, w, code in zip(x, weight, codes, strict=True):  # code is a row of codes: written in place
            others, left = along - w * value * code, square - w * code * code
            moved = _whole(_ratio(value * left, others), -half, half - 1)
            new_along, new_square = others + w * value * moved, left + w * moved * moved
            better = new_along * new_along * square > along * along * new_square
            better &= (others > 0) & (moved != code) & (new_square > 0)
            along, square = np.where(better, new_along, along), np.where(better, new_square, square)
            code[better] = moved[better]
    zero = np.abs(peak) < TINY
    scale = np.where(square > 0, _ratio(along, square), np.float32(0))
    return np.where(zero, np.float32(0), scale), np.where(zero, np.float32(-half), codes)


def encode_around_zero(x: Array, bits: int) -> tuple[Array, Array, Array]:
    """x = d s (q - half): Q3_K and Q6_K.    float32 [n, 256] -> float16 d [n, 1], s int [n, 16], q uint8 [n, 256]"""
    half, most = 1 << (bits - 1), 32 if bits == 3 else 128
    columns = _columns(x, 16)
    scale, codes = (_fit_by_turns if bits == 3 else _fit_around_zero)(columns, half)
    scale = scale.reshape(-1, 16)
    peak = _largest(scale.T)[:, None]
    if bits == 6:
        peak = np.where(np.abs(peak) < TINY, np.float32(0), peak)
    inverse = _ratio(np.float32(-most), peak)
    d = _ratio(np.float32(1), inverse).astype("<f2")
    s = _whole(inverse * scale, -most, most - 1)
    if bits == 3:
        s = np.where(peak == 0, np.float32(-32), s)
    else:
        codes = np.where(np.repeat(peak[:, 0] == 0, 16), np.float32(-half), codes)
    step = (d.astype(np.float32) * s).ravel()
    again = _whole(columns / np.where(step == 0, np.float32(1), step), -half, half - 1)
    return d, s.astype(np.int64), _codes_by_row(np.where(step == 0, codes, again) + half)


# ---- scales and offsets ----------------------------------------------------------------------------------------------


def _fit_from_least(
    x: Array, weight: Array, most: int, trials: Array, cost: Callable[[Array], Array]
) -> tuple[Array, Array, Array]:
    """Scales, offsets [groups] and codes from 0 to `most` for x = scale * code - offset.

    `trials`: how many steps more than `most` lie between the least and the largest value.
    """
    least, largest = np.minimum(x.min(0), np.float32(0)), x.max(0)
    weights, weighted = _sum(weight), _sum(weight * x)
    flat = largest == least
    span = np.where(flat, np.float32(1), largest - least)
    scale = 1 / (np.float32(most) / span)
    codes = _whole(np.float32(most) / span * (x - least), 0, most)
    error = _sum(weight * cost(scale * codes + least - x))
    for more in trials:
        tried = _whole((more + np.float32(most)) / (largest - least) * (x - least), 0, most)
        a, b, c = _sum(weight * tried), _sum(weight * tried * tried), _sum(weight * tried * x)
        determinant = weights * b - a * a
        slope = (weights * c - weighted * a) / determinant
        start = (b * weighted - a * c) / determinant
        slope, start = np.where(start > 0, c / b, slope), np.where(start > 0, np.float32(0), start)
        found = _sum(weight * cost(slope * tried + start - x))
        better = (determinant > 0) & (found < error) & ~flat
        error, scale = np.where(better, found, error), np.where(better, slope, scale)
        least, codes = np.where(better, start, least), np.where(better, tried, codes)
    return np.where(flat, np.float32(0), scale), -least, np.where(flat, np.float32(0), codes)


def encode_from_least(x: Array, bits: int) -> tuple[Array, Array, Array, Array, Array]:
    """x = d s q - m o: Q2_K, Q4_K and Q5_K.

    float32 [n, 256] -> float16 d, m [n, 1], s and o uint8 [n, groups], q uint8 [n, 256]
    """
    groups, most, few = (16, 15, 3) if bits == 2 else (8, 63, (1 << bits) - 1)
    columns = _columns(x, groups)
    steps = np.arange(21 if bits == 4 else 16).astype(np.float32)
    trials = np.float32(-1 if bits == 4 else -0.5) + np.float32(0.1) * steps
    weight, cost = np.abs(columns), np.abs if bits == 2 else np.square
    if bits != 2:
        weight = np.sqrt(_sum(columns * columns) / np.float32(32)) + weight
    scale, offset, codes = _fit_from_least(columns, weight, few, trials, cost)  # type: ignore[arg-type]
    rounded = []
    for part in (scale.reshape(-1, groups), offset.reshape(-1, groups)):
        peak = np.maximum(part.max(1, keepdims=True), np.float32(0))
        whole = _whole(_ratio(np.float32(most), peak) * part, 0, most)
        rounded.append(((peak / np.float32(most)).astype("<f2"), whole))
    (d, s), (m, o) = rounded
    step, start = (d.astype(np.float32) * s).ravel(), (m.astype(np.float32) * o).ravel()
    again = _whole((columns + start) / np.where(step == 0, np.float32(1), step), 0, few)
    codes = _codes_by_row(np.where(step == 0, codes, again))
    return d, m, s.astype(np.uint8), o.astype(np.uint8), codes
