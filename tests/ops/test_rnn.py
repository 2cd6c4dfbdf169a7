"""rnn, gru and lstm layers: against the step-by-step reference, by differences, and their edges."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.rnn import gru_forward, lstm_forward, rnn_forward

import littlecore as lc
from littlecore import _core

KINDS = {"rnn": (1, 1), "rnn_relu": (1, 1), "gru": (3, 1), "lstm": (4, 2), "projected": (4, 2)}  # gates, states
PROJECTED = 3  # width of h where an lstm's is projected


def run(kind, x, states, weights, reverse=False):
    if kind == "projected":
        *weights, projection = weights
        return _core.lstm_layer(x, *states, *weights, weight_hr=projection, reverse=reverse)
    if kind == "lstm":
        return _core.lstm_layer(x, *states, *weights, reverse=reverse)
    if kind == "gru":
        return _core.gru_layer(x, *states, *weights, reverse=reverse)
    return _core.rnn_layer(x, *states, *weights, nonlinearity="relu" if kind == "rnn_relu" else "tanh", reverse=reverse)


def reference(kind, x, states, weights, reverse=False):
    x = x[::-1] if reverse else x
    if kind == "projected":
        *weights, projection = weights
        y, *last = lstm_forward(x, *states, *weights, w_hr=projection)
    elif kind == "lstm":
        y, *last = lstm_forward(x, *states, *weights)
    elif kind == "gru":
        y, *last = gru_forward(x, *states, *weights)
    else:
        y, *last = rnn_forward(x, *states, *weights, nonlinearity="relu" if kind == "rnn_relu" else "tanh")
    return [y[::-1] if reverse else y, *last]


def shapes(kind, steps, batch, inputs, hidden, bias=True):
    gates, states = KINDS[kind]
    biases = [(gates * hidden,)] * 2 if bias else []
    out = PROJECTED if kind == "projected" else hidden
    return (
        (steps, batch, inputs),
        [(batch, out), (batch, hidden)][:states],
        [(gates * hidden, inputs), (gates * hidden, out), *biases, *([(out, hidden)] if kind == "projected" else [])],
    )


@cases(300)
def test_forward(case: Case):
    kind, reverse = case.pick("kind", tuple(KINDS)), case.pick("reverse", (False, True))
    steps, batch = case.size("steps", low=1, high=12), case.size("batch", low=1, high=33)
    inputs, hidden = case.size("in", high=33), case.size("hidden", low=1, high=65)
    x_shape, state_shapes, weight_shapes = shapes(kind, steps, batch, inputs, hidden, case.pick("bias", (True, False)))
    x = case.tensor("x", x_shape)
    states = [case.tensor(f"state{i}", s) for i, s in enumerate(state_shapes)]
    weights = [case.tensor(f"weight{i}", s, "uniform") for i, s in enumerate(weight_shapes)]
    if kind == "rnn_relu":
        weights = [w * 0.1 for w in weights]  # without saturation errors grow with the products of the weights

    got = run(kind, x, states, weights, reverse)

    exact = [check.wide(x), [check.wide(s) for s in states], [check.wide(w) for w in weights]]
    narrow = np.dtype(case.dtype)
    naive = [exact[0].astype(narrow), [s.astype(narrow) for s in exact[1]], [w.astype(narrow) for w in exact[2]]]
    want, approximate = reference(kind, *exact, reverse), reference(kind, *naive, reverse)
    for y, expected, rough in zip(got, want, approximate, strict=True):
        check.no_worse(y, expected, rough, factor=8)
    return got


@pytest.mark.parametrize("steps, bias", [(3, True), (3, False), (9, True)])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "projected"])
def test_gradients(kind, reverse, steps, bias):
    random = np.random.default_rng(0)
    x_shape, state_shapes, weight_shapes = shapes(kind, steps, 2, 3, 2, bias)
    values = [random.standard_normal(s) for s in (x_shape, *state_shapes, *weight_shapes)]
    n = len(state_shapes)
    for output in range(n + 1):

        def call(x, *rest, output=output):
            return run(kind, x, rest[:n], rest[n:], reverse)[output]

        check.gradients(call, *values)


@pytest.mark.parametrize("kind", ["lstm", "projected"])
def test_gradients_of_all_outputs_together(kind):
    random = np.random.default_rng(1)
    x_shape, state_shapes, weight_shapes = shapes(kind, 4, 3, 2, 3)
    values = [random.standard_normal(s) for s in (x_shape, *state_shapes, *weight_shapes)]

    def call(x, h, c, *weights):
        y, h_n, c_n = run(kind, x, (h, c), weights)
        return lc.cat([y.reshape(-1), h_n.reshape(-1), c_n.reshape(-1)])

    check.gradients(call, *values)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_does_not_depend_on_its_batch(kind, threads):
    random = np.random.default_rng(2)
    x_shape, state_shapes, weight_shapes = shapes(kind, 9, 37, 20, 64)
    make = [
        lc.from_numpy(random.standard_normal(s).astype(np.float32)) * 0.2
        for s in (x_shape, *state_shapes, *weight_shapes)
    ]
    n = len(state_shapes)
    x, states, weights = make[0], make[1 : n + 1], make[n + 1 :]
    whole = run(kind, x, states, weights)
    part = run(kind, x[:, 11:12], [s[11:12] for s in states], weights)
    check.same_bits(part[0], whole[0][:, 11:12].contiguous())
    check.same_bits(part[1], whole[1][11:12].contiguous())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "steps, batch, hidden", [(6, 3, 5), (20, 1, 64), (20, 3, 64), (20, 7, 64), (20, 33, 64), (10, 4, 1100)]
)
@pytest.mark.parametrize("kind", KINDS)
def test_the_last_state_carries_on(kind, steps, batch, hidden, dtype):
    """20 steps of 64 units read a copy of the weights, in panels; the first 2 of them do not."""
    random = np.random.default_rng(3)
    x_shape, state_shapes, weight_shapes = shapes(kind, steps, batch, 4, hidden)
    make = [
        lc.from_numpy(random.standard_normal(s).astype(dtype)) * 0.3 for s in (x_shape, *state_shapes, *weight_shapes)
    ]
    n = len(state_shapes)
    x, states, weights = make[0], make[1 : n + 1], make[n + 1 :]
    whole = run(kind, x, states, weights)
    first = run(kind, x[:2], states, weights)
    second = run(kind, x[2:], first[1:], weights)
    check.same_bits(second[0], whole[0][2:])
    check.same_bits(second[1], whole[1])


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("batch, hidden", [(1, 70), (3, 65), (33, 64), (4, 1100)])
@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm"])
def test_gradients_through_many_steps_are_those_through_few(kind, batch, hidden, reverse, threads):
    """10 steps read a copy of the weights, twice 5 do not."""
    random = np.random.default_rng(4)
    x_shape, state_shapes, weight_shapes = shapes(kind, 10, batch, 4, hidden)
    arrays = [random.standard_normal(s).astype(np.float32) * 0.2 for s in (x_shape, *state_shapes, *weight_shapes)]
    dy = lc.from_numpy(random.standard_normal((10, batch, hidden)).astype(np.float32))
    n, found = len(state_shapes), []
    for parts in ([slice(0, 10)], [slice(5, 10), slice(0, 5)] if reverse else [slice(0, 5), slice(5, 10)]):
        x, *rest = (lc.from_numpy(a).requires_grad_() for a in arrays)
        states, weights, outputs = rest[:n], rest[n:], []
        for part in parts:
            y, *states = run(kind, x[part], states, weights, reverse)
            outputs.append((y * dy[part]).sum())
        sum(outputs[1:], outputs[0]).backward()
        found.append([x.grad, *(state.grad for state in rest[:n])])
    for many, few in zip(*found, strict=True):
        check.same_bits(many, few)


@pytest.mark.vacuous
@pytest.mark.parametrize("kind", KINDS)
def test_no_steps(kind):
    x_shape, state_shapes, weight_shapes = shapes(kind, 0, 2, 3, 4)
    x, states, weights = lc.ones(*x_shape), [lc.ones(*s) for s in state_shapes], [lc.ones(*s) for s in weight_shapes]
    leaf = weights[0].requires_grad_()
    y, h_n = run(kind, x, states, weights)[:2]
    width = state_shapes[0][1]
    assert tuple(y.shape) == (0, 2, width)
    check.equal(h_n, np.ones((2, width)))
    y.sum().backward()
    check.equal(leaf.grad, np.zeros(leaf.shape))


@pytest.mark.parametrize(
    "change, text",
    [
        ({0: (3, 4)}, "input must be"),
        ({1: (2, 9)}, "a state is"),
        ({3: (16, 5)}, "lstm: weight_ih is"),
        ({5: (15,)}, "a bias is"),
        ({7: (3, 5)}, "lstm: weight_ih is"),
        ({7: (2, 4)}, "lstm: weight_hh is"),
    ],
)
def test_wrong_shapes_are_refused(change, text):
    x_shape, state_shapes, weight_shapes = shapes("projected" if 7 in change else "lstm", 3, 2, 3, 4)
    given = [change.get(i, s) for i, s in enumerate((x_shape, *state_shapes, *weight_shapes))]
    with pytest.raises(ValueError, match=text):
        _core.lstm_layer(*[lc.ones(*s) for s in given])
