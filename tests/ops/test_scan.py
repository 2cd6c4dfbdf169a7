"""cumsum, cumprod: exact on integers, within one rounding of a float64 sum otherwise."""

import check
import numpy as np
import pytest
import reference.scan as reference
from cases import STORED_FLOATS, Case, cases

import littlecore as lc


def draw(case: Case, high: int = 4):
    shape = case.shape("shape", low=1, high=high, limit=2000)
    return shape, int(case.random("dim").integers(-len(shape), len(shape)))


@cases(300)
def test_cumsum(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    shape, dim = draw(case)
    x = case.tensor("x", shape, ("normal", "integer", "special"))
    y = lc.cumsum(x, dim)
    with np.errstate(all="ignore"):
        wide = check.wide(x)
        check.bounded(y, reference.cumsum(wide, dim), reference.cumsum(np.abs(wide), dim), shape[dim])
    return y


@cases(200)
def test_integers(case: Case):
    shape, dim = draw(case)
    x = case.tensor("x", shape, "integer", dtype=case.pick("integers", ("int64", "int32", "uint8", "bool")))
    for op in ("cumsum", "cumprod"):
        y = getattr(lc, op)(x, dim)
        assert y.dtype is lc.int64
        check.equal(y, getattr(reference, op)(check.array(x).astype(np.int64), dim))


@cases(200)
def test_cumprod(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    shape, dim = draw(case)
    x = case.tensor("x", shape, ("positive", "integer"))
    y = lc.cumprod(x, dim)
    with np.errstate(all="ignore"):
        want = reference.cumprod(check.wide(x), dim)
        check.bounded(y, want, want, 2 * shape[dim])
    return y


@cases(200)
def test_cumsum_backward(case: Case):
    shape, dim = draw(case)
    check.adjoint(lambda x: x.cumsum(dim), case.tensor("x", shape, "integer"), dy=case.tensor("dy", shape, "integer"))


@cases(200)
def test_cumprod_backward(case: Case):
    shape, dim = draw(case, high=3)
    x, dy = case.tensor("x", shape, ("integer", "positive"), bound=1, grad=True), case.tensor("dy", shape, "integer")
    x.cumprod(dim).backward(dy)
    wide, factors = check.wide(x), check.wide(dy)
    want = reference.cumprod_backward(factors, wide, dim)
    largest = reference.cumprod_backward(np.abs(factors), np.abs(wide), dim)
    check.bounded(x.grad, want, largest, 4 * shape[dim])
    return x.grad


@pytest.mark.parametrize("zeros", [(), (1,), (0,), (1, 3)])
def test_cumprod_gradients_with_zeros(zeros):
    x = np.random.default_rng(len(zeros)).uniform(0.5, 2, 4)
    x[list(zeros)] = 0
    check.gradients(lambda x: x.cumprod(0), x)


@pytest.mark.parametrize("call", [lambda x: x.cumsum(2), lambda x: x.cumprod(-3)])
def test_wrong_dims_are_refused(call):
    with pytest.raises(IndexError, match="out of range"):
        call(lc.ones(2, 3))


def test_nan_spreads_to_the_right():
    x = lc.tensor([1.0, float("nan"), 0.0, 2.0])
    check.equal(x.cumsum(0), np.array([1, np.nan, np.nan, np.nan], np.float32))
    check.equal(x.cumprod(0), np.array([1, np.nan, np.nan, np.nan], np.float32))
