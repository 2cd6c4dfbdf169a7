"""binary: values, broadcasting and strides by generated cases; promotion, writing in place, errors by hand."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference import binary as reference

import littlecore as lc

INTEGERS = ("int64", "int32", "uint8")


def two_shapes(case: Case) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes that broadcast: dimensions of either may be 1 or, in front, missing."""
    full = case.shape("shape")

    def reduced(name: str) -> tuple[int, ...]:
        random = case.random(name)
        if random.random() < 0.4:
            return full
        shape = tuple(1 if random.random() < 0.4 else n for n in full)
        return shape[int(random.integers(len(full) + 1)) :] if random.random() < 0.4 else shape

    a, b = reduced("a.shape"), reduced("b.shape")
    return (full, b) if case.random("which").random() < 0.5 else (a, full)


@cases(1200)
def test_forward(case: Case):
    name = case.pick("op", tuple(reference.FORWARD))
    dtype = case.draw_dtype(*STORED_FLOATS, *INTEGERS)
    shape_a, shape_b = two_shapes(case)
    whole = dtype in INTEGERS
    kinds = "integer" if whole else ("normal", "integer", "positive", "special")
    if name in ("remainder", "floor_divide", "pow"):  # integers: no division by zero; floats: quotients that are exact
        kinds = "positive" if name == "pow" else "integer"
    a, b = case.tensor("a", shape_a, kinds), case.tensor("b", shape_b, kinds)
    if whole and name in ("remainder", "floor_divide"):
        b = lc.where(b == 0, 3, b)
    y = getattr(lc, name)(a, b)

    exact_a, exact_b = check.wide(a), check.wide(b)
    with np.errstate(all="ignore"):
        want = reference.FORWARD[name](exact_a, exact_b)
    if whole and name == "div":
        check.elementwise(y, want, 1)
    elif whole:
        check.equal(y, want.astype(dtype))
    else:
        check.elementwise(y, want, 1)
    return y


@cases(600)
def test_comparison(case: Case):
    name = case.pick("op", (*reference.COMPARE, *reference.LOGICAL))
    case.draw_dtype(*STORED_FLOATS, *INTEGERS)
    shape_a, shape_b = two_shapes(case)
    a, b = (case.tensor(n, s, ("integer",), bound=2) for n, s in (("a", shape_a), ("b", shape_b)))
    y = getattr(lc, name)(a, b)
    check.equal(y, {**reference.COMPARE, **reference.LOGICAL}[name](check.wide(a), check.wide(b)))
    return y


def test_nan_compares_false():
    a = lc.tensor([1.0, float("nan"), 2.0])
    check.equal(a == a, np.array([True, False, True]))
    check.equal(a != a, np.array([False, True, False]))
    check.equal(a >= a, np.array([True, False, True]))


@cases(200)
def test_bits(case: Case):
    name, dtype = case.pick("op", tuple(reference.BITWISE)), case.draw_dtype(*INTEGERS, "bool")
    shape_a, shape_b = two_shapes(case)
    high = 2 if dtype == "bool" else 200
    a, b = (case.integers(n, s, 0, high, dtype) for n, s in (("a", shape_a), ("b", shape_b)))
    y = getattr(lc, name)(a, b)
    check.equal(y, reference.BITWISE[name](check.array(a), check.array(b)))
    return y


@cases(700)
def test_backward(case: Case):
    name = case.pick("op", tuple(reference.DERIVATIVES))
    # pow in float16: single terms of a gradient pass 65504, and are infinite before they are summed
    case.draw_dtype(*(t for t in STORED_FLOATS if (name, t) != ("pow", "float16")))
    shape_a, shape_b = two_shapes(case)
    kinds = "positive" if name in ("pow", "div", "remainder") else ("normal", "integer")
    a, b = case.tensor("a", shape_a, kinds, grad=True), case.tensor("b", shape_b, kinds, grad=True)
    y = getattr(lc, name)(a, b)
    dy = case.tensor("dy", tuple(y.shape))
    y.backward(dy)
    slopes = reference.DERIVATIVES[name](*np.broadcast_arrays(check.wide(a), check.wide(b)))
    rounding = check.UNIT[check.dtype_name(a)] / check.accumulate_unit(a)  # of each term, before they are summed
    for x, slope in zip((a, b), slopes, strict=True):
        terms = check.wide(dy) * slope
        want = reference.sum_to(terms, tuple(x.shape))
        length = max(terms.size // max(want.size, 1), 1)
        factor = 8 + np.sqrt(length) + 2 * rounding
        check.bounded(x.grad, want, reference.sum_to(np.abs(terms) + np.abs(check.wide(dy)), tuple(x.shape)), factor)
    return a.grad, b.grad


@pytest.mark.parametrize("name", tuple(reference.DERIVATIVES))
@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (5,))])
def test_gradients(name, shapes):
    random = np.random.default_rng(7)
    a, b = (random.uniform(0.3, 2.9, s) for s in shapes)
    check.gradients(getattr(lc, name), a, b)


