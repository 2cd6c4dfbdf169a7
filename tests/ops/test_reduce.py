"""reduce: every reduction over any axes; sums exact on integers, the others by the length of what is reduced."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference import reduce as reference

import littlecore as lc

SMOOTH = ("sum", "mean", "prod", "var", "std", "norm", "logsumexp")


def axes_of(case: Case, rank: int) -> tuple[int, ...]:
    chosen = tuple(d for d in range(rank) if case.random("axes").random(rank)[d] < 0.5)
    return chosen or tuple(range(rank))


def count(shape: tuple[int, ...], axes: tuple[int, ...]) -> int:
    return int(np.prod([shape[a] for a in axes]))


@pytest.mark.filterwarnings("ignore:(Mean of empty slice|Degrees of freedom):RuntimeWarning")  # NumPy's
@cases(1200)
def test_forward(case: Case):
    name, keepdim = case.pick("op", tuple(reference.FORWARD)), case.pick("keepdim", (False, True))
    dtype = case.draw_dtype(*STORED_FLOATS)
    shape = case.shape("shape", low=1, limit=16384)
    axes = axes_of(case, len(shape))
    n = count(shape, axes)
    if n == 0 and name in ("amax", "amin", "logsumexp"):
        return None
    kinds = {"prod": ("uniform",), "sum": ("normal", "special"), "var": ("normal", "shifted")}.get(
        name, ("normal", "positive")
    )
    if dtype in ("float16", "bfloat16"):
        kinds = ("normal",)
    x = case.tensor("x", shape, kinds)
    y = getattr(lc, name)(x, dim=axes, keepdim=keepdim)

    exact = check.wide(x)
    with np.errstate(all="ignore"):
        want = reference.FORWARD[name](exact, axis=axes, keepdims=keepdim)
        if name in ("amax", "amin", "any", "all"):
            check.equal(y, want)
        elif name == "sum":
            check.contraction(y, want, np.abs(exact).sum(axis=axes, keepdims=keepdim), n)
        elif name == "mean":
            check.contraction(y, want, np.abs(exact).mean(axis=axes, keepdims=keepdim), n)
        elif name == "logsumexp":  # exp turns the rounding of x - m into a relative error, log into an absolute one
            spread = np.ptp(exact, axis=axes, keepdims=keepdim)
            check.contraction(y, want, np.abs(want) + spread + 4, 1)
        elif name in ("var", "std"):  # no mean in the bound: what rounding leaves in it is taken out again
            check.bounded(y, want, np.abs(want), 16 + np.sqrt(n))
        else:  # prod, norm: n roundings at most
            check.bounded(y, want, np.abs(want), 8 + n)
    return y


@cases(500)
def test_integer_sums_are_exact(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS, "int64", "int32", "uint8", "bool")
    shape = case.shape("shape", low=1, limit=16384)
    axes = axes_of(case, len(shape))
    x = case.tensor("x", shape, "integer", bound=1 if dtype in ("float16", "bfloat16") else 3)  # sums below 2^24
    y = lc.sum(x, axes)
    want = check.wide(x).astype(np.int64).sum(axis=axes)
    if dtype in ("float16", "bfloat16"):
        check.bounded(y, want, 0, 0)  # exact in float32, then one rounding
    else:
        check.equal(y, want)
    if dtype in STORED_FLOATS:
        assert check.dtype_name(y) == dtype
    else:
        assert y.dtype is lc.int64
    return y


@pytest.mark.parametrize("shape", [(1, 100003), (4099, 3), (3, 4097, 5), (70, 2050), (2, 8193, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_long_sums(shape, axis):
    """Longer than a block, so that the tree over blocks is used; with every thread count the same bits."""
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    results = []
    for threads in (1, 2, 3):
        lc.set_num_threads(threads)
        results.append(lc.sum(lc.from_numpy(x), axis))
        check.same_bits(results[-1], results[0])
    exact = x.astype(np.float64)
    check.bounded(results[0], exact.sum(axis), np.abs(exact).sum(axis), 8)  # pairwise: not by the length


@pytest.mark.parametrize("columns", [5, 100, 5000, 20000])
@pytest.mark.parametrize("name", ["sum", "amax", "var", "logsumexp"])
def test_a_row_does_not_depend_on_the_others(name, columns):
    """Four rows, or four blocks of one, are read at once."""
    x = lc.from_numpy(np.random.default_rng(3).standard_normal((7, columns)).astype(np.float32))
    y = getattr(lc, name)(x, 1)
    for i in range(7):
        check.same_bits(getattr(lc, name)(x[i : i + 1], 1), y[i : i + 1])
        check.same_bits(getattr(lc, name)(x[i], 0), y[i])


@pytest.mark.parametrize("columns", [13, 100, 20000])
def test_extremes_of_rows_with_nan(columns):
    x = np.random.default_rng(4).standard_normal((9, columns)).astype(np.float32)
    for i, at in enumerate((0, 3, 7, 8, 11, columns // 2, columns - 2, columns - 1)):
        x[i, at] = np.nan
    x[8] = -np.inf
    check.equal(lc.amax(lc.from_numpy(x), 1), x.max(1))
    check.equal(lc.amin(lc.from_numpy(x), 1), x.min(1))


@cases(500)
def test_largest_and_where(case: Case):
    largest, dtype = case.pick("largest", (True, False)), case.draw_dtype(*STORED_FLOATS, "int64", "int32", "uint8")
    shape = tuple(max(n, 1) for n in case.shape("shape", low=1))
    axis = int(case.random("axis").integers(len(shape)))
    x = case.tensor("x", shape, ("normal", "integer", "special") if dtype in STORED_FLOATS else "integer")
    values, indices = (lc.max if largest else lc.min)(x, axis)
    exact = check.wide(x)
    arg = (np.argmax if largest else np.argmin)(exact, axis=axis)
    check.equal(indices, arg)
    check.equal(values, np.take_along_axis(exact, np.expand_dims(arg, axis), axis).squeeze(axis))
    check.equal((lc.argmax if largest else lc.argmin)(x, axis), arg)
    check.equal((lc.argmax if largest else lc.argmin)(x), (np.argmax if largest else np.argmin)(exact))
    return values, indices


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8"])
def test_where_the_largest_is_in_long_rows(dtype):
    random = np.random.default_rng(3)
    x = np.stack([random.integers(0, 100, 1000), np.arange(1000) // 9, np.zeros(1000)]).astype(dtype)
    for rows in (x, x[:, ::-1].copy()):
        check.equal(lc.argmax(lc.from_numpy(rows), 1), rows.argmax(1))
        check.equal(lc.argmin(lc.from_numpy(rows), 1), rows.argmin(1))
    if dtype.startswith("float"):
        x[:, [500, 700]] = np.nan
        check.equal(lc.max(lc.from_numpy(x), 1).indices, np.full(3, 500))
        check.equal(lc.min(lc.from_numpy(x), 1).values, np.full(3, np.nan))


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize(
    "shape, axes", [((3, 5), (1,)), ((3, 5), (0,)), ((2, 3, 4), (0, 2)), ((4, 4), (0, 1)), ((2, 3, 2), (1,))]
)
def test_gradients(name, shape, axes):
    x = np.random.default_rng(11).uniform(0.3, 2, shape)
    check.gradients(lambda t: getattr(lc, name)(t, dim=axes), x)
    check.gradients(lambda t: getattr(lc, name)(t, dim=axes, keepdim=True), x)


@pytest.mark.parametrize(
    "call", [lambda t: t.max(1).values, lambda t: t.min(0).values, lambda t: t.amax((0, 2)), lambda t: t.amin()]
)
def test_gradients_of_the_largest(call):
    x = np.random.default_rng(12).permutation(2 * 3 * 4).reshape(2, 3, 4) / 7.0
    check.gradients(call, x)


@pytest.mark.parametrize("p", [1, 1.5, 2, 3, float("inf")])
def test_norms(p):
    x = np.random.default_rng(13).uniform(0.2, 2, (3, 4)) * np.random.default_rng(14).choice([-1, 1], (3, 4))
    want = np.abs(x).max(1) if p == float("inf") else reference.norm(x, (1,), p)
    check.bounded(lc.norm(lc.from_numpy(x), p, 1), want, want, 32)
    check.gradients(lambda t: lc.norm(t, p, 1), x)


def test_equal_ones_share_the_gradient():
    x = lc.tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], requires_grad=True)
    x.amax(1).sum().backward()
    check.equal(x.grad, np.float32([[0, 0.5, 0.5], [1 / 3, 1 / 3, 1 / 3]]))
    x.grad = None
    x.max(1).values.sum().backward()
    check.equal(x.grad, np.array([[0, 1, 0], [1, 0, 0]]))


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_gradient_of_a_product_with_zeros(zeros):
    x = np.random.default_rng(15).uniform(1, 2, (2, 5))
    x[0, :zeros] = 0
    others = [[np.prod(np.delete(row, i)) for i in range(5)] for row in x]
    t = lc.from_numpy(x.copy()).requires_grad_()
    t.prod(1).sum().backward()
    check.bounded(t.grad, np.array(others), np.abs(np.array(others)), 16)


@pytest.mark.vacuous
def test_nothing_to_reduce():
    x = lc.zeros(0, 3)
    check.equal(x.sum(0), np.zeros(3))
    check.equal(x.prod(0), np.ones(3))
    check.equal(x.mean(0), np.full(3, np.nan))
    check.equal(x.sum(1), np.zeros(0))
    assert not x.any()
    assert x.all()
    check.equal(lc.logsumexp(x, 0), np.full(3, -np.inf))
    for call in (lambda: x.amax(0), lambda: x.max(), lambda: x.argmin(0)):
        with pytest.raises(ValueError, match="no elements"):
            call()


def test_logsumexp_of_infinities():
    inf = float("inf")
    x = lc.tensor([[-inf, -inf], [inf, 0.0], [1000.0, 1000.0], [-inf, 3.0]])
    check.elementwise(lc.logsumexp(x, 1), np.array([-inf, inf, 1000 + np.log(2), 3.0]), 1)


def test_refusals():
    x = lc.ones(2, 3)
    with pytest.raises(ValueError, match="twice"):
        x.sum((0, 0))
    with pytest.raises(IndexError, match="sum"):
        x.sum(2)
    with pytest.raises(TypeError, match="mean"):
        lc.ones(3, dtype=lc.int64).mean()


def test_variance_far_from_zero():
    x = np.random.default_rng(16).standard_normal((5, 4096)) + 1e4
    y = lc.var(lc.from_numpy(x.astype(np.float32)), 1)
    exact = reference.var(x.astype(np.float32).astype(np.float64), (1,))
    check.bounded(y, exact, exact, 64)
