"""batch_norm on a device beside the CPU's: statistics of batches, running ones, gradients."""

from __future__ import annotations

import numpy as np
import pytest
from compare import both, normal

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import nn

DTYPES = [lc.float32, lc.float64]
IDS = {"ids": lambda d: d.name}


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
@pytest.mark.parametrize("shape", [(5, 3), (2, 5, 7), (3, 2, 33, 31)], ids=str)
def test_batch_norm(shape, dtype):
    x, w, b = normal(shape, dtype), normal(shape[1:2], dtype, 1), normal(shape[1:2], dtype, 2)
    mean, var = normal(shape[1:2], dtype, 3, grad=False), normal(shape[1:2], dtype, 4, grad=False) ** 2
    both(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, w, b, units=9)
    both(lambda x, w, b, mean, var: F.batch_norm(x, mean, var, w, b), x, w, b, mean, var, units=9)
    both(lambda x: F.batch_norm(x, None, None, training=True), x, units=9)


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_running_statistics(dtype):
    layers = nn.BatchNorm2d(3).to(dtype=dtype), nn.BatchNorm2d(3).to("cuda", dtype)
    for seed in range(2):
        x = normal((4, 3, 5, 5), dtype, seed, grad=False)
        layers[0](x), layers[1](x.cuda())
    for here, there in zip(layers[0].buffers(), layers[1].buffers(), strict=True):
        assert there.device == "cuda:0"
        np.testing.assert_allclose(there.cpu().numpy(), here.numpy(), rtol=1e-5 if dtype is lc.float32 else 1e-12)


def test_a_large_mean_costs_no_accuracy():
    x = (normal((3, 2, 129), lc.float64, grad=False) + 1e4).float()
    want = F.batch_norm(x.double(), None, None, training=True)
    got = F.batch_norm(x.cuda(), None, None, training=True)
    assert np.abs(got.cpu().double().numpy() - want.numpy()).max() < 1e-5


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], **IDS)
def test_16_bits_are_rounded_once(dtype):
    x = normal((4, 3, 9), dtype, grad=False)
    wide, narrow = x.float().requires_grad_(True), x.cuda().requires_grad_(True)
    want, got = (F.batch_norm(v, None, None, training=True) for v in (wide, narrow))
    dy = normal(want.shape, dtype, 1, grad=False)
    want.backward(dy.float())
    got.backward(dy.cuda())
    for a, b in (got, want), (narrow.grad, wide.grad):
        assert a.dtype is dtype
        np.testing.assert_allclose(a.detach().cpu().float().numpy(), b.detach().numpy(), rtol=2.0**-7, atol=2.0**-7)
