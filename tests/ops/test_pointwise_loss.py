"""The losses of one element against its target: every formula, reduction, weight and broadcast."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference import pointwise_loss as reference

import littlecore as lc
import littlecore.nn.functional as F

KINDS = (
    "mse_loss",
    "l1_loss",
    "smooth_l1_loss",
    "huber_loss",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "kl_div",
    "kl_div_log_target",
)


def draw(case: Case, kind: str):
    """(x, t, the op's keyword arguments, the reference's, weight)"""
    shape = case.shape("shape", low=1, high=3)
    reduction = case.pick("reduction", ("mean", "sum", "none") + (("batchmean",) if kind.startswith("kl_div") else ()))
    options, extra, weight = {"reduction": reduction}, {}, None
    values = {"binary_cross_entropy": "probability", "kl_div": "positive"}.get(kind, "normal")
    if kind == "smooth_l1_loss":
        options["beta"] = extra["beta"] = case.pick("beta", (1.0, 0.3, 0.0))
    elif kind == "huber_loss":
        options["delta"] = extra["delta"] = case.pick("delta", (1.0, 0.3))
    elif kind == "kl_div_log_target":
        options["log_target"] = True
    if values == "probability":
        data = 0.01 + 0.98 * case.random("p").random((2, *shape))
        narrow = data.astype(case.dtype)
        x, t = lc.from_numpy(narrow[0]).requires_grad_(), lc.from_numpy(narrow[1]).requires_grad_()
    else:
        x, t = case.tensor("x", shape, ("normal", "distinct"), grad=True), case.tensor("t", shape, values, grad=True)
    if kind.startswith("binary") and case.pick("weighted", (False, True)):
        weight = options["weight"] = case.tensor("w", (*shape[:-1], 1), "positive")
    if kind.endswith("logits") and case.pick("pos_weighted", (False, True)):
        options["pos_weight"] = case.tensor("pos", shape[-1:], "positive")
        extra["pos_weight"] = check.wide(options["pos_weight"])
    return x, t, options, extra, weight


@cases(600)
def test_loss_and_gradients(case: Case):
    kind = case.pick("kind", KINDS)
    x, t, options, extra, weight = draw(case, kind)

    loss = getattr(F, kind.removesuffix("_log_target"))(x, t, **options)
    dy = case.tensor("dy", tuple(loss.shape))
    loss.backward(dy)

    def compute(kind_of_number):
        def number(v):
            return v.astype(kind_of_number) if isinstance(v, np.ndarray) else v

        a, b, g, w = (number(check.wide(v)) if v is not None else 1 for v in (x, t, dy, weight))
        value, dx, dt = getattr(reference, kind)(a, b, **{k: number(v) for k, v in extra.items()})
        result, factor = reference.reduced(value * w, options["reduction"])
        size = reference.reduced(np.abs(value * w), options["reduction"])[0]
        return result, g * factor * w * dx, g * factor * w * dt, size

    with np.errstate(invalid="ignore", divide="ignore"):
        want, naive = compute(check.wide(x).dtype), compute(np.dtype(case.dtype))
    if options["reduction"] == "none":
        check.no_worse(loss, want[0], naive[0])
    else:
        check.contraction(loss, np.asarray(want[0]), np.asarray(want[3]) + 1, 16 + x.numel())
    check.no_worse(x.grad, want[1], naive[1])
    check.no_worse(t.grad, want[2], naive[2])
    return loss, x.grad, t.grad


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind, reduction):
    random = np.random.default_rng(1)
    x, t = random.uniform(0.2, 0.8, (3, 4)), random.uniform(0.2, 0.8, (3, 4))
    options = {"reduction": reduction, **({"log_target": True} if kind.endswith("target") else {})}
    function = getattr(F, kind.removesuffix("_log_target"))
    check.gradients(lambda x, t: function(x, t, **options), x, t)


def test_input_and_target_broadcast():
    random = np.random.default_rng(2)
    x, t = random.standard_normal((3, 1)), random.standard_normal((1, 4))
    check.gradients(F.mse_loss, x, t)
    loss = F.mse_loss(lc.from_numpy(x), lc.from_numpy(t))
    check.bounded(loss, np.array(((x - t) ** 2).mean()), 1, 8)


def test_ends_of_the_range():
    """Probabilities 0 and 1, a target of 0 for kl_div, and logits where exp overflows."""
    x, t = (lc.from_numpy(np.array(v, np.float32)) for v in ([0, 1, 0, 1], [0, 0, 1, 1]))
    check.equal(F.binary_cross_entropy(x, t, reduction="none"), np.array([0, 100, 100, 0], np.float32))
    z = lc.from_numpy(np.array([-1e4, 1e4, -1e4, 1e4], np.float32))
    check.equal(F.binary_cross_entropy_with_logits(z, t, reduction="none"), np.array([0, 1e4, 1e4, 0], np.float32))
    check.equal(F.kl_div(z, t, reduction="none"), np.array([0, 0, 1e4, -1e4], np.float32))


@pytest.mark.vacuous
def test_empty_input():
    x = lc.zeros(0, 3)
    check.equal(F.mse_loss(x, x), np.array(np.nan, np.float32))
    check.equal(F.mse_loss(x, x, reduction="sum"), np.array(0, np.float32))


def test_many_chunks_are_summed_exactly():
    x = np.random.default_rng(3).integers(-3, 4, 50000).astype(np.float32)
    check.equal(F.mse_loss(lc.from_numpy(x), lc.zeros(50000), reduction="sum"), np.asarray((x * x).sum()))


def test_wrong_arguments_are_refused():
    x = lc.zeros(3, 4)
    with pytest.raises(ValueError, match="mse_loss"):
        F.mse_loss(x, lc.zeros(3, 5))
    with pytest.raises(ValueError, match="mse_loss: reduction"):
        F.mse_loss(x, x, reduction="average")
    with pytest.raises(ValueError, match="binary_cross_entropy"):
        F.binary_cross_entropy(x, lc.zeros(3, 1))
    with pytest.raises(ValueError, match=r"binary_cross_entropy: input must lie in \[0, 1\]"):
        lc._core.binary_cross_entropy(x + 2, x)
    with pytest.raises(ValueError, match="huber_loss"):
        F.huber_loss(x, x, delta=0)
    with pytest.raises(TypeError, match="l1_loss"):
        F.l1_loss(x, lc.from_numpy(np.zeros((3, 4))))
