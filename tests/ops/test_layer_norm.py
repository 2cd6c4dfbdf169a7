"""layer_norm: generated shapes, layouts and values; the model the other op tests follow."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.layer_norm import centred, layer_norm_backward, layer_norm_backward_size, layer_norm_forward, statistics

import littlecore as lc
import littlecore.nn.functional as F

EPS = (1e-5, 1e-12, 0.1)


@cases(400)
def test_forward(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS)
    rows, cols, eps = case.size("rows"), case.size("cols", low=1), case.pick("eps", EPS)
    kinds = (
        ("normal", "positive", "shifted", "constant", "special")
        if dtype in ("float32", "float64")
        else ("normal", "special")
    )
    x = case.tensor("x", (rows, cols), kinds)
    w, b = case.tensor("w", (cols,)), case.tensor("b", (cols,))

    y = F.layer_norm(x, (cols,), w, b, eps)

    x, w, b = check.wide(x), check.wide(w), check.wide(b)
    with np.errstate(invalid="ignore"):
        x = centred(x)
        mean, rstd = statistics(x, eps)
        normal_size = np.abs((x - mean) * rstd) + 1  # no mean / std in the bound: the statistics must be exact enough
        check.bounded(y, layer_norm_forward(x, w, b, eps), np.abs(w) * normal_size + np.abs(b), 8)
    return y


@cases(400)
def test_backward(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    rows, cols, eps = case.size("rows"), case.size("cols", low=1), case.pick("eps", EPS)
    x = case.tensor("x", (rows, cols), ("normal", "positive", "uniform"), grad=True)
    w, b = case.tensor("w", (cols,), grad=True), case.tensor("b", (cols,), grad=True)
    dy = case.tensor("dy", (rows, cols))

    F.layer_norm(x, (cols,), w, b, eps).backward(dy)

    exact = [check.wide(t) for t in (dy, x, w)]
    wanted, sizes = layer_norm_backward(*exact, eps), layer_norm_backward_size(*exact, eps)
    for got, want, size in zip((x.grad, w.grad, b.grad), wanted, sizes, strict=True):
        check.bounded(got, want, size, 8 + np.sqrt(max(rows, cols)))
    return x.grad, w.grad, b.grad


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4), (1, 9), (4, 2), (2, 33)])
def test_gradients(shape):
    random = np.random.default_rng(len(shape))
    x, w, b = random.standard_normal(shape), random.standard_normal(shape[-1]), random.standard_normal(shape[-1])
    check.gradients(lambda x, w, b: F.layer_norm(x, shape[-1:], w, b), x, w, b)


def test_one_row_does_not_depend_on_the_others():
    x = lc.from_numpy(np.random.default_rng(0).standard_normal((9, 77)).astype(np.float32))
    y = F.layer_norm(x, (77,))
    for i in range(9):
        check.same_bits(F.layer_norm(x[i : i + 1], (77,)), y[i : i + 1])


def test_normalized_shape_of_several_axes():
    x = np.random.default_rng(1).standard_normal((3, 4, 5))
    y = F.layer_norm(lc.from_numpy(x), (4, 5))
    check.bounded(y, layer_norm_forward(x.reshape(3, 20)).reshape(3, 4, 5), np.abs(x) + 1, 8)


@pytest.mark.parametrize("shape, weight", [((4,), None), ((2, 5), None), ((5,), (4,))])
def test_wrong_shapes_are_refused(shape, weight):
    with pytest.raises((ValueError, RuntimeError), match="layer_norm"):
        F.layer_norm(lc.zeros(3, 5), shape, None if weight is None else lc.ones(*weight))


@pytest.mark.parametrize("with_residual", [True, False])
def test_a_sum_and_its_norm_are_their_parts(with_residual):
    x, r, w, b = (lc.randn(*s, requires_grad=True) for s in ((3, 5, 7), (3, 5, 7), (7,), (7,)))
    s, y = lc._core.add_layer_norm(x, (7,), w, b, r if with_residual else None)
    t, z = lc._core.add_rms_norm(x, (7,), w, r if with_residual else None)
    total = x + r if with_residual else x
    assert lc.equal(s, total) and lc.equal(y, F.layer_norm(total, (7,), w, b))
    assert lc.equal(t, total) and lc.equal(z, F.rms_norm(total, (7,), w))
