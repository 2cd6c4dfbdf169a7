"""pool2d: max and average, strided and adaptive, on planes and on lines; max is exact, with its index."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.pool2d import (
    adaptive_windows,
    avg_pool_backward,
    avg_pool_forward,
    max_pool_backward,
    max_pool_forward,
    strided_windows,
)

import littlecore as lc
from littlecore.nn import functional as F

SIZES = (4, 6, 7, 8, 9, 5, 16, 17, 24, 3, 33, 2, 1)


def planes(case: Case, axes: int):
    batch = case.pick("batch", ((2, 3), (1, 1), (3,), (2, 0)))
    return (*batch, *(case.pick(f"size.{a}", SIZES) for a in "hw"[-axes:]))


def draw_windows(case: Case, size: int, axis: str, dilated: bool):
    """kernel, stride, padding, dilation that fit, drawn for one axis."""
    kernel = min(case.pick(f"kernel.{axis}", (2, 3, 1, 4, 5)), size)
    dilation = case.pick(f"dilation.{axis}", (1, 2)) if dilated and 2 * (kernel - 1) < size else 1
    stride = case.pick(f"stride.{axis}", (2, 1, 3))
    pad = min(case.pick(f"pad.{axis}", (0, 1, 2)), (dilation * (kernel - 1) + 1) // 2)
    return kernel, stride, pad, dilation


def draw(case: Case, dilated: bool):
    axes = case.pick("axes", (2, 1))
    shape, ceil_mode = planes(case, axes), case.pick("ceil_mode", (False, True))
    windows = [draw_windows(case, s, a, dilated) for s, a in zip(shape[-axes:], "hw"[-axes:], strict=True)]
    tables = [strided_windows(s, *w, ceil_mode) for s, w in zip(shape[-axes:], windows, strict=True)]
    if axes == 1:
        tables = [([[0]], [1]), *tables]
    arguments = dict(zip(("kernel_size", "stride", "padding", "dilation"), zip(*windows, strict=True), strict=True))
    return axes, shape, arguments | {"ceil_mode": ceil_mode}, tables


def as_planes(x):
    return x if x is None else x.reshape(*x.shape[:-1], 1, x.shape[-1])


@cases(400)
def test_max(case: Case):
    axes, shape, arguments, ((rows, _), (cols, _)) = draw(case, dilated=True)
    x = case.tensor("x", shape, ("normal", "integer", "special"), grad=True)
    y, index = getattr(F, f"max_pool{axes}d")(x, **arguments, return_indices=True)
    dy = case.tensor("dy", tuple(y.shape), "integer")
    y.backward(dy)

    exact, g = check.wide(x), check.wide(dy)
    if axes == 1:
        exact, g = as_planes(exact), as_planes(g)
    want, want_index = max_pool_forward(exact, rows, cols)
    check.equal(y, want.reshape(tuple(y.shape)))
    check.equal(index, want_index.reshape(tuple(y.shape)))
    check.equal(x.grad, max_pool_backward(g, want_index, exact.shape).reshape(shape))
    check.same_bits(getattr(F, f"max_pool{axes}d")(x.detach(), **arguments), y)
    return y, index, x.grad


@cases(400)
def test_avg(case: Case):
    axes, shape, arguments, ((rows, row_count), (cols, col_count)) = draw(case, dilated=False)
    del arguments["dilation"]
    padding = case.pick("count_include_pad", (True, False))
    divisor = case.pick("divisor", (None, 1, 7)) if axes == 2 else None
    if divisor is not None:
        divisors = np.full((len(rows), len(cols)), divisor)
        arguments["divisor_override"] = divisor
    elif padding:
        divisors = np.outer(row_count, col_count)
    else:
        divisors = np.outer([len(r) for r in rows], [len(c) for c in cols])
    x = case.tensor("x", shape, ("normal", "special"), grad=True)
    y = getattr(F, f"avg_pool{axes}d")(x, **arguments, count_include_pad=padding)
    dy = case.tensor("dy", tuple(y.shape))
    y.backward(dy)
    return compare_averages(x, y, dy, rows, cols, divisors, axes)


def compare_averages(x, y, dy, rows, cols, divisors, axes):
    exact, g = check.wide(x), check.wide(dy)
    if axes == 1:
        exact, g = as_planes(exact), as_planes(g)
    longest = max((len(r) * len(c) for r in rows for c in cols), default=1)
    with np.errstate(invalid="ignore"):
        size = avg_pool_forward(np.abs(exact), rows, cols, divisors).reshape(tuple(y.shape))
        check.contraction(y, avg_pool_forward(exact, rows, cols, divisors).reshape(size.shape), size, longest)
    shape = tuple(x.shape)
    want, size = [avg_pool_backward(v, rows, cols, divisors, exact.shape).reshape(shape) for v in (g, np.abs(g))]
    check.contraction(x.grad, want, size, longest)
    return y, x.grad


@cases(200)
def test_adaptive_avg(case: Case):
    axes = case.pick("axes", (2, 1))
    shape = planes(case, axes)
    size = tuple(case.pick(f"out.{a}", (1, 2, 3, 7, 5, 10, 0)) for a in "hw"[-axes:])
    (rows, r), (cols, c) = ([([[0]], [1])] if axes == 1 else []) + [
        adaptive_windows(*v) for v in zip(shape[-axes:], size, strict=True)
    ]
    x = case.tensor("x", shape, grad=True)
    y = getattr(F, f"adaptive_avg_pool{axes}d")(x, size)
    dy = case.tensor("dy", tuple(y.shape))
    y.backward(dy)
    return compare_averages(x, y, dy, rows, cols, np.outer(r, c), axes)


@cases(150)
def test_adaptive_max(case: Case):
    axes = case.pick("axes", (2, 1))
    shape = planes(case, axes)
    size = tuple(case.pick(f"out.{a}", (1, 2, 3, 7, 5)) for a in "hw"[-axes:])
    (rows, _), (cols, _) = ([([[0]], [1])] if axes == 1 else []) + [
        adaptive_windows(*v) for v in zip(shape[-axes:], size, strict=True)
    ]
    x = case.tensor("x", shape, ("normal", "integer"))
    y, index = getattr(F, f"adaptive_max_pool{axes}d")(x, size, return_indices=True)
    want, want_index = max_pool_forward(check.wide(x) if axes == 2 else as_planes(check.wide(x)), rows, cols)
    check.equal(y, want.reshape(tuple(y.shape)))
    check.equal(index, want_index.reshape(tuple(y.shape)))
    return y, index


def test_the_first_of_equals_gets_the_gradient():
    x = lc.from_numpy(
        np.array([[[1, 5, 5, 5], [5, 5, 5, 5], [np.nan, 0, 0, 7], [0, np.nan, 7, 7]]], np.float32)
    ).requires_grad_()
    y, index = F.max_pool2d(x, 2, return_indices=True)
    check.equal(y, np.array([[[5, 5], [np.nan, 7]]]))
    check.equal(index, np.array([[[1, 2], [8, 11]]]))
    y.backward(lc.from_numpy(np.array([[[1, 2], [3, 4]]], np.float32)))
    check.equal(x.grad, np.array([[[0, 1, 2, 0], [0, 0, 0, 0], [3, 0, 0, 4], [0, 0, 0, 0]]]))


def test_none_keeps_a_size():
    x = np.arange(24, dtype=np.float32).reshape(1, 4, 6)
    check.equal(F.adaptive_max_pool2d(lc.from_numpy(x), (None, 2)), x.reshape(1, 4, 2, 3).max(axis=-1))
    check.equal(F.adaptive_avg_pool2d(lc.from_numpy(x), (2, None)), x.reshape(1, 2, 2, 6).mean(axis=-2))


@pytest.mark.parametrize("pool, arguments", [
    (F.max_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1}),
    (F.max_pool2d, {"kernel_size": 2, "dilation": 2}),
    (F.avg_pool2d, {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    (F.adaptive_avg_pool2d, {"output_size": (2, 3)}),
])  # fmt: skip
def test_gradients(pool, arguments):
    x = np.random.default_rng(0).permutation(35).reshape(1, 5, 7) / 8.0
    check.gradients(lambda x: pool(x, **arguments), x)


REFUSED = [
    (F.max_pool2d, (1, 4, 4), {"kernel_size": 5}, "max_pool2d: the window is larger than the input"),
    (F.max_pool2d, (1, 4, 4), {"kernel_size": 2, "padding": 2}, "max_pool2d: padding must be between"),
    (F.max_pool2d, (1, 4, 4), {"kernel_size": 0}, "max_pool2d: kernel_size, stride and dilation must be positive"),
    (F.max_pool2d, (1, 4, 4), {"kernel_size": 2, "stride": 2**62}, "max_pool2d: stride .* is out of range"),
    (F.max_pool2d, (4, 4), {"kernel_size": 2}, r"max_pool2d: input must be \[n, c, h, w\]"),
    (F.avg_pool2d, (1, 4, 4), {"kernel_size": (2, 2, 2)}, "avg_pool2d: .* takes one int or two"),
    (F.avg_pool2d, (1, 4, 4), {"kernel_size": 2, "divisor_override": 0}, "avg_pool2d: divisor_override"),
    (F.avg_pool1d, (1, 0), {"kernel_size": 2}, "avg_pool1d: .* empty planes"),
    (
        F.adaptive_avg_pool2d,
        (1, 4, 4),
        {"output_size": (-2, 1)},
        "adaptive_avg_pool2d: output_size must not be negative",
    ),
]


@pytest.mark.parametrize("pool, shape, arguments, message", REFUSED)
def test_refused(pool, shape, arguments, message):
    with pytest.raises(ValueError, match=message):
        pool(lc.zeros(*shape), **arguments)
