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


@pytest.mark.parametrize("shapes", [((4, 5), (5,), (4, 1)), ((3,), (2, 3), ()), ((6,), (6,), (6,))])
def test_clamp_between_tensors(shapes):
    random = np.random.default_rng(1)
    x, low, high = (random.integers(-4, 5, s).astype(np.float32) for s in shapes)  # bounds that cross, and equals
    x.flat[0], low.flat[-1] = np.nan, np.nan
    tensors = [lc.from_numpy(a) for a in (x, low, high)]
    check.equal(lc.clamp(*tensors), np.minimum(np.maximum(x, low), high))
    check.equal(tensors[0].clamp(min=tensors[1]), np.maximum(x, low))
    check.equal(tensors[0].clamp(max=tensors[2], min=-1), np.minimum(np.maximum(x, -1), high))
    if np.broadcast_shapes(*shapes) == shapes[0]:
        check.equal(tensors[0].clone().clamp_(*tensors[1:]), np.minimum(np.maximum(x, low), high))


def test_gradients_of_clamp_between_tensors():
    x, low, high = lc.tensor([-3.0, 0, 1, 5, 2]), lc.tensor([-1.0, 0, -1, -1, 4]), lc.tensor([2.0, 2, 1, 2, 3])
    for t in (x, low, high):
        t.requires_grad_()
    lc.clamp(x, low, high).sum().backward()
    check.equal(x.grad, np.array([0, 1, 1, 0, 0]))  # a bound that is met leaves the gradient with x
    check.equal(low.grad, np.array([1, 0, 0, 0, 0]))
    check.equal(high.grad, np.array([0, 0, 0, 1, 1]))  # also where the bounds cross
