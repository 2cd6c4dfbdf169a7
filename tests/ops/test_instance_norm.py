"""instance_norm: with the input's statistics, moving the running ones, and with the running ones alone."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.batch_norm import batch_norm_forward, moved, per_channel
from reference.group_norm import normal_size
from reference.instance_norm import (
    instance_norm_backward,
    instance_norm_backward_size,
    instance_norm_forward,
    sample_statistics,
)

import littlecore as lc
import littlecore.nn.functional as F


def draw(case: Case, values, grad=False):
    shape = (
        case.size("n", low=1, high=17),
        case.size("c", low=1, high=17),
        *case.pick("inner", ((3,), (5, 7), (16, 16), (67,))),
    )
    x = case.tensor("x", shape, values, grad=grad)
    return x, *(case.tensor(k, shape[1:2], grad=grad) for k in "wb")


@cases(150)
def test_forward(case: Case):
    x, w, b = draw(case, ("normal", "shifted", "special"))
    mean, var = case.tensor("mean", w.shape).clone(), case.tensor("var", w.shape, "positive").clone()
    old = [check.wide(mean), check.wide(var)]

    y = F.instance_norm(x, mean, var, w, b, momentum=0.3)

    x, w, b = (check.wide(v) for v in (x, w, b))
    with np.errstate(invalid="ignore"):
        size = normal_size(x, x.shape[1]) * np.abs(per_channel(w, x)) + np.abs(per_channel(b, x))
        check.bounded(y, instance_norm_forward(x, w, b), size, 8)
        m, v = sample_statistics(x)
        check.bounded(mean, moved(old[0], m, 0.3), np.abs(old[0]) + np.abs(x).max(axis=(0, *range(2, x.ndim))), 8)
        check.bounded(var, moved(old[1], v, 0.3), np.abs(old[1]) + v, 8)
    return y, mean, var


@cases(100)
def test_running_statistics_alone(case: Case):
    x, w, b = draw(case, "normal")
    mean, var = case.tensor("mean", w.shape), case.tensor("var", w.shape, "positive")
    y = F.instance_norm(x, mean, var, w, b, use_input_stats=False)
    x, w, b, mean, var = (check.wide(v) for v in (x, w, b, mean, var))
    mean, var = per_channel(mean, x), per_channel(var, x)
    want = batch_norm_forward(x, mean, var, w, b)
    check.bounded(y, want, (np.abs(x) + np.abs(mean)) / np.sqrt(var) * np.abs(per_channel(w, x)) + np.abs(want), 8)
    return y


@cases(100)
def test_backward(case: Case):
    x, w, b = draw(case, "normal", grad=True)
    dy = case.tensor("dy", tuple(x.shape))
    F.instance_norm(x, weight=w, bias=b).backward(dy)
    exact = [check.wide(v) for v in (dy, x, w)]
    wanted, sizes = instance_norm_backward(*exact), instance_norm_backward_size(*exact)
    for t, want, size in zip((x, w, b), wanted, sizes, strict=True):
        check.bounded(t.grad, want, size, 8 + np.sqrt(exact[0].size))
    return x.grad, w.grad, b.grad


def test_gradients():
    random = np.random.default_rng(1)
    x, w, b = random.standard_normal((2, 3, 5)), random.standard_normal(3), random.standard_normal(3)
    check.gradients(lambda x, w, b: F.instance_norm(x, weight=w, bias=b), x, w, b)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="instance_norm"):
        F.instance_norm(lc.zeros(2, 3))
    with pytest.raises(ValueError, match="instance_norm"):
        F.instance_norm(lc.zeros(2, 3, 1))
    with pytest.raises(ValueError, match="instance_norm"):
        F.instance_norm(lc.zeros(2, 3, 4), use_input_stats=False)
