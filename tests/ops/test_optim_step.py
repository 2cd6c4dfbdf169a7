"""optim_step: one step against the formula, over lists of tensors of every shape, type and layout."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference import optim_step as reference

import littlecore as lc
from littlecore import _core

ZEROS = {"float64": np.float64}


def parameters(case: Case, dtype: str, state: int):
    """A list of parameters with gradients, and per state slot a list of tensors of the accumulating type."""
    count = case.pick("count", (1, 2, 3))
    params, states = [], [[] for _ in range(state)]
    for i in range(count):
        shape = case.shape(f"p{i}", limit=40000)
        p = case.tensor(f"p{i}.layout", shape, dtype=dtype).detach()
        if p.numel() <= 1 or any(s == 0 and n > 1 for s, n in zip(p.stride(), shape, strict=True)):
            p = p.clone()  # neither a broadcast tensor nor a literal can be written
        p.requires_grad_()
        p.grad = case.tensor(f"g{i}", shape, ("normal", "uniform"), dtype=dtype)
        params.append(p)
        for slot in states:
            values = np.abs(case.random(f"s{i}{len(slot)}").standard_normal(shape))
            slot.append(lc.from_numpy(np.array(values, ZEROS.get(dtype, np.float32))))
    return params, states


def steps(count, t):
    return lc.from_numpy(np.full(count, t - 1, np.float32))


@cases(250)
def test_sgd(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS)
    momentum, decay = case.pick("momentum", (0.0, 0.9)), case.pick("decay", (0.0, 0.1))
    nesterov, maximize = case.pick("nesterov", (False, True)) and momentum > 0, case.pick("maximize", (False, True))
    dampening, t = 0.0 if nesterov else case.pick("dampening", (0.0, 0.5)), case.pick("t", (1, 2))
    params, (buffers,) = parameters(case, dtype, 1)
    before = [[check.wide(x) + 0.0 for x in (p, p.grad, b)] for p, b in zip(params, buffers, strict=True)]
    versions = [p._version for p in params]

    assert _core.sgd_step(
        params, [], steps(len(params), t), buffers, 0.1, momentum, dampening, decay, nesterov, maximize
    )

    for p, b, old, version in zip(params, buffers, before, versions, strict=True):
        want, buffer = reference.sgd(*old, 0.1, momentum, dampening, decay, nesterov, maximize, t == 1)
        size = np.abs(old[0]) + np.abs(old[1]) + np.abs(old[2])
        check.bounded(p, want, size, 8)
        check.bounded(b, buffer, size, 8)
        assert p._version > version
    return tuple(params)


@cases(250)
def test_adam(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS)
    decay, decoupled, maximize = (
        case.pick(k, v) for k, v in (("decay", (0.0, 0.1)), ("w", (False, True)), ("max", (False, True)))
    )
    t, lr, eps = case.pick("t", (1, 2, 1000)), 0.01, 1e-8
    params, (m, v) = parameters(case, dtype, 2)
    before = [[check.wide(x) + 0.0 for x in (p, p.grad, *s)] for p, *s in zip(params, m, v, strict=True)]

    assert _core.adam_step(
        params, [], steps(len(params), t), m, v, [], lr, 0.9, 0.99, eps, decay, False, decoupled, maximize
    )

    for p, a, b, old in zip(params, m, v, before, strict=True):
        want, first, second = reference.adam(*old, t, lr, 0.9, 0.99, eps, decay, decoupled, maximize)
        scale = lr / (1 - 0.9**t) / (np.sqrt(second / (1 - 0.99**t)) + eps)
        moment = np.abs(old[2]) + np.abs(old[1]) + decay * np.abs(old[0])
        check.bounded(a, first, moment, 8)
        check.bounded(b, second, second + old[1] ** 2 + decay * old[0] ** 2, 16)
        check.bounded(p, want, np.abs(old[0]) + scale * moment, 16)
    return tuple(params)


@cases(150)
def test_rmsprop(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS)
    decay, momentum = case.pick("decay", (0.0, 0.1)), case.pick("momentum", (0.0, 0.9))
    params, (v, b) = parameters(case, dtype, 2)
    before = [[check.wide(x) + 0.0 for x in (p, p.grad, *s)] for p, *s in zip(params, v, b, strict=True)]

    assert _core.rmsprop_step(
        params, [], steps(len(params), 1), v, b, [], 0.01, 0.9, 1e-8, decay, momentum, False, False
    )

    for p, square, old in zip(params, v, before, strict=True):
        want, second, _ = reference.rmsprop(*old, 0.01, 0.9, 1e-8, decay, momentum)
        size = np.abs(old[3]) + (np.abs(old[1]) + decay * np.abs(old[0])) / np.sqrt(second)
        check.bounded(square, second, second + old[1] ** 2 + decay * old[0] ** 2, 16)
        check.bounded(p, want, np.abs(old[0]) + size, 16)
    return tuple(params)


@cases(200)
def test_norm_and_clipping(case: Case):
    dtype, order = case.draw_dtype(*STORED_FLOATS), case.pick("order", (2.0, 1.0, np.inf))
    params, _ = parameters(case, dtype, 0)
    grads = [p.grad.clone() for p in params]
    before = [check.wide(g) + 0.0 for g in grads]

    norm = _core.total_norm(grads, order)

    want = reference.total_norm(before, order)
    check.contraction(norm, np.asarray(want), np.asarray(want), 2048)
    limit = case.pick("limit", (0.5, 1e9)) * float(norm.item())
    _core.clip_by_norm_(grads, norm, limit)
    factor = min(1.0, limit / (norm.item() + 1e-6))
    for g, old in zip(grads, before, strict=True):
        check.bounded(g, old * factor, np.abs(old), 8)
    return (norm, *grads)


def test_a_missing_gradient_leaves_everything_alone():
    params = [lc.ones(3).requires_grad_() for _ in range(2)]
    params[1].grad = lc.ones(3)
    m, v, count = [lc.zeros(3) for _ in range(2)], [lc.zeros(3) for _ in range(2)], lc.zeros(2)
    assert _core.adam_step(params, [], count, m, v, [], 0.1, 0.9, 0.99, 1e-8, 0.1, False, True, False)
    assert params[0].tolist() == [1, 1, 1] and count.tolist() == [0, 1]
    assert params[1].tolist() != [1, 1, 1]


def test_a_missing_state_does_nothing_and_says_so():
    params = [lc.ones(3).requires_grad_() for _ in range(2)]
    for p in params:
        p.grad = lc.ones(3)
    count = lc.zeros(2)
    assert not _core.sgd_step(params, [], count, [lc.zeros(3), None], 0.1, 0.9, 0.0, 0.0, False, False)
    assert not _core.sgd_step(params, [], count, [], 0.1, 0.9, 0.0, 0.0, False, False)
    assert all(p.tolist() == [1, 1, 1] for p in params) and count.tolist() == [0, 0]


def test_saved_tensors_notice_the_step():
    x, w = lc.ones(3), lc.ones(3).requires_grad_()
    y = (w * w * x).sum()
    w.grad = lc.ones(3)
    _core.sgd_step([w], [], lc.zeros(1), [], 0.1, 0.0, 0.0, 0.0, False, False)
    with pytest.raises(RuntimeError, match="modified"):
        y.backward()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_norm_that_is_not_finite_shows(value):
    grads = [lc.ones(5), lc.tensor([1.0, value, 3.0])]
    for order in (1.0, 2.0, np.inf):
        assert not np.isfinite(_core.total_norm(grads, order).item())
    _core.clip_by_norm_(grads, _core.total_norm([lc.tensor([np.nan])]), 1.0)
    assert np.all(np.isnan(grads[0].numpy()))


def test_wrong_arguments_are_refused():
    p = lc.ones(3).requires_grad_()
    p.grad = lc.ones(3)
    with pytest.raises(ValueError, match=r"adam_step.*state"):
        _core.adam_step(
            [p], [], lc.zeros(1), [lc.zeros(4)], [lc.zeros(3)], [], 0.1, 0.9, 0.99, 1e-8, 0.0, False, False, False
        )
    with pytest.raises(ValueError, match="steps"):
        _core.adam_step(
            [p], [], lc.zeros(2), [lc.zeros(3)], [lc.zeros(3)], [], 0.1, 0.9, 0.99, 1e-8, 0.0, False, False, False
        )
    with pytest.raises(ValueError, match="order"):
        _core.total_norm([p.grad], 3.0)
    with pytest.raises(RuntimeError, match="total_norm"):
        _core.total_norm([p])
