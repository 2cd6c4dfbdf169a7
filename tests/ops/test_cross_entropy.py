"""cross_entropy: class indices and probabilities, weights, smoothing, ignored rows, any number of axes."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.cross_entropy import cross_entropy, magnitude

import littlecore as lc
import littlecore.nn.functional as F


def draw(case: Case):
    """(x, target, keyword arguments, shape of the rows)"""
    rows = (case.size("rows", low=1, high=33), *case.pick("inner", ((), (5,), (3, 7), (70,))))
    classes = case.size("classes", low=2, high=257)
    x = case.tensor("x", (rows[0], classes, *rows[1:]), ("normal", "distinct", "shifted"), grad=True)
    indices = case.pick("target", ("indices", "probabilities")) == "indices"
    if indices:
        integer = case.pick("integer", ("int64", "int32", "uint8") if classes < 256 else ("int64", "int32"))
        target = case.integers("t", rows, 0, classes, integer)
    else:
        target = case.tensor("t", (rows[0], classes, *rows[1:]), "uniform", grad=True)
    options = {
        "weight": case.tensor("w", (classes,), "positive") if case.pick("weighted", (False, True)) else None,
        "reduction": case.pick("reduction", ("mean", "sum", "none")),
        "label_smoothing": case.pick("smoothing", (0.0, 0.1, 1.0)),
    }
    if indices and np.prod(rows) > 1 and case.pick("ignore", (False, True)):
        options["ignore_index"] = int(check.array(target).flat[0])
    return x, target, options, rows


@cases(600)
def test_loss_and_gradients(case: Case):
    x, target, options, rows = draw(case)
    dy = case.tensor("dy", rows if options["reduction"] == "none" else (), "normal")

    loss = F.cross_entropy(x, target, **options)
    loss.backward(dy)

    soft = check.array(target).dtype.kind == "f"
    weight = options.pop("weight")
    exact = [check.wide(v) for v in (x, target, weight, dy)]
    narrow = np.float64 if case.dtype == "float64" else np.float32
    naive = [v if v is None or v.dtype.kind != "f" else v.astype(narrow) for v in exact]
    with np.errstate(invalid="ignore", divide="ignore"):
        want, approximate = [cross_entropy(a, b, c, **options, dy=d) for a, b, c, d in (exact, naive)]
        size = magnitude(*exact[:3], **options)
    check.contraction(loss, np.asarray(want[0]), size, x.shape[1])
    check.no_worse(x.grad, want[1], approximate[1])
    if soft:
        check.no_worse(target.grad, want[2], approximate[2])
    return loss, x.grad


@pytest.mark.parametrize("inner", [(), (3,)])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients(inner, smoothing, reduction):
    random = np.random.default_rng(1)
    x, w = random.standard_normal((4, 3, *inner)), lc.from_numpy(random.uniform(0.5, 2, 3))
    t = random.integers(0, 3, (4, *inner))
    t.flat[1] = -100
    options = {"weight": w, "reduction": reduction, "label_smoothing": smoothing}
    check.gradients(lambda x: F.cross_entropy(x, lc.from_numpy(t), **options), x)
    q = random.uniform(0.1, 1, x.shape)
    check.gradients(lambda x, q: F.cross_entropy(x, q, **options), x, q)


def test_a_vector_is_one_row():
    x = np.random.default_rng(2).standard_normal(7).astype(np.float32)
    loss = F.cross_entropy(lc.from_numpy(x), lc.from_numpy(np.array(3)))
    want = cross_entropy(x.astype(float)[None], np.array([3]))[0]
    check.bounded(loss, np.asarray(want), 8, 4)


def test_masked_classes_do_not_count():
    """Logits of -inf: whole chunks of a large vocabulary, and the first of them."""
    x = np.random.default_rng(3).standard_normal((2, 6000)).astype(np.float32)
    x[:, :3000] = -np.inf
    x[:, 5000] = -np.inf
    t = np.array([3000, 5999])
    leaf = lc.from_numpy(x).requires_grad_()
    loss = F.cross_entropy(leaf, lc.from_numpy(t), reduction="none")
    loss.sum().backward()
    kept = np.concatenate([x[:, 3000:5000], x[:, 5001:]], 1).astype(float)
    want, dx, _ = cross_entropy(kept, np.array([0, 2998]), reduction="none")
    check.bounded(loss, want, np.abs(want) + 8, 8)
    assert not leaf.grad.numpy()[:, :3000].any() and not leaf.grad.numpy()[:, 5000].any()
    got = np.delete(leaf.grad.numpy(), 5000, 1)[:, 3000:]
    check.no_worse(got, dx, cross_entropy(kept.astype(np.float32), np.array([0, 2998]), reduction="none")[1])


def test_logits_that_rise_or_fall_along_a_large_vocabulary():
    x = np.random.default_rng(4).standard_normal((2, 9001)).astype(np.float32)
    x += np.float32([[30], [-30]]) * (np.arange(9001) // 1000)
    t = np.array([9000, 1])
    leaf = lc.from_numpy(x).requires_grad_()
    loss = F.cross_entropy(leaf, lc.from_numpy(t), reduction="none")
    loss.sum().backward()
    want, dx, _ = cross_entropy(x.astype(float), t, reduction="none")
    check.bounded(loss, want, np.abs(want) + 8, 8)
    check.no_worse(leaf.grad, dx, cross_entropy(x, t, reduction="none")[1])


@pytest.mark.parametrize("inner", [(), (3,)])
def test_a_wanted_class_that_cannot_be(inner):
    x = np.random.default_rng(5).standard_normal((2, 9, *inner)).astype(np.float32)
    x[0, 2] = -np.inf
    loss = F.cross_entropy(lc.from_numpy(x), lc.full(x.shape, 1 / 9), reduction="none").numpy()
    assert np.all(loss[0] == np.inf) and np.all(np.isfinite(loss[1]))


@pytest.mark.vacuous
def test_every_row_ignored():
    x, t = lc.zeros(3, 4), lc.from_numpy(np.full(3, -100))
    check.equal(F.cross_entropy(x, t), np.array(np.nan, np.float32))
    check.equal(F.cross_entropy(x, t, reduction="sum"), np.array(0, np.float32))


def test_retained_graph_gives_the_same_again():
    x = lc.from_numpy(np.random.default_rng(4).standard_normal((5, 11)).astype(np.float32)).requires_grad_()
    loss = F.cross_entropy(x, lc.from_numpy(np.arange(5)))
    first, second = (lc.autograd.grad(loss, [x], retain_graph=True)[0] for _ in range(2))
    check.same_bits(first, second)


@pytest.mark.parametrize(
    "shape, target, error",
    [
        ((3, 4), np.array([0, 1, 4]), IndexError),
        ((3, 4), np.array([0, 1, -1]), IndexError),
        ((3, 4), np.array([0, 1]), ValueError),
        ((3, 4), np.zeros((3, 5), np.float32), ValueError),
        ((3, 4), np.zeros((3, 4), np.float64), TypeError),
        ((3, 0), np.array([0, 0, 0]), ValueError),
    ],
)
def test_wrong_arguments_are_refused(shape, target, error):
    with pytest.raises(error, match="cross_entropy"):
        F.cross_entropy(lc.zeros(*shape), lc.from_numpy(target))


def test_weight_has_no_gradient():
    weight = lc.ones(4).requires_grad_()
    with pytest.raises(RuntimeError, match="cross_entropy"):
        F.cross_entropy(lc.zeros(3, 4).requires_grad_(), lc.from_numpy(np.arange(3)), weight=weight)