@pytest.mark.parametrize("name", ("add", "sub", "mul", "div", "maximum", "minimum", "pow"))
@pytest.mark.parametrize("size", (15, 16, 37, 1100))
def test_rows_beside_a_column(name, size):
    random = np.random.default_rng(size)
    rows, column = (
        random.uniform(0.5, 2, (9, 4, size + 1)).astype("float32"),
        random.uniform(0.5, 2, (9, 4, 1)).astype("float32"),
    )
    for c in (column, column[:, :1], column[0]):
        for a, b in ((rows[..., 1:], c), (c, rows[..., 1:])):
            y = getattr(lc, name)(lc.from_numpy(a), lc.from_numpy(b))
            check.elementwise(y, reference.FORWARD[name](a.astype("float64"), b.astype("float64")), 1)


def test_a_tensor_with_itself():
    check.gradients(lambda x: x * x + x / (x * x) - x, np.random.default_rng(0).uniform(0.5, 2, (4, 5)))


@pytest.mark.parametrize(
    "a, b, result",
    [
        (lc.ones(2), 1, "float32"),
        (lc.ones(2), lc.ones(2, dtype=lc.float64), "float64"),
        (lc.ones(2), lc.ones((), dtype=lc.float64), "float32"),
        (lc.ones(2, dtype=lc.int32), lc.ones((), dtype=lc.int64), "int32"),
        (lc.ones(2, dtype=lc.int64), lc.ones((), dtype=lc.float64), "float64"),
        (lc.ones(2, dtype=lc.int64), 0.5, "float32"),
        (lc.ones(2, dtype=lc.uint8), lc.ones(2, dtype=lc.int32), "int32"),
        (lc.ones(2, dtype=lc.bool), 1, "int64"),
        (lc.ones(2, dtype=lc.bool), True, "bool"),
        (lc.ones(2, dtype=lc.float16), lc.ones(2, dtype=lc.bfloat16), "float32"),
        (lc.ones(2, dtype=lc.bfloat16), 2.5, "bfloat16"),
        (lc.ones((), dtype=lc.float16), lc.ones(2, dtype=lc.int64), "float16"),
        (lc.ones((), dtype=lc.int32), lc.ones((), dtype=lc.int64), "int64"),
    ],
)
@pytest.mark.vacuous
def test_promotion(a, b, result):
    assert check.dtype_name(lc.add(a, b)) == result.replace("bool", "bool_") or check.dtype_name(lc.add(a, b)) == result
    assert lc.add(a, b).dtype is lc.add(b, a).dtype


