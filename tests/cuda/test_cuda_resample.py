"""Padding, interpolation, folding, quantized weights and class losses on a device beside the CPU's."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS, both, close, normal
from test_cuda_select import exact

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import _core, nn

IDS = {"ids": lambda d: d.name}


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
def test_pad(dtype):
    x = normal((2, 3, 5, 7), dtype)
    for mode in ("constant", "reflect", "replicate", "circular"):
        both(lambda x, m=mode: F.pad(x, (2, 1, 0, 3), m), x)
    both(lambda x: F.pad(x.transpose(0, 1), (-1, 2), value=3.0), x)
    exact(lambda x: F.pad(x, (1, 1, 2, 0), "circular"), lc.arange(24).reshape(2, 3, 4))


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
def test_interpolate(dtype):
    x = normal((2, 3, 5, 7), dtype)
    for how in (
        {"scale_factor": 2},
        {"size": (3, 11), "mode": "nearest-exact"},
        {"size": (8, 4), "mode": "bilinear"},
        {"size": (8, 4), "mode": "bilinear", "align_corners": True},
        {"scale_factor": 1.5, "mode": "bicubic"},
        {"size": (2, 3), "mode": "area"},
    ):
        both(lambda x, h=how: F.interpolate(x, **h), x, units=2)
    both(lambda x: F.interpolate(x, size=4, mode="linear"), normal((0, 3, 5), dtype))


def test_unfold_and_fold():
    both(lambda x: F.unfold(x, (3, 2), padding=1, stride=2), normal((2, 3, 6, 7), lc.float32))
    both(lambda x: F.fold(x, (5, 6), (2, 3), padding=1), normal((2, 12, 36), lc.float32)[:, :, :36])


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("rows", [1, 3, 6, 20])
def test_quantized_linear(rows, bits):
    w, b = normal((11, 71), lc.float32, grad=False), normal((11,), lc.float32, 1, grad=False)
    codes, scales = _core.quantize_weight(w, bits)
    there = _core.quantize_weight(w.cuda(), bits)
    assert there[0].tolist() == codes.tolist() and there[1].tolist() == scales.tolist()
    weight = _core.dequantize_weight(codes, scales, 71)
    assert _core.dequantize_weight(*there, 71).tolist() == weight.tolist()
    x = normal((rows, 71), lc.float32, 2, grad=False)
    close(_core.quantized_linear(x.cuda(), *there, b.cuda()), F.linear(x, weight, b))
    close(_core.quantized_linear(x.cuda(), *there), F.linear(x, weight))


@pytest.mark.parametrize("dtype", [lc.float32, lc.float64], **IDS)
def test_nll_loss(dtype):
    rng = np.random.default_rng(0)
    w = lc.tensor(rng.uniform(0.5, 2, 7)).to(dtype)
    for shape in ((5, 7), (2, 7, 3), (7,)):
        target = rng.integers(0, 7, shape[:1] + shape[2:] if len(shape) > 1 else ())
        t = lc.tensor(target)
        for reduction in ("none", "mean", "sum"):
            both(lambda x, t, r=reduction: F.nll_loss(x, t, reduction=r, ignore_index=2), normal(shape, dtype), t)
            both(lambda x, t, w, r=reduction: F.nll_loss(x, t, weight=w, reduction=r), normal(shape, dtype), t, w)


def test_classes():
    classes = lc.tensor([3, 0, 2, 2])
    exact(lambda t: F.one_hot(t), classes)
    exact(lambda t: F.one_hot(t, 5), classes)
    exact(lambda t: lc.bincount(t, minlength=6), classes)
    exact(lambda t: lc.repeat_interleave(t, lc.tensor([1, 0, 2, 3]).to(t.device)), classes)


def test_other_losses():
    x, y, z = (normal((4, 6), lc.float32, s) for s in range(3))
    both(lambda x, y, z: F.triplet_margin_loss(x, y, z), x, y, z)
    both(lambda x, y: F.cosine_similarity(x, y), x, y)
    both(lambda x, y: lc.einsum("ij,kj->ik", x, y), x, y)
    both(
        lambda x, w: F.conv_transpose2d(x, w, stride=2),
        normal((2, 3, 4, 5), lc.float32),
        normal((3, 2, 3, 3), lc.float32),
    )
    here, there = nn.MultiheadAttention(6, 2, batch_first=True), nn.MultiheadAttention(6, 2, batch_first=True).cuda()
    there.load_state_dict(here.state_dict())
    q = normal((2, 3, 6), lc.float32, grad=False)
    close(there(q.cuda(), q.cuda(), q.cuda())[0], here(q, q, q)[0])
