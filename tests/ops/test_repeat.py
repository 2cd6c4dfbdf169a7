"""repeat, tile, repeat_interleave, roll, flip, meshgrid: exact; gradients as exact adjoints."""

import check
import numpy as np
import pytest
import reference.repeat as reference
from cases import Case, cases

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


def draw(case: Case, shape):
    random, n = case.random("parameters"), len(shape)
    times = [int(t) for t in random.choice([1, 1, 2, 3, 0], n + int(random.integers(3)))]
    some = [int(d) for d in random.permutation(n)[: int(random.integers(n + 1))]]
    shifts = [int(s) for s in random.integers(-9, 10, len(some))]
    dim, count = int(random.integers(-n, n)) if n else 0, int(random.integers(4))
    each = random.integers(0, 4, shape[dim] if n else 1)
    ops = {
        "repeat": (lambda x: x.repeat(times), lambda a: reference.tile(a, times)),
        "tile": (lambda x: x.tile(times[:1]), lambda a: reference.tile(a, times[:1])),
        "roll": (
            lambda x: x.roll(shifts, some) if some else x.roll(count),
            lambda a: reference.roll(a, shifts, some) if some else reference.roll(a, count),
        ),
        "flip": (lambda x: x.flip(some), lambda a: reference.flip(a, some)),
        "repeat_interleave": (
            lambda x: x.repeat_interleave(count, dim),
            lambda a: reference.repeat_interleave(a, count, dim if n else None),
        ),
        "repeat_each": (
            lambda x: x.repeat_interleave(lc.from_numpy(each), dim),
            lambda a: reference.repeat_interleave(a, each, dim if n else None),
        ),
    }
    return ops[case.pick("op", list(ops))]


@cases(600)
def test_values(case: Case):
    dtype = case.draw_dtype(*DTYPES)
    shape = case.shape("shape", high=4, limit=200)
    x = case.tensor("x", shape, "integer", dtype=dtype)
    ours, theirs = draw(case, shape)
    y = ours(x)
    check.equal(y, np.asarray(theirs(check.array(x))))
    assert y.numel() == 0 or y.data_ptr() != x.data_ptr()
    return y


@cases(300)
def test_gradients(case: Case):
    shape = case.shape("shape", high=4, limit=100)
    x = case.tensor("x", shape, "integer")
    ours, _ = draw(case, shape)
    check.adjoint(ours, x, dy=case.tensor("dy", ours(x).shape, "integer", bound=2))


@pytest.mark.parametrize("indexing", ["ij", "xy"])
def test_meshgrid(indexing):
    a = [np.arange(3.0), np.arange(4.0) ** 2, np.arange(2.0) - 7]
    for count in (1, 2, 3):
        got = lc.meshgrid(*[lc.from_numpy(v) for v in a[:count]], indexing=indexing)
        for y, want in zip(got, np.meshgrid(*a[:count], indexing=indexing), strict=True):
            check.equal(y, want)
    check.gradients(lambda x, y: (lambda u, v: u * v)(*lc.meshgrid(x, y, indexing=indexing)), a[0], a[1])


def test_broadcast_tensors():
    a, b = lc.broadcast_tensors(lc.ones(3, 1), lc.arange(4))
    assert a.shape == b.shape == (3, 4) and b.tolist() == [[0, 1, 2, 3]] * 3


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda x: x.repeat(2), ValueError, "fewer numbers"),
        (lambda x: x.repeat(2, -1), ValueError, "-1 times"),
        (lambda x: x.repeat(2**40, 2**40), ValueError, "elements"),
        (lambda x: x.roll((1, 2), 0), ValueError, "differ in length"),
        (lambda x: x.roll((1, 2)), ValueError, "one shift"),
        (lambda x: x.flip(0, 0), ValueError, "twice"),
        (lambda x: x.flip(2), IndexError, "dim 2"),
        (lambda x: x.repeat_interleave(-1), ValueError, "-1 times"),
        (lambda x: x.repeat_interleave(lc.tensor([1, 2, 3]), 0), ValueError, "3 repeats for dim 0 of size 2"),
        (lambda x: lc.meshgrid(x), ValueError, "at most 1 dim"),
        (lambda x: lc.meshgrid(x[0], indexing="yx"), ValueError, "'yx'"),
    ],
)
def test_wrong_uses_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call(lc.ones(2, 3))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "uint8"])
@pytest.mark.parametrize("shape", [(7, 64), (4, 100), (2, 3000), (5, 3, 129)])
def test_flip_of_long_rows(dtype, shape):
    x = np.random.default_rng(0).integers(0, 100, shape)
    t = lc.from_numpy(x).to(getattr(lc, dtype))
    check.equal(lc.flip(t, -1), np.flip(x, -1))
    check.equal(lc.flip(t, 0, -1), np.flip(x, (0, -1)))
