"""gather, take_along_dim, scatter, scatter_add: against loops, exact; gradients as exact adjoints."""

import check
import numpy as np
import pytest
import reference.gather as reference
from cases import Case, cases

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32")


def draw(case: Case):
    """(shape of x, dim, index that may be smaller than x off dim and has any length along it)"""
    random = case.random("index")
    shape = case.shape("shape", low=1, high=4, limit=400)
    dim = int(random.integers(len(shape)))
    sizes = [int(random.integers(s + 1)) if random.random() < 0.3 else s for s in shape]
    sizes[dim] = int(random.integers(0, 9)) if shape[dim] else 0
    return shape, dim, case.integers("i", sizes, -shape[dim], max(shape[dim], 1))


@cases(600)
def test_gather(case: Case):
    dtype = case.draw_dtype(*DTYPES)
    shape, dim, index = draw(case)
    x = case.tensor("x", shape, "integer", dtype=dtype)
    y = lc.gather(x, dim, index)
    check.equal(y, reference.gather(check.array(x), dim, check.array(index)))
    return y


@cases(600)
def test_scatter(case: Case):
    dtype = case.draw_dtype(*DTYPES)
    shape, dim, index = draw(case)
    x, src = (
        case.tensor("x", shape, "integer", dtype=dtype),
        case.tensor("src", [s + 1 for s in index.shape], "integer", dtype=dtype),
    )
    op = case.pick("op", ("scatter", "scatter_add"))
    y = getattr(lc, op)(x, dim - len(shape), index, src)
    check.equal(y, getattr(reference, op)(check.array(x), dim, check.array(index), check.array(src)))
    return y


@cases(400)
def test_gradients(case: Case):
    shape, dim, index = draw(case)
    x, src = case.tensor("x", shape, "integer"), case.tensor("src", index.shape, "integer")
    op = case.pick("op", ("gather", "scatter", "scatter_add"))
    if op == "gather":
        check.adjoint(lambda x: x.gather(dim, index), x, dy=case.tensor("dy", index.shape, "integer"))
        return
    dy, zero = case.tensor("dy", shape, "integer"), lc.zeros(shape, dtype=x.dtype)
    none = lc.zeros(index.shape, dtype=x.dtype)
    check.adjoint(lambda x: getattr(lc, op)(x, dim, index, none), x, dy=dy)
    check.adjoint(lambda s: getattr(lc, op)(zero, dim, index, s), src, dy=dy)


@cases(150)
def test_take_along_dim(case: Case):
    random = case.random("index")
    shape = case.shape("shape", low=1, high=3, limit=300)
    dim = int(random.integers(len(shape)))
    broadcast = [1 if random.random() < 0.4 else s for s in shape]
    broadcast[dim] = int(random.integers(1, 6)) if shape[dim] else 0
    x, index = case.tensor("x", shape, "integer"), case.integers("i", broadcast, -shape[dim], max(shape[dim], 1))
    check.equal(lc.take_along_dim(x, index, dim), np.take_along_axis(check.array(x), check.array(index), dim))
    check.equal(
        lc.take_along_dim(x, lc.zeros(index.shape, dtype=lc.int64)) if x.numel() else x.reshape(-1),
        check.array(x).reshape(-1)[np.zeros(index.numel() if x.numel() else 0, int)],
    )


@pytest.mark.parametrize("threads", [1, 3, 8])
def test_large_and_in_order(threads):
    lc.set_num_threads(threads)
    random = np.random.default_rng(0)
    a, i = random.standard_normal((9, 50, 70)).astype(np.float32), random.integers(0, 50, (9, 900, 70))
    v = random.standard_normal(i.shape).astype(np.float32)
    x, index, src = lc.from_numpy(a), lc.from_numpy(i), lc.from_numpy(v)
    check.same_bits(lc.gather(x, 1, index), np.take_along_axis(a, i, 1))
    want = a.copy()
    for p in range(900):
        want[np.arange(9)[:, None], i[:, p], np.arange(70)] += v[:, p]
    check.same_bits(lc.scatter_add(x, 1, index, src), want)
    flat, many = lc.zeros(5), lc.from_numpy(random.integers(0, 5, 200_000))
    once, ones = flat.scatter_add(0, many, lc.ones(200_000)), np.bincount(check.array(many), minlength=5)
    check.equal(once, ones.astype(np.float32))


def test_a_number_and_a_scalar():
    check.equal(lc.zeros(2, 3).scatter(1, lc.tensor([[0], [2]]), 1.5), np.array([[1.5, 0, 0], [0, 0, 1.5]], np.float32))
    assert (
        lc.tensor(3.0).gather(0, lc.tensor(0)).item() == 3 and lc.tensor(3.0).scatter(0, lc.tensor(0), 4.0).item() == 4
    )


@pytest.mark.parametrize(
    "call, error, words",
    [
        (
            lambda x: x.gather(0, lc.tensor([[0, 2]])),
            IndexError,
            r"gather: index 2 is out of range for dim 0 of size 2 \(shape \[2, 3\]\)",
        ),
        (lambda x: x.gather(1, lc.tensor([[0], [-4]])), IndexError, "index -4"),
        (lambda x: x.gather(0, lc.tensor([0])), ValueError, "as many dims"),
        (lambda x: x.gather(0, lc.tensor([[0, 0, 0, 0]])), ValueError, "reaches beyond"),
        (lambda x: x.gather(0, lc.tensor([[0.0]])), IndexError, "integers"),
        (lambda x: x.scatter(0, lc.tensor([[0, 0]]), lc.ones(1, 1)), ValueError, "reaches beyond src"),
        (lambda x: x.scatter_add(0, lc.tensor([[0]]), lc.ones(1, 1, dtype=lc.float64)), TypeError, "dtype"),
        (lambda x: x.gather(2, lc.tensor([[0]])), IndexError, "dim 2"),
    ],
)
def test_wrong_uses_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.zeros(2, 3))
