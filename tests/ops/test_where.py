"""where: values of every dtype and layout without tolerance, gradients, masks."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.where import where

import littlecore as lc


@cases(500)
def test_forward(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS, "int64", "int32", "uint8", "bool")
    shape = case.shape("shape")
    drop = int(case.random("drop").integers(len(shape) + 1))
    condition = case.integers("condition", shape, 0, 2, "bool")
    a, b = (
        case.tensor("a", shape[drop:], "integer"),
        case.tensor("b", shape, ("integer", "special") if "float" in dtype else "integer"),
    )
    y = lc.where(condition, a, b)
    check.equal(y, where(check.array(condition), check.array(a), check.array(b)))
    return y


def test_gradients():
    random = np.random.default_rng(0)
    condition = lc.from_numpy(random.random((3, 4)) < 0.5)
    check.gradients(
        lambda a, b: lc.where(condition, a, b), random.standard_normal((3, 4)), random.standard_normal((4,))
    )
    check.gradients(lambda x: x.masked_fill(condition, 7.0), random.standard_normal((3, 4)))


def test_numbers_promote():
    mask = lc.tensor([True, False, True])
    assert lc.where(mask, 1.5, lc.tensor([1, 2, 3])).dtype is lc.float32
    assert lc.where(mask, lc.ones(3, dtype=lc.float64), 0).dtype is lc.float64
    check.equal(lc.where(mask, -1, lc.tensor([1, 2, 3])), np.array([-1, 2, -1]))


def test_masked_fill():
    x = lc.arange(4).float()
    mask = lc.tensor([True, False, False, True])
    check.equal(x.masked_fill(mask, float("-inf")), np.array([-np.inf, 1, 2, -np.inf]))
    assert x.masked_fill_(mask, 9) is x
    check.equal(x, np.array([9, 1, 2, 9]))


def test_a_dropped_nan_leaves_no_trace_in_the_gradient():
    x = lc.tensor([0.0, 2.0], requires_grad=True)
    lc.where(x > 0, x, 0.0).log1p().sum().backward()
    check.elementwise(x.grad, np.array([0, 1 / 3]), 2)


def test_the_condition_is_bool():
    with pytest.raises(TypeError, match="where"):
        lc.where(lc.tensor([1, 0]), 1.0, 2.0)
