"""Creation from data and out of nothing: values, dtypes, shared or own memory, and refusals."""

import check
import numpy as np
import pytest
import reference.create as reference
from cases import Case, cases

import littlecore as lc

FLOATS = (lc.float32, lc.float64, lc.bfloat16, lc.float16)
INTEGERS = (lc.int64, lc.int32, lc.uint8, lc.bool_)


@pytest.mark.parametrize("dtype", FLOATS + INTEGERS)
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3)])
@pytest.mark.vacuous
def test_filled(shape, dtype):
    for name, value in (("zeros", 0), ("ones", 1)):
        like = lc.empty(shape, dtype=dtype)
        for x in (
            getattr(lc, name)(shape, dtype=dtype),
            getattr(lc, name)(*shape, dtype=dtype),
            getattr(lc, name + "_like")(like),
            getattr(like, "new_" + name)(shape),
        ):
            assert x.dtype is dtype and x.shape == shape
            check.equal(x, np.full(shape, value))
    assert lc.full(shape, 1, dtype=dtype).dtype is dtype
    check.equal(lc.full_like(lc.empty(shape, dtype=dtype), 1), np.ones(shape))


def test_full_follows_the_number():
    assert (
        lc.full((2,), 3).dtype is lc.int64
        and lc.full((2,), 3.5).dtype is lc.float32
        and lc.full((2,), True).dtype is lc.bool_
    )
    assert lc.full((2,), 2**60 + 1).tolist() == [2**60 + 1] * 2
    assert lc.zeros(2).new_full((3,), 4).dtype is lc.float32
    assert lc.zeros(2, requires_grad=True).requires_grad and lc.ones_like(lc.zeros(2), requires_grad=True).is_leaf


@cases(150)
def test_arange(case: Case):
    random = case.random("arange")
    whole = case.pick("whole", (True, False))
    if whole:
        start, end, step = int(random.integers(-50, 50)), int(random.integers(-50, 50)), int(random.integers(1, 7))
    else:
        start, end, step = random.uniform(-5, 5), random.uniform(-5, 5), random.uniform(0.1, 2)
    step = step if end >= start else -step
    want = reference.arange(start, end, step)
    x = lc.arange(start, end, step)
    assert x.dtype is (lc.int64 if whole else lc.float32)
    check.equal(x, want if whole else want.astype(np.float32))
    check.equal(lc.arange(start, end, step, dtype=lc.float64), want.astype(np.float64))
    check.equal(lc.arange(abs(end)), reference.arange(0, abs(end), 1).astype(np.int64 if whole else np.float32))


@cases(100)
def test_linspace(case: Case):
    random = case.random("linspace")
    start, end, steps = random.normal(), random.normal(), case.size("steps")
    want = reference.linspace(start, end, steps)
    check.equal(lc.linspace(start, end, steps, dtype=lc.float64), want)
    x = lc.linspace(start, end, steps)
    check.equal(x, want.astype(np.float32))
    assert steps < 2 or (x[0].item(), x[-1].item()) == (np.float32(start), np.float32(end))


def test_eye():
    check.equal(lc.eye(3), np.eye(3, dtype=np.float32))
    check.equal(lc.eye(2, 5, dtype=lc.int64), np.eye(2, 5, dtype=np.int64))
    assert lc.eye(0).shape == (0, 0)


@pytest.mark.parametrize(
    "data, dtype",
    [
        (3.5, lc.float32),
        (7, lc.int64),
        (True, lc.bool_),
        ([1, 2, 3], lc.int64),
        ([[1, 2.5], [3, 4]], lc.float32),
        ([True, 2], lc.int64),
        ([[True], [False]], lc.bool_),
        ([], lc.float32),
        ([[], []], lc.float32),
        ((1, (2)), lc.int64),
        (np.float64(2.5), lc.float64),
        (np.arange(3, dtype=np.int32), lc.int32),
        (np.arange(3, dtype=np.int16), lc.int64),
        (np.arange(6.0)[::-2], lc.float64),
        (np.array([1.5, 2.5], ">f4"), lc.float32),
        ([np.arange(2), np.arange(2)], lc.int64),
        ([np.float32(1), np.float32(2)], lc.float32),
        (range(4), lc.int64),
        (np.zeros((2, 0)), lc.float64),
    ],
)
@pytest.mark.vacuous
def test_tensor(data, dtype):
    x = lc.tensor(data)
    assert x.dtype is dtype
    check.equal(x, np.array(data, {lc.float32: np.float32, lc.bool_: np.bool_}.get(dtype)))
    check.equal(lc.tensor(data, dtype=lc.float64), np.array(data, np.float64))


