"""group_norm: groups of any number of channels, with and without axes behind them."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.batch_norm import per_channel
from reference.group_norm import (
    group_norm_backward,
    group_norm_backward_size,
    group_norm_forward,
    normal_size,
)

import littlecore as lc
import littlecore.nn.functional as F

INNER = ((), (3,), (5, 7), (16, 16), (67,))


def draw(case: Case, values, grad=False):
    groups, each = case.pick("groups", (1, 2, 3, 8)), case.pick("each", (2, 4, 1, 9))
    shape = (case.size("n", high=17), groups * each, *case.pick("inner", INNER))
    x = case.tensor("x", shape, values, grad=grad)
    w, b = (case.tensor(k, shape[1:2], grad=grad) if case.pick(k + "?", (True, False)) else None for k in "wb")
    return x, groups, w, b


@cases(300)
def test_forward(case: Case):
    x, groups, w, b = draw(case, ("normal", "positive", "shifted", "constant", "special"))
    eps = case.pick("eps", (1e-5, 0.1))

    y = F.group_norm(x, groups, w, b, eps)

    x, w, b = check.wide(x), 1 if w is None else check.wide(w), 0 if b is None else check.wide(b)
    with np.errstate(invalid="ignore"):
        want = group_norm_forward(x, groups, w, b, eps)
        size = normal_size(x, groups, eps) * np.abs(per_channel(w, x)) + np.abs(per_channel(b, x))
    check.bounded(y, want, size, 8 + np.sqrt(x.size // max(1, x.shape[0] * groups)) / 4)
    return y


@cases(300)
def test_backward(case: Case):
    x, groups, w, b = draw(case, ("normal", "positive", "uniform"), grad=True)
    dy = case.tensor("dy", tuple(x.shape))

    F.group_norm(x, groups, w, b).backward(dy)

    exact = [check.wide(dy), check.wide(x)]
    scale = np.ones(x.shape[1]) if w is None else check.wide(w)
    results, factor = [], 8 + np.sqrt(exact[0].size)
    wanted, sizes = group_norm_backward(*exact, groups, scale), group_norm_backward_size(*exact, groups, scale)
    for t, want, size in zip((x, w, b), wanted, sizes, strict=True):
        if t is not None:
            check.bounded(t.grad, want, size, factor)
            results.append(t.grad)
    return results


@pytest.mark.parametrize("shape, groups", [((3, 4), 2), ((2, 6, 3), 3), ((2, 3, 2, 2), 1), ((2, 3, 4), 3)])
def test_gradients(shape, groups):
    random = np.random.default_rng(len(shape))
    x, w, b = random.standard_normal(shape), random.standard_normal(shape[1]), random.standard_normal(shape[1])
    check.gradients(lambda x, w, b: F.group_norm(x, groups, w, b), x, w, b)


def test_one_sample_does_not_depend_on_the_others():
    x = lc.from_numpy(np.random.default_rng(0).standard_normal((5, 6, 11)).astype(np.float32))
    y = F.group_norm(x, 3)
    for i in range(5):
        check.same_bits(F.group_norm(x[i : i + 1], 3), y[i : i + 1])


def test_wrong_arguments_are_refused():
    x = lc.zeros(2, 6, 4)
    for arguments in [(x, 4), (x, 0), (x, 2, lc.ones(5)), (lc.zeros(3), 1)]:
        with pytest.raises(ValueError, match="group_norm"):
            F.group_norm(*arguments)
