"""cat, stack, hstack, vstack: exact, with parts of any layout; gradients as exact adjoints."""

import check
import numpy as np
import pytest
import reference.cat as reference
from cases import Case, cases

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


def draw(case: Case, op: str, dtype: str):
    random, shape = case.random("parts"), case.shape("shape", low=1, high=4, limit=300)
    dim = {"hstack": min(1, len(shape) - 1), "vstack": 0}.get(op, int(random.integers(len(shape))))
    count = case.pick("count", (1, 2, 3, 7))
    sizes = [shape] * count
    if op == "cat" or (op == "hstack") or (op == "vstack" and len(shape) > 1):
        sizes = [(*shape[:dim], int(random.integers(6)), *shape[dim + 1 :]) for _ in range(count)]
    return dim, [case.tensor(f"x{i}", s, "integer", dtype=dtype) for i, s in enumerate(sizes)]


@cases(500)
def test_values(case: Case):
    op = case.pick("op", ("cat", "stack", "hstack", "vstack"))
    dim, xs = draw(case, op, case.draw_dtype(*DTYPES))
    arrays = [check.array(x) for x in xs]
    if op in ("hstack", "vstack"):
        y = getattr(lc, op)(xs)
        check.equal(y, getattr(reference, op)(arrays))
    else:
        y = getattr(lc, op)(xs, dim - arrays[0].ndim - (op == "stack"))
        check.equal(y, getattr(reference, op)(arrays, dim))
    return y


@cases(200)
def test_gradients(case: Case):
    op = case.pick("op", ("cat", "stack"))
    dim, xs = draw(case, op, case.dtype)
    y = getattr(lc, op)([x.requires_grad_() for x in xs], dim)
    dy = case.tensor("dy", y.shape, "integer")
    y.backward(dy)
    parts = np.moveaxis(check.array(dy), dim, 0)
    start = 0
    for x in xs:
        if op == "stack":
            want, start = parts[start], start + 1
        else:
            want, start = np.moveaxis(parts[start : start + x.shape[dim]], 0, dim), start + x.shape[dim]
        check.equal(x.grad, want)


def test_dtypes_promote():
    y = lc.cat([lc.tensor([1]), lc.tensor([0.5]), lc.tensor([True])])
    assert y.dtype is lc.float32 and y.tolist() == [1, 0.5, 1]


def test_an_empty_list_joins_anything():
    assert lc.cat([lc.tensor([]), lc.ones(2, 3), lc.ones(0, 3)]).shape == (2, 3)


def test_one_tensor_twice():
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    lc.cat([x, x]).backward(lc.tensor([1.0, 2.0, 3.0, 4.0]))
    assert x.grad.tolist() == [4, 6]


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: lc.cat([]), ValueError, "at least one"),
        (lambda: lc.cat([lc.ones(2, 3), lc.ones(2, 4)]), ValueError, r"input 0 is \[2, 3\], input 1 is \[2, 4\]"),
        (lambda: lc.cat([lc.ones(2), lc.ones(2, 2)]), ValueError, "agree"),
        (lambda: lc.cat([lc.tensor(1.0)]), ValueError, "stack"),
        (lambda: lc.cat([lc.ones(2)], 1), IndexError, "dim 1"),
        (lambda: lc.stack([lc.ones(2), lc.ones(3)]), ValueError, r"input 1 is \[3\]"),
        (lambda: lc.stack([lc.ones(2)], 2), IndexError, "dim 2"),
    ],
)
def test_wrong_uses_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize("widths", ((64, 100, 65), (1000, 64), (300, 0, 64)))
def test_wide_rows_beside_each_other(widths):
    random = np.random.default_rng(0)
    parts = [random.standard_normal((400, 3, n)).astype("float32") for n in widths]
    tensors = [lc.from_numpy(p) for p in parts]
    joined = lc.capture(lambda *xs: lc.cat(xs, 2))
    for _ in range(3):
        check.equal(joined(*tensors), np.concatenate(parts, 2))
        for p in parts:
            p += 1