def test_tensors_inside_lists():
    assert lc.tensor([lc.tensor(1.5), lc.tensor(2.5)]).tolist() == [1.5, 2.5]
    assert lc.tensor([lc.tensor([1, 2]), lc.tensor([3, 4])]).tolist() == [[1, 2], [3, 4]]


def test_large_integers_stay_exact():
    assert lc.tensor([2**62 + 1, -(2**63)]).tolist() == [2**62 + 1, -(2**63)]


def test_whose_memory():
    a = np.arange(6.0).reshape(2, 3)
    shared, own = lc.from_numpy(a), lc.tensor(a)
    a[0, 0] = 9
    assert shared[0, 0].item() == 9 and own[0, 0].item() == 0 and lc.as_tensor(a).data_ptr() == shared.data_ptr()
    shared[1, 1] = 7
    assert a[1, 1] == 7
    assert lc.as_tensor(shared) is shared and lc.tensor(shared).data_ptr() != shared.data_ptr()
    assert lc.as_tensor(shared, dtype=lc.float32).dtype is lc.float32
    check.equal(lc.from_numpy(a.T[::-1]), a.T[::-1])
    x = lc.tensor([1.0, 2.0], requires_grad=True)
    assert x.requires_grad and x.is_leaf and not lc.tensor(x).requires_grad


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: lc.tensor("abc"), TypeError, "str"),
        (lambda: lc.tensor([["a"]]), TypeError, "dtype"),
        (lambda: lc.tensor([[1], [2, 3]]), ValueError, "inhomogeneous"),
        (lambda: lc.tensor([2**70]), (OverflowError, TypeError), "."),
        (lambda: lc.tensor({1: 2}), TypeError, "dict"),
        (lambda: lc.tensor([1 + 2j]), TypeError, "complex"),
        (lambda: lc.tensor(np.zeros(2, np.uint64)), TypeError, "uint64"),
        (lambda: lc.from_numpy([1, 2]), TypeError, "list"),
        (lambda: lc.zeros(-1), ValueError, "negative"),
        (lambda: lc.zeros(2**40, 2**40), ValueError, "more elements"),
        (lambda: lc.zeros(2**62), (ValueError, MemoryError), "."),
        (lambda: lc.zeros(*[1] * 17), ValueError, "16"),
        (lambda: lc.arange(0, 5, 0), ValueError, "step"),
        (lambda: lc.arange(5, 0), ValueError, "does not lead"),
        (lambda: lc.arange(float("nan")), ValueError, "finite"),
        (lambda: lc.arange(0, 1e30, 1e-30), ValueError, "more than memory"),
        (lambda: lc.arange(-(2**63), 2**63 - 1), ValueError, "more than memory"),
        (lambda: lc.linspace(0, 1, -1), ValueError, "negative"),
        (lambda: lc.eye(-1), ValueError, "negative"),
        (lambda: lc.zeros(2, dtype=lc.int64, requires_grad=True), RuntimeError, "floating"),
    ],
)
def test_wrong_uses_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_more_than_one_task():
    n = 3 * 32 * 1024 + 5
    check.equal(lc.arange(7, 7 - 3 * n, -3), 7 - 3 * np.arange(n))
    check.equal(lc.arange(0.5, 0.5 + 0.25 * n, 0.25, dtype=lc.float64), 0.5 + 0.25 * np.arange(n))
    check.equal(lc.zeros(n), np.zeros(n))
