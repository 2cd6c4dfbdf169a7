"""one_hot: rows of the identity matrix."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.one_hot import one_hot

import littlecore as lc
from littlecore.nn import functional as F


@cases(100)
def test_values(case: Case):
    classes, shape = case.size("classes", low=1, high=33), case.shape("shape", high=3, limit=100)
    index = case.integers("index", shape, 0, classes, case.pick("integers", ("int64", "int32", "uint8")))
    y = F.one_hot(index, classes)
    assert y.dtype is lc.int64
    check.equal(y, one_hot(check.array(index).astype(int), classes))
    if index.numel():
        check.equal(F.one_hot(index), one_hot(check.array(index).astype(int), int(check.array(index).max()) + 1))


@pytest.mark.parametrize(
    "index, classes, error, words",
    [
        ([0, 3], 3, ValueError, "class 3 is not below num_classes 3"),
        ([-1], 3, ValueError, "negative"),
        ([], -1, ValueError, "empty"),
        ([0], 0, ValueError, "positive"),
        ([0.5], 2, TypeError, "integers"),
    ],
)
def test_wrong_uses_are_refused(index, classes, error, words):
    with pytest.raises(error, match=words):
        F.one_hot(lc.tensor(index, dtype=None if index else lc.int64), classes)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_bincount(dtype):
    random = np.random.default_rng(2)
    classes = random.integers(0, 20, 500).astype(dtype)
    check.equal(lc.bincount(lc.from_numpy(classes)), np.bincount(classes))
    check.equal(lc.bincount(lc.from_numpy(classes), minlength=31), np.bincount(classes, minlength=31))
    weights = random.integers(-5, 5, 500)
    for kind, result in (("float32", "float32"), ("float64", "float64"), ("int32", "float64")):
        y = lc.from_numpy(classes).bincount(lc.from_numpy(weights.astype(kind)))
        assert check.dtype_name(y) == result
        check.equal(y, np.bincount(classes, weights))


@pytest.mark.vacuous
def test_bincount_of_nothing():
    check.equal(lc.bincount(lc.zeros(0, dtype=lc.int64)), np.zeros(0))
    check.equal(lc.bincount(lc.zeros(0, dtype=lc.int64), minlength=2), np.zeros(2))
    for wrong in (lc.tensor([1, -1]), lc.tensor([[1]])):
        with pytest.raises(ValueError, match="bincount"):
            lc.bincount(wrong)
