"""layer_norm, rms_norm and cross_entropy on a device beside the CPU's: rows of a warp, of a block, and longer ones."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS, both, close, normal

import littlecore as lc
import littlecore.nn.functional as F

IDS = {"ids": lambda d: d.name}
SHAPES = [(3, 1), (9, 33), (21, 96), (5, 1030), (2, 4104)]


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
@pytest.mark.parametrize("rows, cols", SHAPES)
def test_layer_norm(rows, cols, dtype):
    x, w, b = normal((rows, cols), dtype), normal((cols,), dtype, 1), normal((cols,), dtype, 2)
    if cols > 1:
        both(lambda x, w, b: F.layer_norm(x, (cols,), w, b), x, w, b, units=cols**0.5)
        both(lambda x: F.layer_norm(x, (cols,)), x, units=4)
    both(lambda x, w: F.rms_norm(x, (cols,), w, 1e-5), x, w, units=cols**0.5)
    both(lambda x: F.rms_norm(x, (cols,)), x, units=4)


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
@pytest.mark.parametrize("rows, cols", [(1, 8), (9, 33), (5, 1030), (2, 4104)])
@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_sum_and_norm(rows, cols, kind, dtype):
    """The bits of the two ops forward; backward both gradients at once, and each alone."""
    x, r, up, up_sum = (normal((rows, cols), dtype, i).detach().cuda().requires_grad_() for i in range(4))
    w, b = (normal((cols,), dtype, i).detach().cuda().requires_grad_() for i in (4, 5))
    parameters = [w, b] if kind == "layer" else [w]
    norm, fused = (F.layer_norm, lc._core.add_layer_norm) if kind == "layer" else (F.rms_norm, lc._core.add_rms_norm)
    for residual in (r, None):
        s, y = fused(x, (cols,), *parameters, residual=residual, eps=1e-5)
        plain = x * 1 if residual is None else x + r
        want = norm(plain, (cols,), *parameters, eps=1e-5)
        assert lc.equal(s.cpu(), plain.cpu()) and lc.equal(y.cpu(), want.cpu())
        leaves = [x, *parameters] if residual is None else [x, r, *parameters]
        for uses in ((up_sum, up), (None, up), (up_sum, None)):
            of = [i for i in (0, 1) if uses[i] is not None]
            dy = [uses[i].detach() for i in of]
            options = {"retain_graph": True, "allow_unused": True}
            got = lc.autograd.grad([(s, y)[i] for i in of], leaves, dy, **options)
            right = lc.autograd.grad([(plain, want)[i] for i in of], leaves, dy, **options)
            for a, c in zip(got, right, strict=True):  # the sum of gradients is rounded once less
                close(a, lc.zeros_like(a).cpu() if c is None else c.cpu(), 2)


def test_a_large_mean_costs_no_accuracy():
    x = (lc.tensor(np.random.default_rng(0).normal(0, 1, (3, 777))) + 1e4).float()
    want = F.layer_norm(x.double(), (777,))
    assert np.abs(F.layer_norm(x.cuda(), (777,)).cpu().double().numpy() - want.numpy()).max() < 1e-5


def test_rows_too_long_for_shared_memory():
    x, w = normal((2, 25001), lc.float32), normal((25001,), lc.float32, 1)
    both(lambda x, w: F.rms_norm(x, (25001,), w), x, w, units=9)


@pytest.mark.parametrize("dtype", [lc.float32, lc.float64], **IDS)
@pytest.mark.parametrize("shape", [(1, 2), (9, 33), (5, 1030), (3, 4100), (2, 7, 5)], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_cross_entropy(shape, reduction, dtype):
    rng = np.random.default_rng(0)
    x = normal(shape, dtype)
    rows = (shape[0], *shape[2:])
    target = rng.integers(0, shape[1], rows)
    target.flat[-1] = -100 if target.size > 1 else target.flat[-1]
    t, w = lc.tensor(target), lc.tensor(rng.uniform(0.5, 2, shape[1])).to(dtype)
    q = F.softmax(normal(shape, dtype, 3, grad=False), 1)
    options = {"reduction": reduction}

    def on_its_device(f):
        return lambda x: f(x, (lambda y: y.to(x.device)))

    both(on_its_device(lambda x, at: F.cross_entropy(x, at(t), **options)), x)
    both(on_its_device(lambda x, at: F.cross_entropy(x, at(t), at(w), label_smoothing=0.1, **options)), x)
    both(lambda x, q: F.cross_entropy(x, q, **options), x, q.detach().requires_grad_(True))


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], **IDS)
def test_cross_entropy_of_16_bits_is_that_of_its_numbers(dtype):
    x, t = normal((7, 321), dtype, grad=False), lc.tensor(np.arange(7) * 40)
    wide, narrow = x.float().requires_grad_(True), x.cuda().requires_grad_(True)
    want, got = F.cross_entropy(wide, t), F.cross_entropy(narrow, t.cuda())
    want.backward()
    got.backward()
    assert abs(got.item() - want.item()) < 0.02 * want.item() and narrow.grad.dtype is dtype
    np.testing.assert_allclose(narrow.grad.cpu().float().numpy(), wide.grad.numpy(), rtol=1e-2, atol=1e-6)


def test_infinite_and_nan_logits():
    x = lc.tensor([[0.0, float("-inf"), 1.0], [float("nan"), 0.0, 1.0], [3e38, 0.0, -3e38]])
    t = lc.tensor([2, 1, 0])
    want, got = F.cross_entropy(x, t, reduction="none"), F.cross_entropy(x.cuda(), t.cuda(), reduction="none")
    np.testing.assert_allclose(got.cpu().numpy(), want.numpy(), rtol=1e-6)
