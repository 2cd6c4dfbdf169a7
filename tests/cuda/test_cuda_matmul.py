"""Products on a device in exact integers, at sizes that fill no tile, in every layout, with every epilogue."""

from __future__ import annotations

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore.nn import functional as F

DTYPES = [lc.float32, lc.float64, lc.bfloat16, lc.float16]
SIZES = [(1, 1, 1), (37, 29, 19), (136, 144, 72), (40, 264, 200), (129, 130, 136)]

# What is computed in: float32 as it is, or as tf32 where the user said so.
KINDS = [*((d, "highest") for d in DTYPES), (lc.float32, "high")]
kinds = pytest.mark.parametrize("dtype, precision", KINDS, ids=lambda x: x if isinstance(x, str) else x.name)


@pytest.fixture(autouse=True)
def highest():
    """Every test begins and ends with products of float32 as they are."""
    yield
    lc.set_float32_matmul_precision("highest")


def integers(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2, 3, shape).astype(np.float32)


def operand(x: np.ndarray, dtype: lc.dtype, layout: str) -> lc.Tensor:
    """x on the device: as it is, transposed in memory, or with gaps."""
    if layout == "across":
        return lc.tensor(np.ascontiguousarray(x.swapaxes(-1, -2))).to("cuda", dtype).transpose(-1, -2)
    if layout == "gaps":
        return lc.tensor(np.repeat(np.repeat(x, 2, -1), 2, -2)).to("cuda", dtype)[..., ::2, ::2]
    return lc.tensor(x).to("cuda", dtype)


def rounded(x: np.ndarray, dtype: lc.dtype) -> np.ndarray:
    return lc.tensor(x.astype(np.float64)).to(dtype).double().numpy()


@kinds
@pytest.mark.parametrize("m, n, k", SIZES)
def test_layouts(m, n, k, dtype, precision):
    lc.set_float32_matmul_precision(precision)
    a, b = integers((m, k), 1), integers((k, n), 2)
    for of_a in ("along", "across", "gaps"):
        for of_b in ("along", "across", "gaps") if m < 100 else ("along", "across"):
            y = operand(a, dtype, of_a) @ operand(b, dtype, of_b)
            assert np.array_equal(y.cpu().double().numpy(), rounded(a @ b, dtype)), (of_a, of_b)


@kinds
def test_batches(dtype, precision):
    lc.set_float32_matmul_precision(precision)
    a, b = integers((3, 2, 17, 24), 3), integers((2, 24, 9), 4)
    for of_a in ("along", "across"):
        y = operand(a, dtype, of_a) @ operand(b, dtype, "along")
        assert np.array_equal(y.cpu().double().numpy(), rounded(a @ b, dtype))


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16, lc.float32], ids=lambda d: d.name)
@pytest.mark.parametrize("m, n, k", [(120, 72, 2312), (37, 29, 2311), (8, 136, 6152)])
def test_depth_in_parts(m, n, k, dtype):
    """A weight's gradient: few tiles, so that k is cut, and its parts' sums are added in order."""
    lc.set_float32_matmul_precision("high")
    x, dy = integers((k, m), 11), integers((k, n), 12)
    y = lc.tensor(x).to("cuda", dtype).transpose(0, 1) @ lc.tensor(dy).to("cuda", dtype)
    assert np.array_equal(y.cpu().double().numpy(), rounded(x.T @ dy, dtype))


@pytest.mark.parametrize("activation", ["none", "gelu", "silu"])
def test_parts_keep_bias_and_activation(activation):
    rng = np.random.default_rng(13)
    x, w, b = rng.integers(-2, 3, (2312, 40)) / 8, rng.integers(-2, 3, (72, 2312)) / 64, rng.integers(-2, 3, 72) / 8
    results = []
    for device in ("cpu", "cuda"):
        xt, wt, bt = (lc.tensor(v).to(device, lc.bfloat16) for v in (x, w, b))
        results.append(lc._core.linear(xt.transpose(0, 1), wt, bt, activation=activation).cpu().double().numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=2e-2, atol=2e-2 * np.abs(results[0]).max())


