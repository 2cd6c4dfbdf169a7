"""softmax and log_softmax: rows in memory order (the last axis) and across it (any other axis)."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference import softmax as reference

import littlecore as lc

FUNCTIONS = ("softmax", "log_softmax")


def draw(case: Case, low: int):
    shape = case.shape("shape", low=1, high=4)
    axis = int(case.random("axis").integers(len(shape)))
    if shape[axis] < low:
        shape = (*shape[:axis], low, *shape[axis + 1 :])
    return shape, axis - len(shape) if case.pick("negative", (False, True)) else axis


@cases(600)
def test_forward(case: Case):
    name = case.pick("function", FUNCTIONS)
    shape, axis = draw(case, low=1)
    x = case.tensor("x", shape, ("normal", "shifted", "distinct", "constant", "special"))

    y = getattr(lc, name)(x, axis)

    x = check.wide(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        want = getattr(reference, name + "_forward")(x, axis)
    check.softmax(y, want, x, axis, log=name == "log_softmax")
    return y


@cases(400)
def test_backward(case: Case):
    name = case.pick("function", FUNCTIONS)
    shape, axis = draw(case, low=2)
    x, dy = case.tensor("x", shape, ("normal", "shifted", "distinct"), grad=True), case.tensor("dy", shape)

    getattr(lc, name)(x, axis).backward(dy)

    dy, wide, log = check.wide(dy), check.wide(x), name == "log_softmax"
    p = reference.softmax_forward(wide, axis)
    weight = 1 if log else p
    size = np.abs(dy) * weight + p * (np.abs(dy) * weight).sum(axis=axis, keepdims=True)
    size = np.maximum(size, np.finfo(case.dtype).tiny)  # below it rounding is absolute
    distance = np.abs(wide - wide.max(axis=axis, keepdims=True)) if wide.size else 0
    factor = distance + 16 + np.sqrt(shape[axis])
    check.bounded(x.grad, getattr(reference, name + "_backward")(dy, wide, axis), size, factor)
    return x.grad


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape, axis", [((3, 5), 1), ((3, 5), 0), ((2, 3, 9), 1), ((7,), 0)])
def test_gradients(name, shape, axis):
    x = np.random.default_rng(len(shape)).standard_normal(shape)
    check.gradients(lambda x: getattr(lc, name)(x, axis), x)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_row_of_minus_infinity_beside_others(axis):
    x = np.zeros((3, 3), np.float32)
    x[1] = -np.inf
    x[0, 2] = -np.inf
    x = x if axis == 1 else x.T.copy()
    y = lc.softmax(lc.from_numpy(x), axis).numpy()
    y = y if axis == 1 else y.T
    check.equal(y, np.array([[0.5, 0.5, 0], [np.nan] * 3, [1 / 3] * 3], np.float32))


@pytest.mark.parametrize("columns", [1, 7, 8, 40, 300])
def test_rows_of_any_spread(columns):
    """Near 0, just within and just beyond what exp takes unchecked, infinite, and NaN whatever its bits."""
    x = np.random.default_rng(1).uniform(0, 1, (64, columns)).astype(np.float32)
    x[:8] *= np.array([1e-3, 1, 80, 87.3, 87.4, 90, 110, 1e30], np.float32)[:, None]
    x[8, -1], x[9, 0] = -np.inf, np.inf
    x[32:, columns // 2] = (0x7FC00000 | (np.arange(32, dtype=np.uint32) * 0x1357)).view(np.float32)
    x[48:] = -x[48:]
    with np.errstate(invalid="ignore"):
        want = reference.softmax_forward(x.astype(np.float64), 1)
    check.softmax(lc.softmax(lc.from_numpy(x), 1), want, x.astype(np.float64), 1, log=False)


def test_one_row_does_not_depend_on_the_others():
    x = lc.from_numpy(np.random.default_rng(0).standard_normal((9, 77)).astype(np.float32))
    y = lc.softmax(x, 1)
    for i in range(9):
        check.same_bits(lc.softmax(x[i : i + 1], 1), y[i : i + 1])


def test_dtype_converts_first():
    x = lc.from_numpy(np.arange(6).reshape(2, 3))
    y = lc.softmax(x, 1, dtype=lc.float64)
    assert y.dtype is lc.float64
    check.softmax(y, reference.softmax_forward(check.wide(x).astype(float), 1), check.wide(x), 1)


def test_wrong_arguments_are_refused():
    with pytest.raises(IndexError, match="softmax"):
        lc.softmax(lc.zeros(3, 5), 2)
    with pytest.raises(TypeError, match="log_softmax"):
        lc.log_softmax(lc.from_numpy(np.arange(3)), 0)
