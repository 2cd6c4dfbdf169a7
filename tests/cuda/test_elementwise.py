"""Elementwise ops and reductions on a device beside the CPU's, at odd sizes, with strides, forward and backward."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import littlecore as lc

FLOATS = [lc.float32, lc.float64, lc.bfloat16, lc.float16]
UNARY = (
    *("neg", "abs", "square", "relu", "sign", "floor", "ceil", "round", "reciprocal", "sqrt", "rsqrt", "exp", "expm1"),
    *("log", "log1p", "sin", "cos", "erf", "tanh", "sigmoid", "silu", "gelu"),
)
CLOSE = {lc.float32: 4e-6, lc.float64: 1e-14, lc.bfloat16: 1e-2, lc.float16: 2e-3}  # a few last places


def same(device_result: lc.Tensor, cpu_result: lc.Tensor) -> None:
    assert device_result.device == "cuda:0" and device_result.dtype is cpu_result.dtype
    got, want = device_result.cpu().double().numpy(force=True), cpu_result.double().numpy(force=True)
    assert got.shape == want.shape
    tolerance = CLOSE.get(cpu_result.dtype, 0)
    np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance / 100)


def pair(x: np.ndarray, dtype: lc.dtype, grad: bool = True) -> tuple[lc.Tensor, lc.Tensor]:
    on_cpu = lc.tensor(x).to(dtype)
    on_device = on_cpu.cuda()
    return on_cpu.requires_grad_(grad), on_device.requires_grad_(grad)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: lc.dtype):
    x = np.random.default_rng(0).uniform(0.1, 3, (7, 41))
    if name in ("neg", "abs", "relu", "sign", "tanh", "gelu", "silu", "sin", "expm1"):
        x -= 1.5
    on_cpu, on_device = pair(x, dtype)
    for view in (lambda t: t, lambda t: t.transpose(0, 1)[1::2]):
        a, b = getattr(lc._core, name)(view(on_cpu)), getattr(lc._core, name)(view(on_device))
        same(b, a)
        a.backward(lc.ones_like(a))
        b.backward(lc.ones_like(b))
        same(on_device.grad, on_cpu.grad)
        on_cpu.grad = on_device.grad = None


@pytest.mark.parametrize("dtype", [*FLOATS, lc.int64, lc.uint8, lc.bool_], ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(2, 70, 3, 33), (3, 4, 64, 32), (1, 7, 5, 9), (2, 40, 40, 0)])
def test_copies_into_another_order_of_axes(shape, dtype):
    x = lc.tensor(np.random.default_rng(0).integers(0, 200, shape)).to(dtype)
    for axes in itertools.permutations(range(4)):
        same(x.cuda().permute(axes).contiguous(), x.permute(axes).contiguous())
    same(x.cuda()[:, 1:, :, 1:].transpose(1, 3).contiguous(), x[:, 1:, :, 1:].transpose(1, 3).contiguous())


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("pitch", [48, 49])
@pytest.mark.parametrize("begin, width", [(0, 32), (16, 16), (8, 24), (3, 16), (8, 21)])
def test_rows_in_packs_and_not(begin, width, pitch, dtype):
    """Parts of rows, rows and columns that are broadcast: of a size and place to be read 16 bytes at a time, or not."""
    random = np.random.default_rng(0)
    whole, row, column = (lc.tensor(random.integers(-9, 9, n)).to(dtype) for n in ((3, 5, pitch), (48,), (3, 1, 1)))

    def f(x, row, column):
        part = slice(begin, begin + width)
        return (x[:, ::2, part] * row[part] + column) * x[:, 1:4, part]

    same(f(whole.cuda(), row.cuda(), column.cuda()), f(whole, row, column))


@pytest.mark.parametrize("dtype", [lc.int64, lc.int32, lc.uint8], ids=lambda d: d.name)
def test_integers(dtype):
    a = lc.arange(37).to(dtype)
    b = lc.full((37,), 5, dtype=dtype)
    for f in (
        lambda x, y: x + y,
        lambda x, y: x * y,
        lambda x, y: x // y,
        lambda x, y: x % y,
        lambda x, y: x > y,
        lambda x, y: lc.square(x),
    ):
        same(f(a.cuda(), b.cuda()), f(a, b))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "pow", "maximum", "minimum", "remainder"])
def test_binary(name: str, dtype: lc.dtype):
    rng = np.random.default_rng(1)
    a_cpu, a = pair(rng.uniform(0.5, 3, (5, 1, 33)), dtype)
    b_cpu, b = pair(rng.uniform(0.5, 3, (4, 33)), dtype)
    y_cpu, y = getattr(lc, name)(a_cpu, b_cpu), getattr(lc, name)(a, b)
    same(y, y_cpu)
    y_cpu.backward(lc.ones_like(y_cpu))
    y.backward(lc.ones_like(y))
    same(a.grad, a_cpu.grad)
    same(b.grad, b_cpu.grad)


def test_numbers_and_in_place():
    x = lc.arange(21, dtype=lc.float32, device="cuda")
    assert (2 * x - 1).tolist() == [2.0 * i - 1 for i in range(21)]
    x += 1
    x[3:5] = 7
    assert x.tolist() == [1, 2, 3, 7, 7, *range(6, 22)]
    x.fill_(3)
    assert x.tolist() == [3.0] * 21


def test_comparisons_and_nan():
    x = lc.tensor([1.0, float("nan"), float("inf"), -2.0])
    y = x.cuda()
    for name in ("isnan", "isinf", "isfinite"):
        assert getattr(lc, name)(y).tolist() == getattr(lc, name)(x).tolist()
    assert (y > 0).tolist() == (x > 0).tolist()
    assert str(lc.maximum(y, y * 0).tolist()) == str(lc.maximum(x, x * 0).tolist())


@pytest.mark.parametrize("shape", [(1,), (33,), (1030,), (5000,), (7, 9, 11), (3, 2000), (300, 70)], ids=str)
def test_reductions_are_exact_in_integers(shape):
    x = np.random.default_rng(2).integers(-3, 4, shape).astype(np.float32)
    t = lc.tensor(x).cuda()
    for dim in (None, *range(len(shape))):
        kwargs = {} if dim is None else {"dim": dim}
        assert np.array_equal(t.sum(**kwargs).cpu().numpy(), x.sum(axis=dim))
        assert np.array_equal(t.amax(**kwargs).cpu().numpy(), x.max(axis=dim))
        assert np.array_equal(t.amin(**kwargs).cpu().numpy(), x.min(axis=dim))
        if dim is not None:
            values, indices = t.max(dim=dim)
            assert np.array_equal(values.cpu().numpy(), x.max(axis=dim))
            assert np.array_equal(indices.cpu().numpy(), x.argmax(axis=dim))


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_statistics(dtype):
    on_cpu, on_device = pair(np.random.default_rng(3).normal(3, 2, (6, 1100)), dtype)
    for f in (lambda t: t.mean(dim=1), lambda t: t.var(dim=1), lambda t: t.norm(dim=1)):
        a, b = f(on_cpu), f(on_device)
        same(b, a)
        a.sum().backward()
        b.sum().backward()
        same(on_device.grad, on_cpu.grad)
        on_cpu.grad = on_device.grad = None


@pytest.mark.parametrize("dtype", [lc.float32, lc.float64], ids=lambda d: d.name)
@pytest.mark.parametrize("shape, dim", [((5, 33), 1), ((3, 1500), 1), ((4, 7, 9), 1), ((6,), 0)], ids=str)
def test_softmax(shape, dim, dtype):
    on_cpu, on_device = pair(np.random.default_rng(4).normal(0, 3, shape), dtype)
    for f in (lc.softmax, lc.log_softmax):
        a, b = f(on_cpu, dim), f(on_device, dim)
        np.testing.assert_allclose(b.detach().cpu().numpy(), a.detach().numpy(), rtol=1e-5, atol=1e-6)
        dy = np.random.default_rng(5).normal(0, 1, shape)
        a.backward(lc.tensor(dy).to(dtype))
        b.backward(lc.tensor(dy).to("cuda", dtype))
        np.testing.assert_allclose(on_device.grad.cpu().numpy(), on_cpu.grad.numpy(), rtol=1e-5, atol=2e-6)
        on_cpu.grad = on_device.grad = None
