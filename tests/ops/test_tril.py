"""tril, triu: exact, and their own gradients."""

import check
import pytest
import reference.tril as reference
from cases import Case, cases

import littlecore as lc


@cases(300)
def test_values_and_gradients(case: Case):
    dtype = case.draw_dtype("float32", "float64", "bfloat16", "int64", "int32", "uint8", "bool")
    op, shape = case.pick("op", ("tril", "triu")), case.shape("shape", low=2, high=4, limit=800)
    diagonal = int(case.random("diagonal").integers(-shape[-2] - 2, shape[-1] + 3))
    x = case.tensor("x", shape, "integer", dtype=dtype)
    y = getattr(lc, op)(x, diagonal)
    check.equal(y, getattr(reference, op)(check.array(x), diagonal))
    if dtype in ("float32", "float64"):
        check.adjoint(lambda x: getattr(x, op)(diagonal), x, dy=case.tensor("dy", shape, "integer"))
    return y


def test_far_diagonals():
    x = lc.arange(12).reshape(3, 4)
    check.equal(x.tril(2**62), check.array(x))
    check.equal(x.triu(-(2**63)), check.array(x))
    assert x.triu(2**63 - 1).tolist() == [[0] * 4] * 3


def test_a_vector_is_refused():
    with pytest.raises(ValueError, match=r"tril: needs at least 2 dims, got shape \[3\]"):
        lc.ones(3).tril()
