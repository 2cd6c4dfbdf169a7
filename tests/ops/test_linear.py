"""linear: integers exact, activations in the epilogue, the three gradients."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.linear import ACTIVATIONS, linear_backward, linear_forward

import littlecore as lc
from littlecore.nn import functional as F

LEADS = ((), (1,), (2,), (7,), (3, 5), (65,), (2, 1, 40), (0,), (130,))


def draw(case: Case, values: str, terms: int = 1, grad: bool = False):
    lead, inputs, outputs = case.pick("lead", LEADS), case.size("in"), case.size("out")
    bound = check.fits((inputs + 1) * terms, 4, "float32")
    x = case.tensor("x", (*lead, inputs), values, bound=bound, grad=grad)
    w = case.tensor("w", (outputs, inputs), values, bound=bound, grad=grad)
    b = case.tensor("b", (outputs,), values, bound=bound, grad=grad) if case.pick("bias", (True, False)) else None
    return x, w, b


@cases(800)
def test_integers_are_exact(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    x, w, b = draw(case, "integer")
    y = F.linear(x, w, b)
    want = linear_forward(check.wide(x), check.wide(w), 0 if b is None else check.wide(b))
    check.equal(y, check.rounded(want, case.dtype))
    return y


@cases(300)
def test_backward_of_integers_is_exact(case: Case):
    x, w, b = draw(case, "integer", terms=600, grad=True)
    y = F.linear(x, w, b)
    dy = case.tensor("dy", tuple(y.shape), "integer", bound=2)
    y.backward(dy)
    want = linear_backward(check.wide(dy), check.wide(x), check.wide(w))
    grads = [x.grad, w.grad] + ([] if b is None else [b.grad])
    for got, expected in zip(grads, want, strict=False):
        check.equal(got, expected)
    return grads


@cases(300)
def test_activations(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    x, w, b = draw(case, "normal")
    activation = case.pick("activation", tuple(ACTIVATIONS))
    y = F.linear(x, w, b, activation=activation)
    exact = [check.wide(x), check.wide(w), np.float64(0) if b is None else check.wide(b)]
    size = np.abs(exact[0]) @ np.abs(exact[1]).T + np.abs(exact[2])
    # |act'| <= 1.13: an error in z is carried over, the activation adds its own few units
    check.contraction(y, linear_forward(*exact, activation), 1.2 * size, x.shape[-1] + 16)
    return y


@pytest.mark.parametrize("dtype", STORED_FLOATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_backward_of_activations(activation, dtype):
    random = np.random.default_rng(0)
    values = [random.standard_normal(s).astype(np.float32) for s in ((70, 19), (23, 19), (23,), (70, 23))]
    x, w, b, dy = (lc.from_numpy(v).to(getattr(lc, dtype)) for v in values)
    leaves = [t.requires_grad_() for t in (x, w, b)]
    y = F.linear(x, w, b, activation=activation)
    y.backward(dy)
    exact = [check.wide(t) for t in (dy, x, w, b)]
    want = linear_backward(*exact, activation)
    if dtype in ("float32", "float64"):
        narrow = [v.astype(dtype) for v in exact]
        naive = linear_backward(*narrow, activation)
    else:  # dz is stored in 16 bits between the products
        naive = [v + check.UNIT[dtype] * np.abs(v).max() for v in want]
    for leaf, expected, approximate in zip(leaves, want, naive, strict=True):
        check.no_worse(leaf.grad, expected, approximate)


@pytest.mark.vacuous  # half of relu's Jacobian is zero, and of a product's with several rows
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("lead", [(3,), (2, 2), ()])
def test_gradients(activation, lead):
    random = np.random.default_rng(6)
    x, w, b = random.standard_normal((*lead, 4)), random.standard_normal((3, 4)), random.standard_normal(3)
    check.gradients(lambda x, w, b: F.linear(x, w, b, activation=activation), x, w, b)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_does_not_depend_on_the_others(activation, threads):
    random = np.random.default_rng(6)
    x, w, b = (lc.from_numpy(random.standard_normal(s, np.float32)) for s in ((90, 500), (47, 500), (47,)))
    y = F.linear(x, w, b, activation=activation)
    for first, rows in ((0, 1), (5, 4), (20, 17), (8, 80)):
        check.same_bits(F.linear(x[first : first + rows], w, b, activation=activation), y[first : first + rows])


@pytest.mark.parametrize("threads_first, threads_then", [(1, 2), (1, 8)])
def test_gradients_have_the_same_bits_on_any_number_of_threads(threads_first, threads_then):
    random = np.random.default_rng(7)
    values = [random.standard_normal(s, np.float32) for s in ((700, 130), (210, 130), (210,), (700, 210))]

    def run(threads):
        lc.set_num_threads(threads)
        x, w, b = (lc.from_numpy(v).requires_grad_() for v in values[:3])
        F.linear(x, w, b, activation="gelu").backward(lc.from_numpy(values[3]))
        return x.grad, w.grad, b.grad

    for one, many in zip(run(threads_first), run(threads_then), strict=True):
        check.same_bits(many, one)


@pytest.mark.parametrize(
    "x, w, b, text",
    [
        ((2, 3), (4, 5), None, "input has 3 features, weight takes 5"),
        ((2, 3), (4, 3), (3,), r"bias must be \[4\]"),
        ((2, 3), (3,), None, "linear: wants"),
    ],
)
def test_wrong_shapes_are_refused(x, w, b, text):
    with pytest.raises(ValueError, match=text):
        F.linear(lc.ones(*x), lc.ones(*w), None if b is None else lc.ones(*b))


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="no activation 'swish'; there are none, relu"):
        F.linear(lc.ones(2, 3), lc.ones(4, 3), activation="swish")


def test_residual_and_feed_forward_are_their_parts():
    x, w1, b1, w2, b2, r = (
        lc.randn(*s, requires_grad=True) for s in ((3, 5, 7), (9, 7), (9,), (4, 9), (4,), (3, 5, 4))
    )
    h = lc._core.linear(x, w1, b1, activation="gelu")
    want = r + lc._core.linear(h, w2, b2)
    assert lc.equal(lc._core.linear(h, w2, b2, residual=r), want)
    assert lc.equal(lc._core.linear(h, w2, b2, residual=r[:1, :1]), r[:1, :1] + lc._core.linear(h, w2, b2))  # broadcast
    leaves = [x, w1, b1, w2, b2, r]
    y = lc._core.feed_forward(x, w1, w2, b1, b2, activation="gelu", residual=r)
    assert lc.equal(y, want)
    for a, b in zip(*(lc.autograd.grad(v.square().sum(), leaves) for v in (y, want)), strict=True):
        assert lc.equal(a, b)
    with pytest.raises(ValueError, match="a residual goes with no activation, got 'relu'"):
        lc._core.linear(x, w1, activation="relu", residual=r)
