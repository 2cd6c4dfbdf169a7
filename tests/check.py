"""Every tolerance of the test suite. A test names the kind of arithmetic it checks; the bound follows from it.

    equal        data movement, comparisons, and any linear kernel on small integers     no tolerance
    same_bits    the same computation with other threads, batch position or alignment    no tolerance
    adjoint      a linear kernel's backward against its forward, in integers             no tolerance
    elementwise  exp, tanh, gelu, ...                                                    units in the last place
    contraction  matmul, conv, sums: against |A||B|, by length of the accumulation       (4 + sqrt(length)) u |A||B|
    bounded      anything whose error has a known magnitude (normalisation, attention)   factor u magnitude
    softmax      relative, by the distance to the row's maximum                          (|x - max| + 8) u
    no_worse     backward passes: against the naive formula in the same precision        3 x its error
    gradients    float64 derivatives against central differences                         1e-7

u is the unit roundoff of the accumulating type (float32 for 16-bit storage), and the rounding of the output type is
added to every bound. `want` is computed from `wide(x)`, exactly what the tensor holds, by tests/reference/<op>.py.
NaN must be where the reference has NaN and infinities where it has them, so special values need no tests of their own.
No test writes a tolerance of its own: if none of these fits, the right one is missing here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import littlecore as lc

UNIT = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
TINIEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149, "float64": 2.0**-1074}
DIGITS = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}

GRADIENT_TOLERANCE = 1e-7  # of the sum of the terms' magnitudes: h^2 f''' + u / h with room for a large f'''
GRADIENT_STEP = 2.0**-17  # near the cube root of the float64 roundoff; a power of two, so x + h is nearly exact


class Tally:
    """How many comparisons were made, and how many could not have failed in an interesting way."""

    checked = 0
    vacuous = 0


# ---- reading tensors ---------------------------------------------------------------------------


def dtype_name(t: Any) -> str:
    return str(t.dtype).rsplit(".", 1)[-1]


def array(t: Any) -> np.ndarray:
    """The values of a tensor as NumPy; bfloat16, which NumPy lacks, as float32."""
    if isinstance(t, np.ndarray):
        return t
    t = t.detach()
    return (t.to(lc.float32) if dtype_name(t) == "bfloat16" else t).numpy()


def wide(t: Any) -> np.ndarray:
    """The values in a type wider than the tensor's own: what a reference is computed from."""
    if t is None:
        return None
    a = array(t)
    if a.dtype.kind != "f":
        return a.astype(np.int64) if a.dtype.kind in "iu" else a
    return a.astype(np.longdouble if a.dtype == np.float64 else np.float64)


def accumulate_unit(t: Any) -> float:
    return UNIT["float64" if dtype_name(t) == "float64" else "float32"]


# ---- no tolerance ------------------------------------------------------------------------------


def equal(got: Any, want: Any) -> None:
    """Same shape, same values; NaN equals NaN. `want` must be representable in the output's type."""
    a, w = _shaped(got, want)
    wrong = ~((a == w) | (_isnan(a) & _isnan(w)))
    _report(wrong, a, w, "must be equal")


def rounded(want: np.ndarray, dtype: str) -> np.ndarray:
    """Sums that are exact in the accumulating type, as 16-bit storage rounds them once."""
    return wide(lc.from_numpy(want.astype(np.float32)).to(getattr(lc, dtype))) if DIGITS[dtype] < 24 else want


def same_bits(got: Any, want: Any) -> None:
    """Bit for bit the same, signed zeros and NaN payloads included."""
    a, w = array(got), array(want)
    assert a.dtype == w.dtype and a.shape == w.shape, f"{a.dtype}{a.shape} is not {w.dtype}{w.shape}"
    raw = [np.ascontiguousarray(v).view(f"u{v.dtype.itemsize}").reshape(v.shape) for v in (a, w)]
    _report(raw[0] != raw[1], a, w, "must have the same bits")


def adjoint(fn: Callable[..., Any], *inputs: Any, dy: Any) -> None:
    """<fn(x), dy> == <x, grad> for each input on its own, fn being linear in each; all values small integers."""
    for i, x in enumerate(inputs):
        if x is None:
            continue
        leaf = x.detach().requires_grad_()
        y = fn(*inputs[:i], leaf, *inputs[i + 1 :])
        y.backward(dy)
        assert tuple(leaf.grad.shape) == tuple(x.shape), f"input {i}: gradient {leaf.grad.shape} for {x.shape}"
        left, right = _exact_dot(y, dy), _exact_dot(x, leaf.grad)
        assert left == right, f"input {i}: <f(x), dy> = {left} but <x, dx> = {right}"
        _count(array(leaf.grad))


