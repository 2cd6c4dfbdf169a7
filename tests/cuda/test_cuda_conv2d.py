"""conv2d on a device: exact in integers at odd sizes, strides, paddings, dilations and groups; and beside the CPU."""

from __future__ import annotations

import check
import numpy as np
import pytest
from compare import FLOATS, both, normal

import littlecore as lc
import littlecore.nn.functional as F

IDS = {"ids": lambda d: d.name}
CASES = [  # x, w, options
    ((2, 3, 9, 7), (5, 3, 3, 3), {"padding": 1}),
    ((1, 4, 11, 13), (6, 2, 3, 2), {"groups": 2, "stride": (2, 3), "padding": (2, 1), "dilation": (2, 1)}),
    ((2, 1, 4, 4), (65, 1, 3, 3), {}),
    ((2, 6, 5, 5), (6, 1, 3, 3), {"groups": 6, "padding": 1, "stride": 2}),
    ((3, 19, 13, 13), (2, 19, 1, 1), {"stride": 2}),
    ((0, 2, 4, 4), (3, 2, 3, 3), {}),
]
HALVES = [lc.bfloat16, lc.float16]
WIDE = [  # by wgmma, in both directions unless said otherwise
    ((3, 40, 9, 7), (72, 40, 3, 3), {"padding": 1}),
    ((2, 32, 11, 10), (136, 32, 3, 2), {"stride": (2, 3), "padding": (2, 1)}),
    ((2, 64, 5, 5), (64, 64, 1, 1), {"stride": 2}),  # pixels of dx under no tap
    ((1, 40, 12, 11), (40, 40, 3, 3), {"dilation": 2, "padding": (3, 0)}),
    ((5, 72, 8, 8), (33, 72, 1, 1), {}),  # 33 filters: forward alone
    ((2, 32, 24, 24), (32, 32, 1, 3), {"padding": (0, 1)}),  # dw in parts
    ((4, 32, 15, 17), (136, 32, 1, 1), {}),  # tiles of 256 columns, pairs of blocks
    ((3, 72, 8, 7), (136, 72, 1, 1), {}),  # from planes as they lie
    ((1, 32, 3, 56), (136, 32, 3, 3), {"padding": 1}),
    ((2, 32, 4, 56), (33, 32, 3, 2), {"padding": (0, 3)}),  # 61 results of lines of 56
]


@pytest.fixture(autouse=True)
def highest():
    """Every test begins and ends with convolutions of float32 as they are."""
    yield
    lc.set_float32_matmul_precision("highest")


def integers(shape: tuple[int, ...], dtype: lc.dtype, seed: int, most: int = 2) -> lc.Tensor:
    return lc.tensor(np.random.default_rng(seed).integers(-most, most + 1, shape)).to(dtype)


@pytest.mark.parametrize(
    "x, w, options, dtype, precision",
    [(*case, d, "highest") for case in CASES for d in FLOATS]
    + [(*case, lc.float32, "high") for case in CASES]  # as tf32
    + [(*case, d, "highest") for case in WIDE for d in HALVES],
)
def test_conv2d_is_exact(x, w, options, dtype, precision):
    """Sums of small integers have no rounding error until they are stored."""
    lc.set_float32_matmul_precision(precision)
    tensors = integers(x, dtype, 0), integers(w, dtype, 1, 1), integers(w[:1], dtype, 2)
    here = [t.double().detach().requires_grad_(True) for t in tensors]
    there = [t.cuda().requires_grad_(True) for t in tensors]
    want, got = F.conv2d(*here, **options), F.conv2d(*there, **options)
    assert got.dtype is dtype and got.tolist() == want.to(dtype).tolist()
    dy = integers(want.shape, dtype, 3, 1)
    want.backward(dy.double())
    got.backward(dy.cuda())
    for a, b in zip(here, there, strict=True):
        assert b.grad.tolist() == a.grad.to(dtype).tolist()


