"""littlecore.kernels on NumPy, PyTorch and littlecore arrays: values against float64, bits against our own ops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from frameworks import back, near, random, torch
from reference.attention import attention_backward, attention_forward, causal_mask
from reference.conv2d import conv2d_backward, conv2d_forward
from reference.layer_norm import layer_norm_backward, layer_norm_forward

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import kernels

# ---- every pair against float64 ----------------------------------------------------------------


def test_matmul(array):
    a, b, dy = random(3, 4, 5), random(5, 6, seed=1), random(3, 4, 6, seed=2)
    y = kernels.matmul_forward(array(a), array(b))
    assert isinstance(y, array.type)
    near(y, a @ b)
    da, db = kernels.matmul_backward(array(dy), array(a), array(b))
    near(da, dy @ b.T)
    near(db, np.einsum("bij,bik->jk", a, dy))


@pytest.mark.parametrize(
    "shape_a, shape_b",
    [((2, 3), (3, 4)), ((2, 1, 3, 4), (5, 4, 2)), ((4, 2, 3), (1, 3, 2)), ((0, 3), (3, 2)), ((2, 0), (0, 3))],
)
def test_matmul_broadcasts(shape_a, shape_b):
    a, b = random(*shape_a), random(*shape_b, seed=1)
    y = a @ b
    dy = random(*y.shape, seed=2)
    near(kernels.matmul_forward(a, b), y)
    ta, tb = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    (ta @ tb).backward(torch.from_numpy(dy))
    for got, want in zip(kernels.matmul_backward(dy, a, b), (ta.grad, tb.grad), strict=True):
        near(got, want.numpy())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_matmul_sums_16_bits_in_float32(dtype: Any):
    a, b, dy = (torch.from_numpy(random(*shape)).to(dtype) for shape in [(3, 1, 70, 4), (6, 4, 2), (3, 6, 70, 2)])
    wide_a, wide_b = (x.double().requires_grad_() for x in (a, b))
    (wide_a @ wide_b).backward(dy.double())
    for got, want in zip(kernels.matmul_backward(dy, a, b), (wide_a.grad, wide_b.grad), strict=True):
        unit = torch.finfo(dtype).eps / 2 * want.abs()  # one rounding, of the result
        assert got.dtype == dtype and ((got.double() - want).abs() <= 1.1 * unit + 1e-5).all()


def test_matmul_reads_strides():
    a, b = random(5, 4), random(6, 5, seed=1)
    near(kernels.matmul_forward(a.T, b.T), a.T @ b.T)
    near(kernels.matmul_forward(a.T[::-1, ::2], b.T[::2]), a.T[::-1, ::2] @ b.T[::2])


def test_linear(array):
    x, w, b, dy = random(2, 3, 5), random(4, 5, seed=1), random(4, seed=2), random(2, 3, 4, seed=3)
    near(kernels.linear_forward(array(x), array(w), array(b)), x @ w.T + b)
    near(kernels.linear_forward(array(x), array(w)), x @ w.T)
    dx, dw, db = kernels.linear_backward(array(dy), array(x), array(w))
    near(dx, dy @ w)
    near(dw, np.einsum("bio,bik->ok", dy, x))
    near(db, dy.sum((0, 1)))


@pytest.mark.parametrize("how", [{}, {"stride": 2, "padding": (1, 0)}, {"dilation": (2, 1), "groups": 2}])
def test_conv2d(array, how: dict[str, Any]):
    groups = how.get("groups", 1)
    x, w, b = random(2, 4, 9, 8), random(6, 4 // groups, 3, 2, seed=1), random(6, seed=2)
    pair = {k: (v, v) if isinstance(v, int) else v for k, v in how.items() if k != "groups"}
    pair["pad"] = pair.pop("padding", (0, 0))
    y = conv2d_forward(x, w, b, groups=groups, **pair)
    near(kernels.conv2d_forward(array(x), array(w), array(b), **how), y)
    dy = random(*y.shape, seed=3)
    got = kernels.conv2d_backward(array(dy), array(x), array(w), **how)
    for g, want in zip(got, conv2d_backward(dy, x, w, groups=groups, **pair), strict=True):
        near(g, want)


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("log", [False, True])
def test_softmax(array, dim: int, log: bool):
    x, dy = random(3, 4, 5), random(3, 4, 5, seed=1)
    t = torch.tensor(x, requires_grad=True)
    want = (torch.log_softmax if log else torch.softmax)(t, dim)
    want.backward(torch.from_numpy(dy))
    y = kernels.softmax_forward(array(x), dim=dim, log=log)
    near(y, want.detach().numpy())
    near(kernels.softmax_backward(array(dy), y, dim=dim, log=log), t.grad.numpy())


def test_layer_norm(array):
    x, w, b, dy = random(2, 3, 7), random(7, seed=1), random(7, seed=2), random(2, 3, 7, seed=3)
    y, *saved = kernels.layer_norm_forward(array(x), array(w), array(b), eps=1e-3)
    near(y, layer_norm_forward(x, w, b, 1e-3))
    near(saved[0] + saved[1], x.mean(-1))
    want = layer_norm_backward(dy, x, w, 1e-3)
    for got, exact in zip(kernels.layer_norm_backward(array(dy), array(x), array(w), *saved), want, strict=True):
        near(got, exact)
    dx, dw, db = kernels.layer_norm_backward(array(dy), array(x), array(w), *saved, out=(None, False, None))
    assert dw is None
    near(dx, want[0])
    near(db, want[2])


def test_rms_norm(array):
    x, w, dy = random(4, 6), random(6, seed=1), random(4, 6, seed=2)
    tx, tw = torch.tensor(x, requires_grad=True), torch.tensor(w, requires_grad=True)
    want = torch.nn.functional.rms_norm(tx, (6,), tw, 1e-6)
    want.backward(torch.from_numpy(dy))
    y, rstd = kernels.rms_norm_forward(array(x), array(w))
    near(y, want.detach().numpy())
    dx, dw = kernels.rms_norm_backward(array(dy), array(x), array(w), rstd)
    near(dx, tx.grad.numpy())
    near(dw, tw.grad.numpy())


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(array, shape: tuple[int, ...], training: bool):
    x, w, b, dy = random(*shape) + 3, random(3, seed=1), random(3, seed=2), random(*shape, seed=3)
    running = random(3, seed=4), np.abs(random(3, seed=5)) + 0.1
    tx, tw, tb = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
    want = torch.nn.functional.batch_norm(tx, *map(torch.tensor, running), tw, tb, training, eps=1e-3)
    want.backward(torch.from_numpy(dy))
    used = () if training else tuple(map(array, running))
    y, *saved = kernels.batch_norm_forward(*map(array, (x, w, b)), *used, training=training, eps=1e-3)
    near(y, want.detach().numpy())
    axes = (0, *range(2, x.ndim))
    near(saved[0] + saved[1], x.mean(axes) if training else running[0])
    near(saved[2], x.var(axes) if training else running[1])
    how = {"training": training, "eps": 1e-3}
    got = kernels.batch_norm_backward(array(dy), array(x), array(w), *saved, **how)
    for g, t in zip(got, (tx, tw, tb), strict=True):
        near(g, t.grad.numpy())
    dx, dw, _ = kernels.batch_norm_backward(array(dy), array(x), array(w), *saved, **how, out=(False, None, None))
    assert dx is None
    near(dw, tw.grad.numpy())


def test_batch_norm_far_from_zero():
    """Two float32 hold the mean: the gradient is right where one would not do."""
    x, dy = (random(64, 2) + 1e4).astype("float32"), random(64, 2, seed=1).astype("float32")
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    torch.nn.functional.batch_norm(tx, None, None, training=True).backward(torch.from_numpy(dy).double())
    _, *saved = kernels.batch_norm_forward(x)
    dx, _, _ = kernels.batch_norm_backward(dy, x, None, *saved)
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "how",
    [
        {"kernel": 2},
        {"kernel": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True},
        {"kernel": 2, "dilation": 2},
    ],
)
def test_max_pool2d(array, how: dict[str, Any]):
    x = random(2, 3, 7, 8)
    names = {"kernel_size" if name == "kernel" else name: value for name, value in how.items()}
    t = torch.tensor(x, requires_grad=True)
    want, places = torch.nn.functional.max_pool2d(t, **names, return_indices=True)
    dy = random(*want.shape, seed=1)
    want.backward(torch.from_numpy(dy))
    y, index = kernels.max_pool2d_forward(array(x), **how)
    near(y, want.detach().numpy())
    assert np.array_equal(back(index), places.numpy())
    near(kernels.max_pool2d_backward(array(dy), array(x), index, **how), t.grad.numpy())


@pytest.mark.parametrize("masked", ["none", "causal", "added", "boolean"])
def test_attention(array, masked: str):
    q, k, v, do = (random(2, 4, 5, 3, seed=i) for i in (0, 1, 2, 3))
    k, v = k[:, :2].copy(), v[:, :2].copy()
    added = random(1, 4, 5, 5, seed=4)
    mask = {"added": added, "boolean": added > -1}.get(masked)
    full = (
        causal_mask(5, 5)
        if masked == "causal"
        else 0
        if mask is None
        else added
        if masked == "added"
        else np.where(mask, 0, -np.inf)
    )
    scale = 1 / np.sqrt(3)
    arrays = [array(t) for t in (q, k, v)] + ([] if mask is None else [array(mask)])
    o, lse = kernels.attention_forward(*arrays, causal=masked == "causal")
    near(o, attention_forward(q, k, v, scale, full))
    got = kernels.attention_backward(array(do), *arrays[:3], o, lse, *arrays[3:], causal=masked == "causal")
    want = attention_backward(do, q, k, v, scale, full)
    for g, exact in zip(got[:3], want[:3], strict=True):
        near(g, exact)
    if masked == "added":
        near(got[3], want[3].sum(0, keepdims=True))
    else:
        assert got[3] is None


def test_cross_entropy(array):
    x, target = random(6, 4, 3), np.random.default_rng(0).integers(0, 4, (6, 3))
    target[0, 1] = -100
    w = np.abs(random(4, seed=1)) + 0.1
    tx = torch.tensor(x, requires_grad=True)
    want = torch.nn.functional.cross_entropy(
        tx, torch.from_numpy(target), torch.from_numpy(w), reduction="none", label_smoothing=0.1
    )
    loss, top, total = kernels.cross_entropy_forward(array(x), array(target), array(w), smoothing=0.1)
    near(loss, want.detach().numpy())
    want.sum().backward()
    ones = np.broadcast_to(np.ones((1, 1)), (6, 3))  # one number for all
    for g in (ones, np.ones((6, 3))):
        dx = kernels.cross_entropy_backward(g, array(x), array(target), array(w), top, total, smoothing=0.1)
        near(dx, tx.grad.numpy())
    target[2, 2] = 4
    with pytest.raises(IndexError, match="target 4 is not a class"):
        kernels.cross_entropy_forward(array(x), array(target))


def test_elementwise(array):
    x, dy = random(3, 50), random(3, 50, seed=1)
    names = ("gelu", "relu", "silu", "sigmoid", "tanh")
    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        *((name, {}, {}) for name in names),
        ("gelu", {"tanh": True}, {"approximate": "tanh"}),
        ("leaky_relu", {"slope": 0.2}, {"negative_slope": 0.2}),
        ("elu", {"alpha": 0.7}, {"alpha": 0.7}),
        ("softplus", {"beta": 2.0, "threshold": 1.0}, {"beta": 2.0, "threshold": 1.0}),
    ]
    for name, how, theirs in cases:
        t = torch.tensor(x, requires_grad=True)
        want = getattr(torch.nn.functional, name)(t, **theirs)
        want.backward(torch.from_numpy(dy))
        y = getattr(kernels, f"{name}_forward")(array(x), **how)
        near(y, want.detach().numpy())
        saved = y if name in ("relu", "sigmoid", "tanh") else array(x)
        near(getattr(kernels, f"{name}_backward")(array(dy), saved, **how), t.grad.numpy())


@pytest.mark.parametrize("amsgrad", [False, True])
def test_adamw(writable, amsgrad: bool):
    p, m, v, top = random(40, 1000), *(np.zeros((40, 1000)) for _ in range(3))
    t = torch.nn.Parameter(torch.tensor(p))
    optimizer = torch.optim.AdamW([t], lr=0.1, betas=(0.8, 0.9), eps=1e-6, weight_decay=0.2, amsgrad=amsgrad)
    for step in (1, 2, 3):
        g = random(40, 1000, seed=step) / step**3
        t.grad = torch.from_numpy(g)
        optimizer.step()
        state = [writable(a) for a in (p, g, m, v)] + ([writable(top)] if amsgrad else [])
        done = kernels.adamw_step(*state, lr=0.1, step=step, beta1=0.8, beta2=0.9, eps=1e-6, weight_decay=0.2)
        assert done is None
    near(p, t.detach().numpy())


# ---- the same bits as littlecore's own ops ---------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_bits(dtype: str):
    def tensors(*shapes: tuple[int, ...]) -> list[Any]:
        return [lc.from_numpy(random(*s, seed=i, dtype="float32")).to(getattr(lc, dtype)) for i, s in enumerate(shapes)]

    def same(got: Any, want: Any) -> None:
        assert got.dtype == want.dtype and lc.equal(got, want.detach())

    a, b, dy = tensors((70, 600), (600, 40), (70, 40))
    a.requires_grad = b.requires_grad = True
    y = a @ b
    y.backward(dy)
    with lc.no_grad():
        same(kernels.matmul_forward(a, b), y)
        for got, want in zip(kernels.matmul_backward(dy, a, b), (a.grad, b.grad), strict=True):
            same(got, want)
    x, w, dy = tensors((30, 65), (65,), (30, 65))
    x.requires_grad = w.requires_grad = True
    y = F.rms_norm(x, (65,), w, 1e-6)
    y.backward(dy)
    with lc.no_grad():
        ours, rstd = kernels.rms_norm_forward(x, w)
        same(ours, y)
        for got, want in zip(kernels.rms_norm_backward(dy, x, w, rstd), (x.grad, w.grad), strict=True):
            same(got, want)


def test_bfloat16_crosses():
    x = torch.linspace(-2, 2, 33, dtype=torch.bfloat16)
    y = kernels.gelu_forward(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, torch.nn.functional.gelu(x))


# ---- where results go ------------------------------------------------------------------------------


def test_out(writable):
    x = random(5, 8, dtype="float32")
    y, base, rest, rstd = (writable(np.full(s, np.nan, "float32")) for s in ((5, 8), 5, 5, 5))
    got = kernels.layer_norm_forward(writable(x), out=(y, None, rest, rstd))
    assert got[0] is y and got[2] is rest and got[3] is rstd and got[1] is not base
    assert not np.isnan(back(y)).any()
    one = writable(np.empty((5, 8), "float32"))
    assert kernels.relu_forward(writable(x), out=one) is one
    assert np.array_equal(back(one), np.maximum(x, 0))


def test_mixed_arguments_come_back_as_the_first():
    x, w = random(3, 4), random(5, 4, seed=1)
    assert type(kernels.linear_forward(x, torch.from_numpy(w))) is np.ndarray
    assert type(kernels.linear_forward(torch.from_numpy(x), lc.from_numpy(w))) is torch.Tensor
    near(kernels.linear_forward(memoryview(x), w), x @ w.T)


def test_results_outlive_their_arguments():
    def make() -> Any:
        return kernels.relu_forward(torch.ones(1000)), kernels.relu_forward(lc.ones(1000))

    for y in make():
        torch.ones(1000), lc.zeros(1000)
        assert float(y.sum()) == 1000


def test_writing_is_noticed():
    x = torch.ones(3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    with torch.no_grad():
        kernels.relu_forward(torch.ones(3), out=y)
    with pytest.raises(RuntimeError, match="inplace operation"):
        z.backward()
    x = lc.ones(3, requires_grad=True)
    y = x * 2
    z = (y * y).sum()
    with lc.no_grad():
        kernels.relu_forward(lc.ones(3), out=y)
    with pytest.raises(RuntimeError):
        z.backward()
