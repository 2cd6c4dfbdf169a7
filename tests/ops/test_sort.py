"""sort, argsort, topk, unique: exact, stable, NaN the largest; the gradient goes back to where elements came from."""

import check
import numpy as np
import pytest
import reference.sort as reference
from cases import Case, cases

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


def draw(case: Case, dtype: str):
    shape = case.shape("shape", low=1, high=3, limit=4000)
    kind = (
        ("normal", "distinct", "integer", "constant", "special") if dtype[0] in "bf" and dtype != "bool" else "integer"
    )
    return case.tensor("x", shape, kind, dtype=dtype), int(case.random("dim").integers(-len(shape), len(shape)))


@cases(600)
def test_sort(case: Case):
    x, dim = draw(case, case.draw_dtype(*DTYPES))
    descending = case.pick("descending", (False, True))
    values, indices = lc.sort(x, dim, descending)
    want = reference.argsort(check.array(x), dim, descending)
    check.equal(indices, want)
    check.same_bits(values, np.take_along_axis(check.array(x), want, dim))
    check.equal(x.argsort(dim, descending), want)
    return values, indices


@cases(400)
def test_topk(case: Case):
    x, dim = draw(case, case.draw_dtype(*DTYPES))
    largest = case.pick("largest", (True, False))
    k = int(case.random("k").integers(x.shape[dim] // case.pick("part", (1, 2, 5, 20)) + 1))
    y = lc.topk(x, k, dim, largest)
    want = np.take(reference.argsort(check.array(x), dim, largest), range(k), dim)
    check.equal(y.indices, want)
    check.same_bits(y.values, np.take_along_axis(check.array(x), want, dim))
    return tuple(y)


@cases(150)
def test_gradients(case: Case):
    x, dim = draw(case, case.dtype)
    x = x.requires_grad_()
    k = x.shape[dim] // case.pick("part", (1, 3))
    y, i = x.topk(k, dim)
    dy = case.tensor("dy", y.shape, "integer")
    y.backward(dy)
    want = np.zeros(x.shape, check.array(x).dtype)
    np.put_along_axis(want, check.array(i), check.array(dy), dim)
    check.equal(x.grad, want)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_long_rows(dtype):
    a = (np.random.default_rng(0).standard_normal((3, 30_000)) * 1000).astype(dtype)
    x = lc.from_numpy(a)
    check.equal(x.sort().indices, reference.argsort(a))
    check.equal(x.topk(100).indices, reference.argsort(a, descending=True)[:, :100])
    check.equal(x[0].argsort(descending=True), reference.argsort(a[0], descending=True))


@cases(150)
def test_unique(case: Case):
    x = case.tensor(
        "x",
        case.shape("shape", high=3, limit=500),
        "integer",
        dtype=case.draw_dtype("float32", "int64", "bool", "float16"),
    )
    values, inverse, counts = lc.unique(x, return_inverse=True, return_counts=True)
    want = np.unique(check.array(x), return_inverse=True, return_counts=True)
    for got, w in zip((values, inverse, counts), want, strict=True):
        check.equal(got, w.reshape(got.shape))


def test_scalars_and_ties():
    assert lc.sort(lc.tensor(3.0)).values.item() == 3 and lc.topk(lc.tensor(3.0), 1).indices.item() == 0
    x = lc.tensor([0.0, -0.0, float("nan"), -1.0, float("inf")])
    assert x.argsort().tolist() == [3, 0, 1, 4, 2] and x.argsort(descending=True).tolist() == [2, 4, 0, 1, 3]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: x.topk(4), ValueError, r"k = 4 of the 3 elements of dim 1"),
        (lambda x: x.topk(-1), ValueError, "k = -1"),
        (lambda x: x.sort(2), IndexError, "dim 2"),
        (lambda x: x.requires_grad_().unique(), RuntimeError, "no gradient"),
    ],
)
def test_wrong_uses_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.ones(2, 3))


@cases(100)
def test_searchsorted(case: Case):
    dtype = case.draw_dtype("float32", "float64", "bfloat16", "int64", "int32", "uint8")
    rows, n, wanted = case.size("rows", low=1, high=5), case.size("n", high=200), case.size("wanted", high=50)
    sequence = np.sort(check.array(case.integers("s", (rows, n), 0, 100, "int64")), -1)
    values = check.array(case.integers("v", (rows, wanted), 0, 100, "int64"))
    right = case.pick("right", (False, True))
    s, v = (lc.from_numpy(a).to(getattr(lc, dtype)) for a in (sequence, values))
    side = "right" if right else "left"
    want = np.stack([np.searchsorted(a, b, side) for a, b in zip(sequence, values, strict=True)])
    check.equal(lc.searchsorted(s, v, right=right), want)
    check.equal(lc.searchsorted(s[0], v, side=side), np.searchsorted(sequence[0], values, side))


def test_searchsorted_by_hand():
    edges = lc.tensor([0.0, 1.0, 1.0, float("inf")])
    check.equal(lc.searchsorted(edges, lc.tensor([-1.0, 1.0, float("nan"), 7.0])), np.array([0, 1, 4, 3]))
    assert lc.searchsorted(edges, 1, right=True).item() == 3
    with pytest.raises(ValueError, match="searchsorted"):
        lc.searchsorted(lc.zeros(2, 3), lc.zeros(3, 1))