@pytest.mark.parametrize("dtype", [lc.float32, lc.float64], **IDS)
def test_conv2d_beside_the_cpu(dtype):
    both(lambda x, w: F.conv2d(x, w, padding=1), normal((2, 5, 8, 7), dtype), normal((7, 5, 3, 3), dtype, 1), units=4)
    x, w = normal((2, 4, 31), dtype), normal((3, 4, 3), dtype, 1)
    both(lambda x, w: F.conv1d(x, w, padding=2, dilation=2), x, w, units=4)
    x, w, b = normal((2, 5, 4, 3), dtype), normal((5, 3, 3, 3), dtype, 1), normal((3,), dtype, 2)
    both(lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1), x, w, b, units=4)


@pytest.mark.parametrize("dtype", [lc.float32, lc.float16], **IDS)
def test_a_weight_gradient_in_parts(dtype):
    x, dy = integers((2, 1, 24, 24), dtype, 0), integers((2, 2, 23, 23), dtype, 1, 1)
    grads = []
    for at in (lc.float64, "cpu"), (dtype, "cuda"):
        w = lc.zeros(2, 1, 2, 2, dtype=at[0], device=at[1]).requires_grad_(True)
        F.conv2d(x.to(*at[::-1]), w).backward(dy.to(*at[::-1]))
        grads.append(w.grad.to("cpu", dtype).tolist())
    assert grads[0] == grads[1]


@pytest.mark.parametrize("dtype", HALVES, **IDS)
def test_a_transposed_convolution_is_exact(dtype):
    x, w, b = integers((2, 32, 5, 6), dtype, 0), integers((32, 24, 3, 4), dtype, 1, 1), integers((24,), dtype, 2)
    want = F.conv_transpose2d(x.double(), w.double(), b.double(), stride=(2, 3), padding=1)
    got = F.conv_transpose2d(x.cuda(), w.cuda(), b.cuda(), stride=(2, 3), padding=1)
    assert got.tolist() == want.to(dtype).tolist()


@pytest.mark.parametrize("channels", [3, 40])
def test_an_image_does_not_depend_on_its_batch(channels):
    x = normal((5, channels, 9, 9), lc.bfloat16, grad=False).cuda()
    w = normal((4, channels, 3, 3), lc.bfloat16, 1, grad=False).cuda()
    assert F.conv2d(x, w)[3].tolist() == F.conv2d(x[3:4], w)[0].tolist()


@pytest.mark.parametrize("w", [(40, 32, 1, 1), (8, 32, 3, 3)])
def test_a_result_does_not_depend_on_where_its_image_lies(w):
    flat, w = (
        normal((2 * 32 * 8 * 8 + 1,), lc.bfloat16, grad=False).cuda(),
        normal(w, lc.bfloat16, 1, grad=False).cuda(),
    )
    x = flat[1:].reshape(2, 32, 8, 8)
    assert F.conv2d(x, w).tolist() == F.conv2d(x.clone(), w).tolist()


def to_tf32(x: np.ndarray) -> np.ndarray:
    """To 10 bits of mantissa, to nearest, halves away from zero."""
    return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


def test_tf32_rounds_operands_and_nothing_else():
    rng = np.random.default_rng(5)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((2, 7, 9, 11), (70, 7, 3, 3)))
    rounded = [lc.tensor(to_tf32(t).astype(np.float64)) for t in (x, w)]
    want, size = F.conv2d(*rounded, padding=1), F.conv2d(*(t.abs() for t in rounded), padding=1)
    plain = F.conv2d(lc.tensor(x).cuda(), lc.tensor(w).cuda(), padding=1)
    lc.set_float32_matmul_precision("high")
    y = F.conv2d(lc.tensor(x).cuda(), lc.tensor(w).cuda(), padding=1)
    check.contraction(y.cpu(), want.numpy(), size.numpy(), 63)
    assert y.tolist() != plain.tolist()


def test_16_bits_are_refused_on_the_cpu():
    with pytest.raises(TypeError, match="conv2d"):
        F.conv2d(lc.zeros(1, 1, 3, 3, dtype=lc.bfloat16), lc.zeros(1, 1, 1, 1, dtype=lc.bfloat16))
