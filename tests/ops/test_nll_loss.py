"""nll_loss: class indices over axis 1 of log-probabilities of any shape, weights, ignored rows."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.nll_loss import nll_loss

import littlecore as lc
import littlecore.nn.functional as F


@cases(300)
def test_loss_and_gradient(case: Case):
    rows = (case.size("rows", low=1, high=33), *case.pick("inner", ((), (5,), (3, 7))))
    classes = case.size("classes", low=1, high=65)
    x = case.tensor("x", (rows[0], classes, *rows[1:]), "normal", grad=True)
    target = case.integers("t", rows, 0, classes, case.pick("integer", ("int64", "int32", "uint8")))
    weight = case.tensor("w", (classes,), "positive") if case.pick("weighted", (False, True)) else None
    options = {"reduction": case.pick("reduction", ("mean", "sum", "none"))}
    if np.prod(rows) > 1 and case.pick("ignore", (False, True)):
        options["ignore_index"] = int(check.array(target).flat[0])
    dy = case.tensor("dy", rows if options["reduction"] == "none" else ())

    loss = F.nll_loss(x, target, weight, **options)
    loss.backward(dy)

    exact = [check.wide(v) for v in (x, target, weight, dy)]
    naive = [v if v is None or v.dtype.kind != "f" else v.astype(case.dtype) for v in exact]
    with np.errstate(invalid="ignore", divide="ignore"):
        want, approximate = [nll_loss(a, b, c, **options, dy=d) for a, b, c, d in (exact, naive)]
    size = nll_loss(-np.abs(exact[0]), *exact[1:3], **options)[0]
    check.contraction(loss, np.asarray(want[0]), np.asarray(size), np.prod(rows))
    check.no_worse(x.grad, want[1], approximate[1])
    return loss, x.grad


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients(reduction):
    random = np.random.default_rng(1)
    x, t, w = random.standard_normal((4, 3, 2)), random.integers(0, 3, (4, 2)), lc.from_numpy(random.uniform(0.5, 2, 3))
    check.gradients(lambda x: F.nll_loss(x, lc.from_numpy(t), w, reduction=reduction), x)


@pytest.mark.parametrize("threads", [1, 3])
def test_rows_of_several_tasks(threads):
    lc.set_num_threads(threads)
    random = np.random.default_rng(2)
    x = random.standard_normal((301, 4, 7)).astype(np.float32)  # 2107 rows: tasks begin inside an outer row
    t = random.integers(0, 4, (301, 7))
    leaf = lc.from_numpy(x).requires_grad_()
    loss = F.nll_loss(leaf, lc.from_numpy(t), ignore_index=2, reduction="none")
    counts = t != 2
    check.same_bits(loss.detach(), np.where(counts, -np.take_along_axis(x, t[:, None], 1)[:, 0], np.float32(0)))
    loss.backward(lc.ones(301, 7))
    check.same_bits(
        leaf.grad, np.where((np.arange(4)[:, None] == t[:, None]) & counts[:, None], np.float32(-1), np.float32(0))
    )


def test_a_vector_is_one_row():
    x = lc.from_numpy(np.arange(5.0))
    check.equal(F.nll_loss(x, lc.from_numpy(np.array(3))), np.array(-3.0))


def test_wrong_arguments_are_refused():
    with pytest.raises(IndexError, match="nll_loss"):
        F.nll_loss(lc.zeros(2, 3), lc.from_numpy(np.array([0, 3])))
    with pytest.raises(ValueError, match="nll_loss"):
        F.nll_loss(lc.zeros(2, 3), lc.from_numpy(np.array([0])))
    with pytest.raises(TypeError, match="nll_loss"):
        F.nll_loss(lc.zeros(2, 3), lc.zeros(2))
