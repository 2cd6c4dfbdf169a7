"""index: random index expressions against NumPy, read, written and differentiated."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.index import getitem, getitem_backward, setitem

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


def draw_key(case: Case, shape: tuple[int, ...]):
    """A key that fits the shape: integers, slices, None, Ellipsis, integer arrays that broadcast, masks."""
    random, key, dim, ellipsis = case.random("key"), [], 0, False
    together = tuple(int(n) for n in random.integers(1, 4, int(random.integers(1, 3))))
    masked = random.random() < 0.25
    while dim < len(shape):
        size, draw = shape[dim], random.random()
        if draw < 0.1 and not ellipsis:
            break
        if draw < 0.2:
            key.append(None)
        elif draw < 0.25 and not ellipsis:
            key.append(Ellipsis)
            ellipsis, dim = True, dim + int(random.integers(len(shape) - dim + 1))
        elif draw < 0.45 and size > 0:
            key.append(int(random.integers(-size, size)))
            dim += 1
        elif draw < 0.7:
            low, high = (None if random.random() < 0.3 else int(random.integers(-size - 2, size + 3)) for _ in range(2))
            key.append(slice(low, high, random.choice([None, 1, 2, 3, -1, -2, -3])))
            dim += 1
        elif masked:
            used = int(random.integers(1, min(2, len(shape) - dim) + 1))
            key.append(random.random(shape[dim : dim + used]) < 0.5)
            dim, masked = dim + used, False
        elif size > 0 and not any(isinstance(k, np.ndarray) and k.dtype == bool for k in key):
            own = tuple(n if random.random() < 0.7 else 1 for n in together[int(random.integers(len(together))) :])
            key.append(random.integers(-size, size, own))
            dim += 1
    return tuple(key)


def dressed(case: Case, key):
    """The same key with arrays as Python would write them: tensors, NumPy arrays, lists."""
    random = case.random("dress")

    def one(k):
        if not isinstance(k, np.ndarray):
            return k
        form = random.choice(["tensor", "int32", "array", "list"])
        if form == "tensor" or k.size == 0:
            return lc.from_numpy(k)
        if form == "int32" and k.dtype != bool:
            return lc.from_numpy(k.astype(np.int32))
        return k.tolist() if form == "list" else k

    out = tuple(one(k) for k in key)
    return out[0] if len(out) == 1 else out


@pytest.mark.vacuous
@pytest.mark.parametrize("key", [1, slice(1, 3), lc.tensor([0, 2]), lc.tensor([True, False, True, True])])
def test_setitem_is_one_change(key):
    x = lc.zeros(4, 3)
    x[key] = 2.0
    assert x._version == 1


@cases(1500)
def test_getitem(case: Case):
    dtype = case.draw_dtype(*DTYPES)
    shape = case.shape("shape", high=5, limit=500)
    x, key = case.tensor("x", shape, "integer", dtype=dtype), draw_key(case, shape)
    y = x[dressed(case, key)]
    check.equal(y, getitem(check.array(x), key))
    return y


@cases(800)
def test_setitem(case: Case):
    dtype = case.draw_dtype(*DTYPES)
    shape = case.shape("shape", high=4, limit=300)
    x, key = case.tensor("x", shape, "integer", dtype=dtype).clone(), draw_key(case, shape)
    want = check.array(x).copy()
    sizes = getitem(want, key).shape
    form = case.pick("values", ("number", "full", "row", "array", "strided"))
    if form == "number":
        v = case.pick("number", (1, 3.0, True))
    elif form == "row":
        v = case.tensor("v", sizes[-1:], "integer", dtype=dtype)
    else:
        v = case.tensor("v", sizes, "integer", dtype="float32" if form == "array" else dtype)
        v = check.array(v) if form == "array" else v
    x[dressed(case, key)] = v
    setitem(want, key, v if form == "number" else check.array(v).astype(want.dtype))
    check.equal(x, want)
    return x


@cases(800)
def test_getitem_backward(case: Case):
    shape = case.shape("shape", high=4, limit=300)
    x, key = case.tensor("x", shape, "integer", grad=True), draw_key(case, shape)
    y = x[dressed(case, key)]
    dy = case.tensor("dy", y.shape, "integer")
    if y.numel():
        y.backward(dy)
        check.equal(x.grad, getitem_backward(check.array(dy), check.array(x), key))
    return x.grad


def test_sixteen_bit_gradients_are_summed_in_float32():
    x = lc.zeros(2, dtype=lc.bfloat16, requires_grad=True)
    y = x[lc.zeros(1000, dtype=lc.int64)]
    y.backward(lc.ones(1000, dtype=lc.bfloat16))
    assert x.grad.float().tolist() == [1000, 0]  # in bfloat16 the sum would stay at 256


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_repeated_places_add_in_order(threads):
    lc.set_num_threads(threads)
    random = np.random.default_rng(0)
    v, at = random.standard_normal((3000, 40)).astype(np.float32), random.integers(0, 7, 3000)
    x, want = lc.zeros(7, 40), np.zeros((7, 40), np.float32)
    x.index_put_([lc.from_numpy(at)], lc.from_numpy(v), accumulate=True)
    for i, row in zip(at, v, strict=True):
        want[i] += row
    check.same_bits(x, want)
    x[lc.from_numpy(at)] = lc.from_numpy(v)
    want[at] = v
    check.same_bits(x, want)


@pytest.mark.parametrize("dtype", [lc.float32, lc.bfloat16])
def test_gradients_of_long_rows(dtype):
    random = np.random.default_rng(0)
    x = lc.zeros(50, 8, 5, dtype=dtype, requires_grad=True)
    at, dy = random.integers(-50, 49, (20, 9)), random.integers(-4, 5, (20, 9, 8, 5))
    want = np.zeros(x.shape)
    np.add.at(want, at, dy)
    y = x[lc.from_numpy(at)]
    y.backward(lc.from_numpy(dy).to(dtype))
    check.equal(x.grad.float(), want)


@pytest.mark.parametrize("threads", [1, 8])
def test_large(threads):
    lc.set_num_threads(threads)
    random = np.random.default_rng(1)
    a, rows, cols = random.standard_normal((700, 300)), random.integers(-700, 700, 5000), random.integers(0, 300, 5000)
    x, mask = lc.from_numpy(a), a > 0.5
    check.equal(x[rows], a[rows])
    check.equal(x[:, cols], a[:, cols])
    check.equal(x[rows, cols], a[rows, cols])
    check.equal(x[mask], a[mask])
    check.equal(x.masked_select(lc.from_numpy(mask)), a[mask])
    b, y = a.copy(), x.clone()
    b[mask], y[lc.from_numpy(mask)] = 0, 0
    check.equal(y, b)


def test_index_select_and_add():
    a, i = np.arange(24.0).reshape(2, 3, 4), np.array([2, 0, 2])
    x, index = lc.from_numpy(a), lc.from_numpy(i)
    check.equal(lc.index_select(x, 1, index), a[:, i])
    check.adjoint(
        lambda x: x.index_select(-1, lc.tensor([3, 3, 0])), x, dy=lc.from_numpy(np.arange(18.0).reshape(2, 3, 3))
    )
    source = np.arange(24.0).reshape(2, 3, 4) ** 2
    want = a.copy()
    np.add.at(want, (slice(None), i), source)
    check.equal(lc.index_add(x, 1, index, lc.from_numpy(source)), want)
    check.gradients(lambda x, s: lc.index_add(x, 1, index, s), a, source)
    assert lc.tensor(5.0).index_select(0, lc.tensor([0])).item() == 5


def test_a_mask_of_one_truth_adds_a_dim():
    x = lc.arange(6).reshape(2, 3)
    assert x[True].shape == (1, 2, 3) and x[False].shape == (0, 2, 3) and lc.tensor(3)[True].tolist() == [3]
    assert x[lc.tensor(True)].shape == (1, 2, 3) and x[np.bool_(True), 0].shape == (1, 3)
    assert lc.tensor(5)[...].item() == 5 and lc.tensor(5)[None].tolist() == [5]


def test_what_can_be_an_index():
    x, a = lc.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3)
    for one in (1, np.int64(1), np.uint8(1), lc.tensor(1), np.array(1), lc.tensor(1, dtype=lc.int32)):
        check.equal(x[one], a[1])
        check.equal(x[0:one], a[0:1])
    for many in (
        [1, 0],
        (1, 0)[:1] and [1, 0],
        np.array([1, 0], np.int8),
        np.array([1, 0], ">i8"),
        np.array([1, 0], np.uint16),
    ):
        check.equal(x[many], a[[1, 0]])
    check.equal(x[[[1, 0], [0, 0]]], a[[[1, 0], [0, 0]]])
    assert x[[]].shape == (0, 3)


def test_written_through_itself():
    x = lc.arange(6)
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3, 4]
    x[[0, 1, 2]] = x[[3, 4, 5]]
    assert x.tolist() == [2, 3, 4, 2, 3, 4]
    x[lc.tensor([5, 4])] = x[:2]
    assert x.tolist() == [2, 3, 4, 2, 3, 2]


@pytest.mark.parametrize(
    "key, error, words",
    [
        (2, IndexError, r"index 2 is out of range for dim 0 of size 2"),
        ((0, -4), IndexError, r"index -4 is out of range for dim 1 of size 3"),
        ((slice(None), None, [0, 3]), IndexError, r"index 3 is out of range for dim 1 of size 3 \(shape \[2, 3, 4\]\)"),
        ((0, slice(None), [4]), IndexError, r"index 4 is out of range for dim 2 of size 4"),
        ((0, 0, 0, 0), IndexError, "too many indices"),
        ((..., ..., 0), IndexError, "Ellipsis"),
        (1.5, IndexError, "got float"),
        ("a", IndexError, "got str"),
        (np.array([0.5]), IndexError, "float64"),
        (np.zeros((2, 2), bool), IndexError, r"mask of shape \[2, 2\] does not match dim 1 of size 3"),
        ((slice(None, None, 0),), ValueError, "zero"),
        (([0, 1], [0, 1, 2]), ValueError, "broadcast"),
        (2**70, IndexError, "fit"),
    ],
)
def test_wrong_keys_are_refused(key, error, words):
    x = lc.arange(24).reshape(2, 3, 4)
    with pytest.raises(error, match=words):
        x[key]
    with pytest.raises(error, match=words.replace("getitem", "setitem")):
        x[key] = 0
    assert x.sum().item() == 276 if hasattr(x, "sum") else x.reshape(-1).tolist() == list(range(24))


def test_wrong_values_are_refused():
    x = lc.zeros(2, 3)
    with pytest.raises(ValueError, match=r"values of shape \[2\] do not broadcast to \[3\]"):
        x[0] = lc.ones(2)
    with pytest.raises(TypeError):
        x[0] = "a"
    with pytest.raises(RuntimeError, match="gradient"):
        x[0] = lc.ones(3, requires_grad=True)
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lc.from_numpy(frozen)[0] = 1


def test_a_saved_index_that_changes_is_noticed():
    x, i = lc.ones(3, requires_grad=True), lc.tensor([0, 1])
    y = x[i]
    i[0] = 2
    with pytest.raises(RuntimeError, match=r"modified|changed"):
        y.backward(lc.ones(2))
