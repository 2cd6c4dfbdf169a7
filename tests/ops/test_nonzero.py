"""nonzero: every dtype, in row-major order whatever the layout and the number of threads."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.nonzero import nonzero

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


@cases(200)
def test_values(case: Case):
    x = case.tensor("x", case.shape("shape", high=4, limit=600), "integer", dtype=case.draw_dtype(*DTYPES), bound=1)
    y = lc.nonzero(x)
    check.equal(y, nonzero(check.array(x)))
    for k, column in enumerate(x.nonzero(as_tuple=True) if x.ndim else ()):
        check.equal(column, check.array(y)[:, k])
    return y


def test_nan_and_signed_zeros():
    for dtype in (lc.float32, lc.float64, lc.bfloat16, lc.float16):
        x = lc.tensor([0.0, -0.0, float("nan"), 2.0, -3.0]).to(dtype)
        assert x.nonzero().tolist() == [[2], [3], [4]]
    assert lc.tensor(5).nonzero().shape == (1, 0) and lc.tensor(0).nonzero().shape == (0, 0)


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_large(threads):
    lc.set_num_threads(threads)
    a = np.random.default_rng(0).random((300, 7, 90)) < 0.3
    check.equal(lc.from_numpy(a).nonzero(), np.argwhere(a))


def test_it_has_no_gradient():
    with pytest.raises(RuntimeError, match="no gradient"):
        lc.ones(2, requires_grad=True).nonzero()
