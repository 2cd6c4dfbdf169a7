"""rotary_embedding: both ways to pair features, all of them or the first ones, in every storage type."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.rotary_embedding import angles, rotary_embedding_backward, rotary_embedding_forward

import littlecore as lc
from littlecore.nn import functional as F

FORMS = (False, True)


def tables(positions, pairs, dtype):
    table = np.float64 if dtype == "float64" else np.float32
    a = angles(positions, pairs)
    return lc.from_numpy(np.cos(a).astype(table)), lc.from_numpy(np.sin(a).astype(table))


@cases(300)
def test_forward_and_backward(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS)
    lead, positions = case.shape("lead", high=2, limit=64), case.size("positions", high=33)
    pairs, rest, interleaved = (
        case.size("pairs", low=1, high=65),
        case.pick("rest", (0, 1, 7, 16)),
        case.pick("form", FORMS),
    )
    x, dy = (case.tensor(n, (*lead, positions, 2 * pairs + rest), "normal", grad=n == "x") for n in ("x", "dy"))
    cos, sin = tables(positions, pairs, dtype)

    y = F.rotary_embedding(x, cos, sin, interleaved)
    y.backward(dy)

    x, dy, cos, sin, grad = check.wide(x), check.wide(dy), check.wide(cos), check.wide(sin), x.grad
    for got, want, source in (
        (y, rotary_embedding_forward(x, cos, sin, interleaved), x),
        (grad, rotary_embedding_backward(dy, cos, sin, interleaved), dy),
    ):
        size = [rotary_embedding_forward(np.abs(source), np.abs(cos), s * np.abs(sin), interleaved) for s in (1, -1)]
        check.bounded(got, want, np.maximum(*size), 4)
    return y, grad


@pytest.mark.parametrize("interleaved", FORMS)
def test_gradients(interleaved):
    x = np.random.default_rng(1).standard_normal((2, 3, 7))
    cos, sin = tables(3, 3, "float64")
    check.gradients(lambda x: F.rotary_embedding(x, cos, sin, interleaved), x)


@pytest.mark.vacuous  # one score for every pair of a distance
@pytest.mark.parametrize("interleaved", FORMS)
def test_products_depend_on_the_distance_alone(interleaved):
    random = np.random.default_rng(2)
    q, k = (np.broadcast_to(random.standard_normal(16), (40, 16)) for _ in range(2))
    cos, sin = tables(40, 8, "float64")
    q, k = (F.rotary_embedding(lc.from_numpy(t.copy()), cos, sin, interleaved).numpy() for t in (q, k))
    scores = q @ k.T
    for distance in (-20, -1, 0, 1, 20):
        along = np.diagonal(scores, distance)
        check.bounded(
            lc.from_numpy(along.copy()),
            np.full(along.shape, along[0]),
            16 * np.abs(q[0]).max() * np.abs(k[0]).max(),
            16,
        )


def test_wrong_arguments_are_refused():
    cos, sin = tables(3, 4, "float32")
    for x in (lc.zeros(8), lc.zeros(4, 8), lc.zeros(3, 7)):
        with pytest.raises(ValueError, match="rotary_embedding"):
            F.rotary_embedding(x, cos, sin)
    with pytest.raises(TypeError, match="rotary_embedding"):
        F.rotary_embedding(lc.from_numpy(np.zeros((3, 8))), cos, sin)
    with pytest.raises(RuntimeError, match="rotary_embedding: cos"):
        F.rotary_embedding(lc.zeros(3, 8), cos.requires_grad_(), sin)
