"""matmul: exact in integers for every shape, layout and thread count; bounds for real numbers; the order of sums."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.matmul import matmul_backward, matmul_forward

import littlecore as lc

DEPTHS = (1, 2, 3, 5, 8, 0, 17, 33, 64, 129, 257, 383, 385, 400, 800)  # around the blocks k is split in
BATCHES = (
    ((), ()),
    ((2,), (2,)),
    ((3,), ()),
    ((), (2,)),
    ((2, 1), (3,)),
    ((1, 2), (3, 1)),
    ((2, 3), (2, 3)),
    ((0,), (1,)),
)


def draw_product(case: Case, values: str = "integer", terms: int = 1, grad: bool = False):
    """Two operands whose product broadcasts; integers stay exact through sums of `terms` times k products."""
    m, n, k = case.size("m"), case.size("n"), case.pick("k", DEPTHS)
    lead_a, lead_b = case.pick("batch", BATCHES) if m * n * max(k, 1) < 300_000 else ((), ())
    kind = case.pick("kind", ("matrices", "vector_a", "vector_b", "vectors"))
    a_shape = (k,) if kind in ("vector_a", "vectors") else (*lead_a, m, k)
    b_shape = (k,) if kind in ("vector_b", "vectors") else (*lead_b, k, n)
    bound = check.fits(max(k, 1) * terms, 4, "float32")
    a = case.tensor("a", a_shape, values, bound=bound, grad=grad)
    return a, case.tensor("b", b_shape, values, bound=bound, grad=grad)


@cases(1500)
def test_integers_are_exact(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    a, b = draw_product(case)
    y = lc.matmul(a, b)
    check.equal(y, check.rounded(np.asarray(matmul_forward(check.wide(a), check.wide(b))), case.dtype))
    return y


@cases(400)
def test_backward_of_integers_is_exact(case: Case):
    a, b = draw_product(case, terms=600, grad=True)
    y = a @ b
    dy = case.tensor("dy", tuple(y.shape), "integer", bound=2)
    y.backward(dy)
    for got, want in zip((a.grad, b.grad), matmul_backward(check.wide(dy), check.wide(a), check.wide(b)), strict=True):
        check.equal(got, want)
    return a.grad, b.grad


@cases(400)
def test_real_numbers(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    a, b = draw_product(case, case.pick("values", ("normal", "spread", "special")))
    y = a @ b
    wide_a, wide_b = check.wide(a), check.wide(b)
    with np.errstate(all="ignore"):
        want = np.asarray(matmul_forward(wide_a, wide_b))
        magnitude = np.asarray(matmul_forward(np.abs(wide_a), np.abs(wide_b)))
    check.contraction(y, want, magnitude, a.shape[-1])
    return y


@pytest.mark.parametrize("dtype", STORED_FLOATS)
@pytest.mark.parametrize(
    "sizes",
    [
        (150, 130, 700),
        (300, 40, 400),
        (70, 600, 390),
        (1, 300, 900),
        (5, 70, 770),
        (20, 600, 390),
        (1201, 605, 2),
        (1201, 290, 100),
        (4100, 45, 1100),
        (270, 3900, 400),
    ],
)
def test_large_products_are_exact(sizes, dtype, isa):
    m, n, k = sizes
    random = np.random.default_rng(m)
    bound = check.fits(k, 4, "float32")
    values = [random.integers(-bound, bound + 1, shape).astype(np.float32) for shape in ((m, k), (k, n))]
    a, b = (lc.from_numpy(v).to(getattr(lc, dtype)) for v in values)
    want = check.rounded(values[0].astype(np.float64) @ values[1].astype(np.float64), dtype)
    for left in (a, a.t().contiguous().t()):
        for right in (b, b.t().contiguous().t()):
            check.equal(left @ right, want)


def test_a_batch_of_large_products_is_exact(isa):
    random = np.random.default_rng(0)
    a, b = (random.integers(-4, 5, shape).astype(np.float32) for shape in ((3, 250, 400), (3, 400, 40)))
    check.equal(lc.from_numpy(a) @ lc.from_numpy(b), a.astype(np.float64) @ b.astype(np.float64))


@pytest.mark.parametrize("layout", ["nn", "nt", "tn", "tt"])
@pytest.mark.parametrize("dtype", STORED_FLOATS)
@pytest.mark.parametrize("k", [300, 400, 777, 1031])  # one chain, in two blocks, several, in blocks
def test_a_row_has_the_same_bits_whatever_stands_around_it(dtype, layout, k, isa):
    """In a product of one row, of a few, of many, in a batch, and on any number of threads."""
    random = np.random.default_rng(0)
    n = 133
    a = lc.from_numpy(random.standard_normal((200, k), np.float32)).to(getattr(lc, dtype))
    b = lc.from_numpy(random.standard_normal((k, n), np.float32)).to(getattr(lc, dtype))
    a = a if layout[0] == "n" else a.t().contiguous().t()
    b = b if layout[1] == "n" else b.t().contiguous().t()
    lc.set_num_threads(1)
    want = a @ b
    for threads in (1, 2, 3):
        lc.set_num_threads(threads)
        check.same_bits(a @ b, want)
        for first, rows in ((0, 1), (17, 2), (3, 3), (50, 4), (9, 7), (150, 13), (100, 64), (5, 65)):
            check.same_bits(a[first : first + rows] @ b, want[first : first + rows])
            check.same_bits(a[first : first + rows] @ b[:, 3:6], want[first : first + rows, 3:6].contiguous())
        check.same_bits(a[2:182].reshape(20, 9, k) @ b, want[2:182].reshape(20, 9, n))
        check.same_bits(b.t() @ a.t(), want.t().contiguous())
        check.same_bits(a @ b[:, 40], want[:, 40].contiguous())
        check.same_bits(a[:, None, :] @ b, want[:, None, :])


@pytest.mark.parametrize("a_shape", [(3, 4), (4,), (2, 3, 4), (2, 1, 3, 4)])
@pytest.mark.parametrize("b_shape", [(4, 5), (4,), (2, 4, 5), (3, 4, 2)])
def test_gradients(a_shape, b_shape):
    random = np.random.default_rng(1)
    a, b = random.standard_normal(a_shape), random.standard_normal(b_shape)
    try:
        np.matmul(a, b)
    except ValueError:
        with pytest.raises(ValueError, match="matmul"):
            lc.from_numpy(a) @ lc.from_numpy(b)
        return
    check.gradients(lc.matmul, a, b)


@pytest.mark.parametrize("transpose", [False, True])
def test_adjoint(transpose):
    random = np.random.default_rng(2)
    a, b, dy = (lc.from_numpy(random.integers(-3, 4, s).astype(np.float32)) for s in ((37, 70), (70, 41), (37, 41)))
    if transpose:
        a, b = a.t().contiguous().t(), b.t().contiguous().t()
    check.adjoint(lc.matmul, a, b, dy=dy)


def test_a_gradient_may_be_any_view():
    """sum() hands down an expanded scalar: strides of zero."""
    random = np.random.default_rng(3)
    a = lc.from_numpy(random.integers(-3, 4, (2, 3, 4)).astype(np.float32)).requires_grad_()
    b = lc.from_numpy(random.integers(-3, 4, (4, 5)).astype(np.float32)).requires_grad_()
    (a @ b).backward(lc.ones(1, 1, 1).expand(2, 3, 5))
    da, db = matmul_backward(np.ones((2, 3, 5)), check.wide(a), check.wide(b))
    check.equal(a.grad, da)
    check.equal(b.grad, db)


def test_special_products():
    random = np.random.default_rng(4)
    a, b, v, x = (random.integers(-3, 4, s).astype(np.float64) for s in ((3, 4), (4, 5), (4,), (3, 5)))
    ta, tb, tv, tx = (lc.from_numpy(t) for t in (a, b, v, x))
    check.equal(lc.mm(ta, tb), a @ b)
    check.equal(lc.mv(ta, tv), a @ v)
    check.equal(lc.dot(tv, tv), np.array(v @ v))
    check.equal(lc.outer(tv, tv), np.outer(v, v))
    check.equal(lc.bmm(ta[None], tb[None]), (a @ b)[None])
    check.equal(lc.addmm(tx, ta, tb, beta=2, alpha=3), 2 * x + 3 * (a @ b))
    check.equal(lc.baddbmm(tx[None], ta[None], tb[None]), (x + a @ b)[None])


@pytest.mark.parametrize(
    "call, error, text",
    [
        (lambda a, b: a @ b, ValueError, r"matmul: inner sizes differ: a is \[3, 4\], b is \[5, 6\]"),
        (lambda a, b: a @ b[0, 0], ValueError, "matmul: both operands need at least one axis"),
        (lambda a, b: a @ b.to(lc.float64), TypeError, "matmul: a is float32 but b is float64"),
        (lambda a, b: lc.ones(2, 3, 4) @ lc.ones(3, 4, 5), ValueError, "matmul"),
        (lambda a, b: lc.mm(a[0], b), ValueError, "mm: wants two matrices"),
        (lambda a, b: lc.bmm(a, b), ValueError, "bmm: wants two batches"),
        (lambda a, b: lc.ones(2, 2).to(lc.int64) @ lc.ones(2, 2).to(lc.int64), TypeError, "matmul"),
    ],
)
def test_wrong_operands_are_refused(call, error, text):
    with pytest.raises(error, match=text):
        call(lc.ones(3, 4), lc.ones(5, 6))
