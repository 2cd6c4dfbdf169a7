"""rms_norm: rows of every length, with and without weight, in every storage type."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.rms_norm import rms_norm_backward, rms_norm_backward_size, rms_norm_forward

import littlecore as lc
import littlecore.nn.functional as F

EPS = (1e-5, 1e-12, 0.1)


@cases(400)
def test_forward(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    rows, cols, eps = case.size("rows"), case.size("cols", low=1), case.pick("eps", EPS)
    x = case.tensor("x", (rows, cols), ("normal", "positive", "constant", "special"))
    w = case.tensor("w", (cols,)) if case.pick("weighted", (False, True)) else None

    y = F.rms_norm(x, (cols,), w, eps)

    with np.errstate(invalid="ignore"):
        want = rms_norm_forward(check.wide(x), 1 if w is None else check.wide(w), eps)
    check.bounded(y, want, np.abs(want), 8)
    return y


@cases(400)
def test_backward(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    rows, cols, eps = case.size("rows"), case.size("cols", low=1), case.pick("eps", EPS)
    x, dy = (
        case.tensor("x", (rows, cols), ("normal", "positive", "uniform"), grad=True),
        case.tensor("dy", (rows, cols)),
    )
    w = case.tensor("w", (cols,), grad=True) if case.pick("weighted", (False, True)) else None

    F.rms_norm(x, (cols,), w, eps).backward(dy)

    exact = [check.wide(t) for t in (dy, x)] + [np.ones(cols) if w is None else check.wide(w)]
    want, size = rms_norm_backward(*exact, eps), rms_norm_backward_size(*exact, eps)
    factor = 8 + np.sqrt(max(rows, cols))
    check.bounded(x.grad, want[0], size[0], factor)
    if w is not None:
        check.bounded(w.grad, want[1], size[1], factor)
        return x.grad, w.grad
    return x.grad


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 4), (1, 9), (2, 33)])
def test_gradients(shape):
    random = np.random.default_rng(len(shape))
    x, w = random.standard_normal(shape), random.standard_normal(shape[-1])
    check.gradients(lambda x, w: F.rms_norm(x, shape[-1:], w, 1e-5), x, w)
    check.gradients(lambda x: F.rms_norm(x, shape[-1:], None, 1e-5), x)


def test_default_eps_is_the_spacing_at_one():
    x = np.full((1, 3), 1e-3, np.float32)
    check.bounded(F.rms_norm(lc.from_numpy(x), (3,)), rms_norm_forward(x.astype(float), 1, 2.0**-23), 1, 8)


def test_one_row_does_not_depend_on_the_others():
    x = lc.from_numpy(np.random.default_rng(0).standard_normal((9, 77)).astype(np.float32))
    y = F.rms_norm(x, (77,))
    for i in range(9):
        check.same_bits(F.rms_norm(x[i : i + 1], (77,)), y[i : i + 1])


@pytest.mark.parametrize("shape, weight", [((4,), None), ((2, 5), None), ((5,), (4,))])
def test_wrong_shapes_are_refused(shape, weight):
    with pytest.raises(ValueError, match="rms_norm"):
        F.rms_norm(lc.zeros(3, 5), shape, None if weight is None else lc.ones(*weight))
