"""cosine_similarity: any axis, broadcasting, and vectors of length 0."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.cosine_similarity import cosine_similarity

import littlecore as lc
import littlecore.nn.functional as F


@cases(150)
def test_forward(case: Case):
    shape = case.shape("shape", low=1, high=3)
    axis = int(case.random("axis").integers(len(shape)))
    a, b = (case.tensor(n, shape, ("normal", "positive", "uniform")) for n in "ab")
    y = F.cosine_similarity(a, b, axis)
    a, b = check.wide(a), check.wide(b)
    size = cosine_similarity(np.abs(a), np.abs(b), axis)
    check.contraction(y, np.asarray(cosine_similarity(a, b, axis)), size, 3 * shape[axis])
    return y


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gradients(axis):
    random = np.random.default_rng(1)
    a, b = random.standard_normal((3, 4)), random.standard_normal((3, 4))
    check.gradients(lambda a, b: F.cosine_similarity(a, b, axis), a, b)


def test_inputs_broadcast():
    random = np.random.default_rng(2)
    check.gradients(
        lambda a, b: F.cosine_similarity(a, b, -1), random.standard_normal((3, 1, 4)), random.standard_normal((2, 4))
    )


def test_a_vector_of_length_zero_has_similarity_zero():
    a, b = lc.from_numpy(np.array([[0.0, 0], [3, 4]])), lc.from_numpy(np.array([[1.0, 2], [4, 3]]))
    check.bounded(F.cosine_similarity(a, b), np.array([0, 0.96]), 1, 4)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="cosine_similarity"):
        F.cosine_similarity(lc.zeros(2, 3), lc.zeros(2, 4))
    with pytest.raises(IndexError, match="cosine_similarity"):
        F.cosine_similarity(lc.zeros(2, 3), lc.zeros(2, 3), 2)