def test_division_of_integers_is_true():
    y = lc.tensor([7, -7, 1]) / lc.tensor([2, 2, 3])
    assert y.dtype is lc.float32
    check.elementwise(y, np.array([3.5, -3.5, 1 / 3]), 1)
    check.equal(lc.tensor([7, -7, 9]) // 2, np.array([3, -4, 4]))
    check.equal(lc.tensor([7, -7, 9]) % -2, np.array([-1, -1, -1]))
    check.equal(lc.tensor([-7.5, 7.5, 0.25]) % 2, np.array([0.5, 1.5, 0.25]))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", *INTEGERS])
def test_rounded_division(dtype):
    a = np.array([7, 7, 6, 0, 1, 250] + ([] if dtype == "uint8" else [-7, -7, -6, 5]), dtype)
    b = np.array([2, 3, 3, 5, 9, 7] + ([] if dtype == "uint8" else [2, -2, 4, -7]), dtype)
    exact = a.astype(float) / b.astype(float)
    for mode, rounded in (("floor", np.floor), ("trunc", np.trunc)):
        y = lc.div(lc.from_numpy(a), lc.from_numpy(b), rounding_mode=mode)
        assert check.dtype_name(y) == dtype
        check.equal(y, rounded(exact))
        check.equal(lc.from_numpy(a.copy()).div_(lc.from_numpy(b), rounding_mode=mode), rounded(exact))
    check.equal(lc.from_numpy(a.copy()).remainder_(lc.from_numpy(b)), np.mod(a, b))
    check.equal(lc.from_numpy(a.copy()).floor_divide_(lc.from_numpy(b)), np.floor(exact))


def test_rounded_division_of_floats():
    a, b = np.array([1, -1, 0, np.inf, np.nan, -7.5, 1e30, -0.5]), np.array([0, 0, 0, 2, 1, 2, 3, 1])
    with np.errstate(all="ignore"):
        want = np.trunc(a / b)
    check.same_bits(lc.div(lc.from_numpy(a), lc.from_numpy(b), rounding_mode="trunc").abs(), np.abs(want))
    check.equal(lc.div(lc.from_numpy(a), lc.from_numpy(b), rounding_mode="trunc"), want)
    x = lc.from_numpy(a).requires_grad_()
    lc.div(x, 2, rounding_mode="trunc").sum().backward()
    check.equal(x.grad + 1, np.ones(8))
    with pytest.raises(ValueError, match="rounding_mode"):
        lc.div(x, 2, rounding_mode="up")


def test_integers_at_the_edge():
    low = lc.tensor([-(2**63), 5])
    check.equal(low // -1, np.array([-(2**63), -5]))
    check.equal(lc.div(low, -1, rounding_mode="trunc"), np.array([-(2**63), -5]))
    check.equal(low % -1 + lc.tensor([3, 4]), np.array([3, 4]))
    for op in (lc.floor_divide, lc.remainder):
        with pytest.raises(ValueError, match="division by zero"):
            op(low, lc.tensor([1, 0]))
    for op in (lc.Tensor.floor_divide_, lc.Tensor.remainder_):
        for zero in (0, lc.tensor([1, 0])):
            with pytest.raises(ValueError, match="division by zero"):
                op(low, zero)
    with pytest.raises(ValueError, match="negative powers"):
        lc.tensor([2, 3]) ** -1
    check.equal(lc.tensor([2, -3]) ** lc.tensor([5, 3]), np.array([32, -27]))


@pytest.mark.parametrize("power", [0, 1, 2, 3, 0.5, -1, -0.5, 2.7])
def test_powers_by_numbers(power):
    x = np.random.default_rng(1).uniform(0.1, 5, 333).astype(np.float32)
    check.elementwise(lc.from_numpy(x) ** power, x.astype(np.float64) ** power, 2 if power else 1)
    if power:
        check.gradients(lambda t: t**power, x[:9].astype(np.float64))


@pytest.mark.parametrize("name", ["add_", "sub_", "mul_", "div_"])
def test_in_place(name):
    random = np.random.default_rng(5)
    x, y = (random.uniform(1, 2, (6, 7)).astype(np.float32) for _ in range(2))
    want = getattr(lc, name[:-1])(lc.from_numpy(x), lc.from_numpy(y)).numpy()
    t = lc.from_numpy(x.copy())
    address, version = t.data_ptr(), t._version
    assert getattr(t, name)(lc.from_numpy(y)) is t
    assert t.data_ptr() == address
    assert t._version > version
    check.equal(t, want)
    view = lc.from_numpy(x.copy())
    getattr(view.t(), name)(lc.from_numpy(y).t())  # a transposed view of it
    check.equal(view, want)


def test_in_place_on_overlapping_views():
    x = np.arange(10, dtype=np.float32)
    t = lc.from_numpy(x.copy())
    t[1:].add_(t[:-1])
    check.equal(t, np.concatenate([x[:1], x[1:] + x[:-1]]))


def test_in_place_refusals():
    with pytest.raises(ValueError, match="add_"):
        lc.ones(3).add_(lc.ones(2, 3))
    with pytest.raises(TypeError, match=r"add_.*int64"):
        lc.ones(3, dtype=lc.int64).add_(lc.ones(3))
    with pytest.raises(ValueError, match="expanded"):
        lc.ones(3, 1).expand(3, 4).mul_(2)
    with pytest.raises(RuntimeError, match="mul_"):
        lc.ones(3, requires_grad=True).mul_(2)
    with pytest.raises(RuntimeError, match="not recorded"):
        lc.ones(3).add_(lc.ones(3, requires_grad=True))


def test_bool_arithmetic():
    a, b = lc.tensor([True, True, False]), lc.tensor([True, False, False])
    check.equal(a + b, np.array([True, True, False]))
    check.equal(a * b, np.array([True, False, False]))
    with pytest.raises(TypeError, match="sub"):
        a - b


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"add.*\[2, 3\].*\[4\]"):
        lc.ones(2, 3) + lc.ones(4)


def test_no_gradient_of_floor_divide():
    with pytest.raises(RuntimeError, match="floor_divide"):
        (lc.ones(3, requires_grad=True) // 2).sum().backward()


def test_gradients_that_meet():
    """Three uses of one tensor: the sums must not write into a gradient that something else still holds."""
    x = lc.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 1
    seen = []
    y.register_hook(lambda g: seen.append(g))
    (y + y + y * y).sum().backward()
    check.equal(x.grad, np.array([4, 6, 8]))
    kept = seen[0].numpy().copy()
    (x * 5).sum().backward()
    check.equal(seen[0], kept)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_exactly(dtype):  # large results are written past the caches
    a, b, dy = np.random.default_rng(0).standard_normal((3, 1050, 3143), dtype)
    x, y = lc.tensor(a, requires_grad=True), lc.tensor(b, requires_grad=True)
    product = x * y
    check.equal(product, a * b)
    product.backward(lc.tensor(dy))
    check.equal(x.grad, dy * b)
    check.equal(y.grad, dy * a)
    check.equal(lc.tensor(a) - lc.tensor(b[:, :1]), a - b[:, :1])
    check.equal(2 / lc.tensor(a), a.dtype.type(2) / a)
    check.equal(lc.tensor(a).add_(lc.tensor(b)), a + b)