def test_odd_offsets_take_a_correct_path():
    a, b = integers((33, 41), 5), integers((41, 35), 6)
    y = operand(a, lc.bfloat16, "along")[1:, 1:] @ operand(b, lc.bfloat16, "along")[1:, 3:]
    assert np.array_equal(y.cpu().float().numpy(), rounded(a[1:, 1:] @ b[1:, 3:], lc.bfloat16))


def test_empty():
    assert (lc.ones(3, 0, device="cuda") @ lc.ones(0, 2, device="cuda")).tolist() == [[0, 0]] * 3
    assert (
        lc.ones(8, 0, device="cuda", dtype=lc.bfloat16) @ lc.ones(0, 8, device="cuda", dtype=lc.bfloat16)
    ).tolist() == [[0] * 8] * 8


@kinds
def test_gradients(dtype, precision):
    lc.set_float32_matmul_precision(precision)
    a, b = integers((40, 24), 7), integers((24, 56), 8)
    x, w = operand(a, dtype, "along").requires_grad_(), operand(b, dtype, "along").requires_grad_()
    dy = integers((40, 56), 9)
    (x @ w).backward(lc.tensor(dy).to("cuda", dtype))
    assert np.array_equal(x.grad.cpu().double().numpy(), rounded(dy @ b.T, dtype))
    assert np.array_equal(w.grad.cpu().double().numpy(), rounded(a.T @ dy, dtype))


@pytest.mark.parametrize("dtype, precision", [(lc.float32, "highest"), (lc.float32, "high"), (lc.bfloat16, "highest")])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"])
def test_linear(activation, dtype, precision):
    """Beside the CPU: the same sums, so that only the activation's last bits may differ."""
    rng = np.random.default_rng(10)
    x, w, b = rng.integers(-2, 3, (72, 40)) / 8, rng.integers(-2, 3, (136, 40)) / 8, rng.integers(-2, 3, 136) / 8
    results = []
    for device in ("cpu", "cuda"):
        leaves = [lc.tensor(v).to(device, dtype).requires_grad_() for v in (x, w, b)]
        lc.set_float32_matmul_precision(precision)
        y = lc._core.linear(*leaves, activation=activation)
        lc.set_float32_matmul_precision("highest")  # tf32 would round the activation's slopes
        y.backward(lc.ones_like(y))
        results.append([y, *(leaf.grad for leaf in leaves)])
    for on_cpu, on_device in zip(*results, strict=True):
        tolerance = 1e-5 if dtype is lc.float32 else 2e-2
        want, got = on_cpu.detach().double().numpy(), on_device.detach().cpu().double().numpy()
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


@kinds
@pytest.mark.parametrize("m, n, k", [(1, 8, 8), (37, 29, 19), (129, 136, 72), (70, 264, 40)])
def test_residual(m, n, k, dtype, precision):
    """Added to the finished sum before it is rounded, also where the product is not the kind that can."""
    lc.set_float32_matmul_precision(precision)
    x, w, b, r = (integers(s, i) for i, s in enumerate(((m, k), (n, k), (n,), (m, n))))
    leaves = [operand(v, dtype, "along").requires_grad_() for v in (x, w, b, r)]
    y = lc._core.linear(*leaves[:3], residual=leaves[3])
    assert np.array_equal(y.detach().cpu().double().numpy(), rounded(x @ w.T + b + r, dtype))
    dy = integers((m, n), 5)
    y.backward(operand(dy, dtype, "along"))
    for leaf, want in zip(leaves, (dy @ w, dy.T @ x, dy.sum(0), dy), strict=True):
        assert np.array_equal(leaf.grad.cpu().double().numpy(), rounded(want, dtype))
    odd = operand(np.pad(r, ((1, 0), (3, 0))), dtype, "along")[1:, 3:]  # of no alignment, then of another type
    assert np.array_equal(
        lc._core.linear(*leaves[:3], residual=odd).detach().cpu().double().numpy(), y.detach().cpu().double().numpy()
    )
    wide = lc._core.linear(*leaves[:3], residual=lc.tensor(r).cuda().double())
    assert wide.dtype is lc.float64 and np.array_equal(wide.detach().cpu().numpy(), rounded(x @ w.T + b, dtype) + r)


