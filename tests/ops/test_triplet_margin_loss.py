"""triplet_margin_loss: norms, swap, reductions."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.triplet_margin_loss import triplet_margin_loss

import littlecore as lc
import littlecore.nn.functional as F


@cases(150)
def test_forward(case: Case):
    rows, cols = case.size("rows", low=1, high=33), case.size("cols", low=1, high=65)
    tensors = [case.tensor(n, (rows, cols)) for n in ("anchor", "positive", "negative")]
    options = {
        "margin": case.pick("margin", (1.0, 20.0)),
        "p": case.pick("p", (2.0, 1.0, 3.0)),
        "swap": case.pick("swap", (False, True)),
    }
    y = F.triplet_margin_loss(*tensors, **options, reduction="none")
    wide = [check.wide(t) for t in tensors]
    size = sum(np.abs(t).sum(axis=-1) for t in wide) * 2 + options["margin"]
    check.bounded(y, triplet_margin_loss(*wide, **options), size, 4 + np.sqrt(cols))
    return y


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("swap", [False, True])
def test_gradients(reduction, swap):
    random = np.random.default_rng(1)
    tensors = [random.standard_normal((4, 3)) for _ in range(3)]
    check.gradients(
        lambda a, p, n: F.triplet_margin_loss(a, p, n, margin=5.0, swap=swap, reduction=reduction), *tensors
    )


def test_reductions():
    random = np.random.default_rng(2)
    tensors = [random.standard_normal((8, 3)) for _ in range(3)]
    each = triplet_margin_loss(*tensors)
    for reduction, want in (("mean", each.mean()), ("sum", each.sum())):
        check.bounded(
            F.triplet_margin_loss(*(lc.from_numpy(t) for t in tensors), reduction=reduction),
            np.asarray(want),
            each.sum() + 8,
            8,
        )


def test_wrong_arguments_are_refused():
    x = lc.zeros(2, 3)
    with pytest.raises(ValueError, match="triplet_margin_loss"):
        F.triplet_margin_loss(x, x, lc.zeros(3))
    with pytest.raises(ValueError, match="triplet_margin_loss: margin"):
        F.triplet_margin_loss(x, x, x, margin=0.0)
    with pytest.raises(ValueError, match="triplet_margin_loss: reduction"):
        F.triplet_margin_loss(x, x, x, reduction="all")