def fits(terms: int, bound: int, dtype: str) -> int:
    """The largest integer magnitude (at most `bound`) whose sums of `terms` products stay exact in `dtype`."""
    return max(1, min(bound, math.isqrt(2 ** min(DIGITS[dtype], 24) // max(terms, 1) - 1)))


# ---- bounds ------------------------------------------------------------------------------------


def bounded(got: Any, want: np.ndarray, magnitude: Any, factor: Any) -> None:
    """|got - want| <= factor * u * magnitude + one rounding to the output's type."""
    name = dtype_name(got)
    a, w = _shaped(got, want)
    tolerance = factor * accumulate_unit(got) * np.abs(magnitude) + UNIT[name] * np.abs(w) + TINIEST[name]
    _compare(a, w, tolerance, name)


def contraction(got: Any, want: np.ndarray, magnitude: Any, length: int) -> None:
    """A sum of products: `magnitude` is the same sum of absolute values, `length` the longest chain of additions."""
    bounded(got, want, magnitude, 4 + math.sqrt(max(length, 1)))


def elementwise(got: Any, want: np.ndarray, ulps: float = 2) -> None:
    """Within `ulps` units in the last place of the output type (16-bit results are rounded once: 1 is enough)."""
    name = dtype_name(got)
    a, w = _shaped(got, want)
    with np.errstate(all="ignore"):
        exponent = np.frexp(np.where(np.isfinite(w), w, 0))[1]
        unit = np.maximum(np.ldexp(2 * UNIT[name], exponent - 1), TINIEST[name])
    _compare(a, w, ulps * unit, name)


def softmax(got: Any, want: np.ndarray, x: np.ndarray, axis: int, log: bool = False) -> None:
    """Every probability to (|x - max| + 8) u of itself; a logarithm of one to the same bound, absolute."""
    if want.size == 0:
        return bounded(got, want, 0, 0)
    with np.errstate(invalid="ignore"):
        distance = np.abs(x - np.max(x, axis=axis, keepdims=True))
    distance = np.where(np.isfinite(distance), distance, 0) + 8
    bounded(got, want, np.ones_like(want) if log else want, distance)


def no_worse(got: Any, want: np.ndarray, naive: np.ndarray, factor: float = 3) -> None:
    """The largest error is at most `factor` times that of the naive formula evaluated in the accumulating type.

    `naive` is the same reference called on float32 (or float64) arrays. Two roundings of the largest value are
    allowed on top, since the naive formula may be exact by chance.
    """
    name = dtype_name(got)
    a, w = _shaped(got, want)
    finite = np.isfinite(w)
    naive_error = np.max(np.abs(naive - w), where=finite & np.isfinite(naive), initial=0)
    largest = np.max(np.abs(w), where=finite, initial=0)
    tolerance = factor * naive_error + 4 * accumulate_unit(got) * largest + UNIT[name] * np.abs(w) + TINIEST[name]
    _compare(a, w, tolerance, name)


# ---- derivatives -------------------------------------------------------------------------------


def gradients(fn: Callable[..., Any], *inputs: Any, seed: int = 0, directions: int = 8) -> None:
    """Backward of fn against central differences, in float64.

    Float64 NumPy inputs are differentiated, everything else is passed through. Always along random directions;
    with at most 64 inputs and 64 outputs also every entry of the Jacobian. fn must be smooth within 2^-17 of x.
    """
    random = np.random.default_rng(seed)
    moving = [i for i, x in enumerate(inputs) if isinstance(x, np.ndarray) and x.dtype == np.float64]

    def evaluate(shift: float, direction: dict[int, np.ndarray]) -> np.ndarray:
        moved = [x + shift * direction[i] if i in direction else x for i, x in enumerate(inputs)]
        with lc.no_grad():
            return array(fn(*[_tensor(x) for x in moved])).astype(np.float64, copy=True)

    def difference(direction: dict[int, np.ndarray]) -> np.ndarray:
        return (evaluate(GRADIENT_STEP, direction) - evaluate(-GRADIENT_STEP, direction)) / (2 * GRADIENT_STEP)

    def backward(dy: np.ndarray) -> dict[int, np.ndarray]:
        leaves = [_tensor(x).requires_grad_() if i in moving else _tensor(x) for i, x in enumerate(inputs)]
        fn(*leaves).backward(_tensor(dy))
        for i in moving:
            assert leaves[i].grad is not None, f"input {i} has no gradient"
            assert tuple(leaves[i].grad.shape) == inputs[i].shape, f"input {i}: gradient of another shape"
        return {i: array(leaves[i].grad).copy() for i in moving}

    y = evaluate(0, {})
    noise = 16 * UNIT["float64"] / GRADIENT_STEP
    size = sum(inputs[i].size for i in moving)

    dy = random.standard_normal(y.shape)
    dx = backward(dy)
    for _ in range(directions):
        v = {i: random.standard_normal(inputs[i].shape) for i in moving}
        terms = sum(float(np.sum(np.abs(dx[i] * v[i]))) for i in moving)
        tolerance = GRADIENT_TOLERANCE * terms + noise * float(np.sum(np.abs(dy * y))) + 1e-12
        got, want = sum(float(np.sum(dx[i] * v[i])) for i in moving), float(np.sum(dy * difference(v)))
        assert abs(got - want) <= tolerance, (
            f"directional derivative {got!r}, by differences {want!r} (+- {tolerance:.1e})"
        )

    if not (0 < size <= 64 and 0 < y.size <= 64):
        return
    vacuous = Tally.vacuous
    rows = [backward(e.reshape(y.shape)) for e in np.eye(y.size)]
    for i in moving:
        analytic = np.array([row[i].ravel() for row in rows])
        columns = [difference({i: e.reshape(inputs[i].shape)}).ravel() for e in np.eye(inputs[i].size)]
        numeric = np.array(columns).T.reshape(analytic.shape)
        scale = np.abs(analytic) + np.mean(np.abs(analytic)) + np.abs(y).reshape(-1, 1) * noise / GRADIENT_TOLERANCE
        _compare(analytic, numeric, GRADIENT_TOLERANCE * scale + 1e-12, f"Jacobian of input {i}")
    Tally.vacuous = vacuous  # a Jacobian is mostly zeros, as it should be


# ---- inside ------------------------------------------------------------------------------------


def _tensor(x: Any) -> Any:
    return lc.from_numpy(np.array(x)) if isinstance(x, np.ndarray) else x


def _isnan(a: np.ndarray) -> np.ndarray:
    return np.isnan(a) if a.dtype.kind == "f" else np.zeros(a.shape, bool)


def _exact_dot(a: Any, b: Any) -> int:
    a, b = array(a), array(b)
    for v in (a, b):
        assert np.all(v == np.rint(v)), "not integers: the kernel rounded, or the data are too large"
    return int(np.sum(a.astype(np.int64) * b.astype(np.int64)))


def _shaped(got: Any, want: Any) -> tuple[np.ndarray, np.ndarray]:
    a, w = array(got), np.asarray(want if isinstance(want, (np.ndarray, np.generic, int, float)) else array(want))
    assert a.shape == w.shape, f"shape {a.shape}, expected {w.shape}"
    if a.dtype.kind == "f" and w.dtype.kind == "f" and w.dtype.itemsize > a.dtype.itemsize:
        a = a.astype(w.dtype)
    return a, w


def _compare(a: np.ndarray, w: np.ndarray, tolerance: np.ndarray, what: str) -> None:
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(a - w)
        largest = float(np.finfo({"float16": np.float16, "float64": np.float64}.get(what, np.float32)).max)
        overflow = np.isinf(a) & (np.abs(w) + tolerance >= largest) & (np.sign(a) == np.sign(w))
        fine = (error <= tolerance) | (a == w) | (_isnan(a) & _isnan(w)) | overflow
    _report(~fine, a, w, what, error, np.broadcast_to(tolerance, w.shape))


def _count(w: np.ndarray) -> None:
    """A result that is constant or almost all zero proves little: conftest.py refuses a test made of those."""
    Tally.checked += 1
    if w.size == 0 or (w.size > 1 and (np.count_nonzero(w) <= 0.1 * w.size or np.all(w == w.flat[0]))):
        Tally.vacuous += 1


def _report(
    wrong: np.ndarray, a: np.ndarray, w: np.ndarray, what: str, error: Any = None, tolerance: Any = None
) -> None:
    _count(w)
    if not wrong.any():
        return
    ratio = np.ones(w.shape) if error is None else np.where(wrong, np.nan_to_num(error / tolerance, nan=np.inf), 0)
    worst = np.unravel_index(int(np.argmax(np.where(wrong, ratio, -1))), w.shape)
    index = tuple(int(i) for i in worst)
    text = f"{what}: {int(wrong.sum())} of {wrong.size} elements; at {index} got {a[worst]!r}, expected {w[worst]!r}"
    if error is not None:
        text += f" (error {float(error[worst]):.3g}, allowed {float(tolerance[worst]):.3g})"
    raise AssertionError(text)
