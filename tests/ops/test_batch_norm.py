"""batch_norm: n and c alone, and with axes behind; training with running statistics, and evaluation."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.batch_norm import (
    batch_norm_backward,
    batch_norm_backward_size,
    batch_norm_forward,
    centred,
    moved,
    per_channel,
    statistics,
)

import littlecore as lc
import littlecore.nn.functional as F

INNER = ((), (1,), (3,), (5, 7), (16, 16), (67,))


def draw(case: Case, values, grad=False):
    n, c, inner = case.size("n", low=2, high=65), case.size("c", low=1, high=97), case.pick("inner", INNER)
    x = case.tensor("x", (n, c, *inner), values, grad=grad)
    w, b = (case.tensor(k, (c,), grad=grad) if case.pick(k + "?", (True, False)) else None for k in "wb")
    return x, w, b, case.tensor("mean", (c,)), case.tensor("var", (c,), "positive")


@cases(300)
def test_training(case: Case):
    x, w, b, mean, var = draw(case, ("normal", "positive", "shifted", "constant", "special"))
    momentum, eps = case.pick("momentum", (0.1, 1.0, 0.37)), case.pick("eps", (1e-5, 0.1))
    old = [check.wide(mean), check.wide(var)]
    mean, var = mean.clone(), var.clone()

    y = F.batch_norm(x, mean, var, w, b, True, momentum, eps)

    x, w, b = check.wide(x), 1 if w is None else check.wide(w), 0 if b is None else check.wide(b)
    count = x.size // x.shape[1]
    with np.errstate(invalid="ignore"):
        moved_x, start = centred(x)
        m, v = statistics(moved_x)
        want = batch_norm_forward(moved_x, m, v, w, b, eps)
        size = (np.abs((moved_x - m) / np.sqrt(v + eps)) + 1) * np.abs(per_channel(w, x)) + np.abs(per_channel(b, x))
        m = (m + start).ravel()
        v = v.ravel() * count / (count - 1)
    factor = 8 + np.sqrt(count) / 4
    check.bounded(y, want, size, factor)
    check.bounded(mean, moved(old[0], m, momentum), np.abs(old[0]) + np.abs(m) + np.sqrt(v), factor)
    check.bounded(var, moved(old[1], v, momentum), np.abs(old[1]) + v, factor)
    return y, mean, var


@cases(150)
def test_evaluation(case: Case):
    x, w, b, mean, var = draw(case, ("normal", "special"))
    y = F.batch_norm(x, mean, var, w, b)
    x, mean, var, w, b = (check.wide(v) for v in (x, mean, var, w, b))
    shape = (1, -1, *[1] * (x.ndim - 2))
    arguments = mean.reshape(shape), var.reshape(shape), 1 if w is None else w, 0 if b is None else b
    with np.errstate(invalid="ignore"):
        want = batch_norm_forward(x, *arguments)
        size = (
            (np.abs(x) + np.abs(arguments[0]))
            / np.sqrt(arguments[1] + 1e-5)
            * np.abs(arguments[2] if w is None else w.reshape(shape))
        )
    check.bounded(y, want, size + np.abs(want), 8)
    return y


@cases(300)
def test_backward(case: Case):
    x, w, b, mean, var = draw(case, ("normal", "positive", "uniform"), grad=True)
    training = case.pick("training", (True, False))
    dy = case.tensor("dy", tuple(x.shape))
    running = [check.wide(mean), check.wide(var)]

    F.batch_norm(x, mean.clone(), var.clone(), w, b, training).backward(dy)

    exact = [check.wide(dy), check.wide(x)]
    shape = (1, -1, *[1] * (x.ndim - 2))
    m, v = statistics(exact[1]) if training else (r.reshape(shape) for r in running)
    arguments = (*exact, m, v, 1 if w is None else check.wide(w), 1e-5, training)
    wanted, sizes, results = batch_norm_backward(*arguments), batch_norm_backward_size(*arguments), []
    for t, want, size in zip((x, w, b), wanted, sizes, strict=True):
        if t is not None:
            check.bounded(t.grad, want, size, 8 + np.sqrt(exact[1].size // exact[1].shape[1]))
            results.append(t.grad)
    return results


@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 5), (2, 3, 2, 4)])
@pytest.mark.parametrize("training", [True, False])
def test_gradients(shape, training):
    random = np.random.default_rng(len(shape))
    x, w, b = random.standard_normal(shape), random.standard_normal(shape[1]), random.standard_normal(shape[1])
    mean, var = random.standard_normal(shape[1]), random.uniform(0.5, 2, shape[1])
    check.gradients(lambda x, w, b: F.batch_norm(x, lc.from_numpy(mean), lc.from_numpy(var), w, b, training), x, w, b)


@pytest.mark.parametrize("shape", [(3, 2, 40000), (1000, 3), (5, 2, 17, 1000)])
def test_statistics_of_many_chunks(shape):
    x = (np.random.default_rng(5).standard_normal(shape) + 1e4).astype(np.float32)
    y = F.batch_norm(lc.from_numpy(x), None, None, training=True)
    wide, _ = centred(x.astype(float))
    m, v = statistics(wide)
    check.bounded(y, batch_norm_forward(wide, m, v), np.abs((wide - m) / np.sqrt(v)) + 1, 8)


def test_wrong_arguments_are_refused():
    x, three = lc.zeros(2, 3, 4), lc.ones(3)
    for arguments in [
        (x, None, None),
        (x, three, None),
        (x, lc.ones(4), lc.ones(4)),
        (x, three, three, lc.ones(4)),
        (lc.ones(3), three, three),
    ]:
        with pytest.raises(ValueError, match="batch_norm"):
            F.batch_norm(*arguments)
    with pytest.raises(ValueError, match="batch_norm: training needs more than one value"):
        F.batch_norm(lc.zeros(1, 3), None, None, training=True)