@pytest.mark.parametrize(
    "dtype, precision",
    [(lc.float32, "highest"), (lc.float32, "high"), (lc.bfloat16, "highest"), (lc.float16, "highest")],
)
@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"])
def test_feed_forward(activation, dtype, precision):
    """Beside the two layers one after the other, which the CPU's is made of."""
    rng = np.random.default_rng(15)
    x, w1, b1, w2, b2, r, dy = (
        rng.integers(-2, 3, s) / 8 for s in ((75, 40), (136, 40), (136,), (72, 136), (72,), (75, 72), (75, 72))
    )
    results = []
    for fused in (False, True):
        leaves = [lc.tensor(v).to("cuda", dtype).requires_grad_() for v in (x, w1, b1, w2, b2, r)]
        if fused:
            lc.set_float32_matmul_precision(precision)
            x_, w1_, b1_, w2_, b2_, r_ = leaves
            y = lc._core.feed_forward(x_, w1_, w2_, b1_, b2_, activation=activation, residual=r_)
        else:
            h = lc._core.linear(*leaves[:3], activation=activation)
            y = lc._core.linear(h, *leaves[3:5]) + leaves[5]
        y.backward(lc.tensor(dy).to("cuda", dtype))
        lc.set_float32_matmul_precision("highest")
        results.append([y, *(leaf.grad for leaf in leaves)])
    for apart, at_once in zip(*results, strict=True):
        tolerance = 2e-2 if dtype is lc.bfloat16 else 5e-3 if dtype is lc.float16 or precision == "high" else 1e-5
        want, got = (v.detach().cpu().double().numpy() for v in (apart, at_once))
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance * np.abs(want).max())


@pytest.mark.parametrize("activation", ["relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh"])
def test_slopes_over_the_whole_range(activation):
    """A product with 1 is every activation and every slope by itself, within a rounding of float64's."""
    z = np.concatenate([np.linspace(-14, 14, 1999), [0.0]]).astype(np.float16).astype(np.float64).reshape(-1, 8)
    one = np.eye(8)
    exact = lc.tensor(z).requires_grad_()
    want = lc._core.linear(exact, lc.tensor(one), activation=activation)
    want.backward(lc.ones_like(want))
    leaf = lc.tensor(z).to("cuda", lc.float16).requires_grad_()
    w = lc.tensor(one).to("cuda", lc.float16)
    y = lc._core.feed_forward(leaf, w, w, activation=activation)
    y.backward(lc.ones_like(y))
    half = 2**-11  # a rounding of float16, relative; the slopes of sigmoid and tanh go by a result that has one
    by_result = half if activation in ("sigmoid", "tanh") else half / 16
    for got, right, below in ((y, want, half / 16), (leaf.grad, exact.grad, by_result)):
        np.testing.assert_allclose(
            got.detach().cpu().double().numpy(), right.detach().numpy(), rtol=1.1 * half, atol=below
        )


def test_the_same_bits_every_time():
    x, w = (lc.randn(200, 136, device="cuda").bfloat16() for _ in range(2))
    first = (x @ w.T).cpu().float().numpy()
    for _ in range(3):
        assert np.array_equal((x @ w.T).cpu().float().numpy(), first)


def test_a_training_step_fits():
    lc.manual_seed(0)
    x, t = lc.randn(64, 20), lc.randn(64, 3)
    losses = []
    for device in ("cpu", "cuda"):
        lc.manual_seed(1)
        w1, w2 = (lc.randn(*s).mul(0.3).to(device).requires_grad_() for s in ((32, 20), (3, 32)))
        history = []
        for _ in range(10):
            y = F.linear(lc.relu(F.linear(x.to(device), w1)), w2)
            loss = lc.square(y - t.to(device)).mean()
            loss.backward()
            with lc.no_grad():
                for w in (w1, w2):
                    w -= 0.1 * w.grad
                    w.grad = None
            history.append(loss.item())
        losses.append(history)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]


# ---- tf32 ------------------------------------------------------------------------------------------------------------


def to_tf32(x: np.ndarray) -> np.ndarray:
    """To 10 bits of mantissa, to nearest, halves away from zero."""
    return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)


@pytest.mark.parametrize("of_a, of_b", [("along", "across"), ("across", "along"), ("gaps", "gaps")])
@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (37, 29, 67), (130, 140, 200)])
def test_tf32_rounds_operands_and_nothing_else(m, n, k, of_a, of_b):
    rng = np.random.default_rng(14)
    a, b = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    for x in (a, b):
        x.view(np.uint32)[...] |= 1  # no halves: wgmma's operands are rounded by the copy engine, halves to even
    ta, tb = to_tf32(a).astype(np.float64), to_tf32(b).astype(np.float64)
    lc.set_float32_matmul_precision("high")
    y = operand(a, lc.float32, of_a) @ operand(b, lc.float32, of_b)
    check.contraction(y.cpu(), ta @ tb, np.abs(ta) @ np.abs(tb), k)


def test_tf32_rounds_halves_away_from_zero_and_keeps_what_is_not_finite():
    ulp = 2.0**-10
    a = np.array([1 + ulp / 2, -1 - ulp / 2, 1 + ulp * 0.499, 1 + 1.5 * ulp, np.inf, -np.inf, np.nan], np.float32)
    lc.set_float32_matmul_precision("high")
    y = (lc.tensor(a[:, None]).cuda() @ lc.ones(1, 3, device="cuda")).cpu().numpy()
    want = np.array([1 + ulp, -1 - ulp, 1, 1 + 2 * ulp, np.inf, -np.inf, np.nan], np.float32)
    assert np.array_equal(y, np.repeat(want[:, None], 3, 1), equal_nan=True)


def test_tf32_is_off_until_asked_for():
    a, b = (lc.randn(*s, device="cuda") for s in ((40, 72), (72, 56)))
    before = (a @ b).cpu().numpy()
    assert lc.get_float32_matmul_precision() == "highest" and not lc.backends.cuda.matmul.allow_tf32
    lc.backends.cuda.matmul.allow_tf32 = True
    assert lc.get_float32_matmul_precision() == "high"
    rounded = (a @ b).cpu().numpy()
    assert not np.array_equal(rounded, before)
    assert np.array_equal((a @ b).cpu().numpy(), rounded)
    lc.set_float32_matmul_precision("medium")
    assert lc.backends.cuda.matmul.allow_tf32 and np.array_equal((a @ b).cpu().numpy(), rounded)
    lc.backends.cuda.matmul.allow_tf32 = False
    assert lc.get_float32_matmul_precision() == "highest"
    assert np.array_equal((a @ b).cpu().numpy(), before)
    with pytest.raises(ValueError, match="'highest', 'high' or 'medium', got 'low'"):
        lc.set_float32_matmul_precision("low")
    with pytest.raises(AttributeError):
        lc.backends.cuda.matmul.allow_fp8 = True


def test_tf32_and_captured_steps():
    """A step is recorded once for each precision, and none is changed within."""
    w = lc.randn(72, 56, device="cuda")
    step = lc.capture(lambda x: x @ w)
    for precision in ("highest", "high", "highest", "high") * 2:
        lc.set_float32_matmul_precision(precision)
        x = lc.randn(40, 72, device="cuda")
        assert np.array_equal(step(x).cpu().numpy(), (x @ w).cpu().numpy()), precision

    def turning(x: lc.Tensor) -> lc.Tensor:
        lc.set_float32_matmul_precision("high")
        return x @ w

    turning = lc.capture(turning)
    with pytest.raises(RuntimeError, match="set_float32_matmul_precision"):
        for _ in range(3):
            turning(x)
