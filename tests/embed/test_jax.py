"""littlecore.interop.jax against JAX's own functions: values, gradients, batches, under jit; what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")
import jax.numpy as jnp  # noqa: E402

from littlecore import kernels  # noqa: E402

lcj = pytest.importorskip("littlecore.interop.jax", exc_type=ImportError)  # no compiler


@pytest.fixture(autouse=True)
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def random(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape)


# ---- JAX's own ---------------------------------------------------------------------------------


def layer_norm(x: Any, w: Any = None, b: Any = None, eps: float = 1e-5) -> Any:
    y = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + eps)
    y = y if w is None else y * w
    return y if b is None else y + b


def rms_norm(x: Any, w: Any) -> Any:
    return x / jnp.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * w


def conv2d(x: Any, w: Any, b: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    pad = [(p, p) for p in padding]
    y = jax.lax.conv_general_dilated(x, w, stride, pad, rhs_dilation=dilation, feature_group_count=groups)
    return y + b[:, None, None]


def attention(q: Any, k: Any, v: Any, mask: Any = None, scale: float | None = None, causal: bool = False) -> Any:
    k, v = (jnp.repeat(a, q.shape[1] // a.shape[1], 1) for a in (k, v))
    s = q @ k.mT * (scale or q.shape[-1] ** -0.5)
    if causal:
        s = jnp.where(jnp.tri(*s.shape[-2:], dtype=bool), s, -jnp.inf)
    return jax.nn.softmax(s if mask is None else s + mask) @ v


def cross_entropy(x: Any, target: Any, weight: Any, ignore: int = -100) -> Any:
    scores = jax.nn.log_softmax(x, 1)
    seen = jnp.where(target == ignore, 0, target)
    loss = -jnp.take_along_axis(scores, seen[:, None], 1)[:, 0] * weight[seen]
    return jnp.where(target == ignore, 0, loss)


def batch_norm(x: Any, w: Any, b: Any) -> Any:
    mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    return (x - mean) / jnp.sqrt(var + 1e-5) * w[:, None] + b[:, None]


def max_pool2d(x: Any, kernel: Any, stride: int, padding: Any) -> Any:
    pad = [(0, 0), (0, 0), *((p, p) for p in padding)]
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, *kernel), (1, 1, stride, stride), pad)


def group_norm(x: Any, w: Any, b: Any) -> Any:
    return layer_norm(x.reshape(x.shape[0], 2, -1)).reshape(x.shape) * w[:, None] + b[:, None]


def rotary_embedding_forward(x: Any, angles: Any) -> Any:
    (a, b), cos, sin = jnp.split(x, 2, -1), jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


ANGLES = np.arange(10.0).reshape(5, 2)
ROWS = np.array([[0, 5], [5, 2]])
DROPPED = kernels.dropout_forward(np.ones((3, 4)), np.array([3, 1]), p=0.3)
CLASSES = np.array([[0, 2], [1, -100], [2, 2]])
CASES: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {  # ours, JAX's, arguments
    "matmul": (lcj.matmul, jnp.matmul, (random(2, 3, 4), random(4, 5))),
    "matmul_batches": (lcj.matmul, jnp.matmul, (random(2, 1, 3, 4), random(3, 4, 2))),
    "linear": (lcj.linear, lambda x, w, b: x @ w.T + b, (random(2, 3, 4), random(5, 4), random(5))),
    "linear_vector": (lcj.linear, lambda x, w: x @ w.T, (random(4), random(5, 4))),
    "conv2d": (
        lambda *a: lcj.conv2d(*a, stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
        lambda *a: conv2d(*a, (2, 1), (1, 0), (1, 2), 2),
        (random(2, 4, 5, 6), random(6, 2, 3, 2), random(6)),
    ),
    "softmax": (lambda x: lcj.softmax(x, dim=0), lambda x: jax.nn.softmax(x, 0), (random(3, 4),)),
    "log_softmax": (lambda x: lcj.softmax(x, log=True), jax.nn.log_softmax, (random(3, 4),)),
    "layer_norm": (
        lambda *a: lcj.layer_norm(*a, eps=1e-3),
        lambda *a: layer_norm(*a, eps=1e-3),
        (random(3, 5), random(5), random(5, seed=1)),
    ),
    "layer_norm_plain": (lcj.layer_norm, layer_norm, (random(2, 3, 5),)),
    "rms_norm": (lcj.rms_norm, rms_norm, (random(3, 5), random(5))),
    "attention": (
        lcj.attention,
        attention,
        (random(2, 4, 3, 5), random(2, 2, 4, 5), random(2, 2, 4, 2), random(1, 4, 3, 4)),
    ),
    "attention_masks": (
        lcj.attention,
        attention,
        (random(2, 2, 3, 5), random(2, 2, 4, 5), random(2, 2, 4, 2), random(2, 1, 3, 4)),
    ),
    "attention_causal": (
        lambda *a: lcj.attention(*a, scale=0.3, causal=True),
        lambda *a: attention(*a, scale=0.3, causal=True),
        (random(1, 2, 4, 4), random(1, 2, 4, 4, seed=1), random(1, 2, 4, 4, seed=2)),
    ),
    "cross_entropy": (
        lambda x, weight: lcj.cross_entropy(x, jnp.asarray(CLASSES), weight),
        lambda x, weight: cross_entropy(x, CLASSES, jax.lax.stop_gradient(weight)),
        (random(3, 4, 2), np.abs(random(4))),
    ),
    "gelu": (lcj.gelu, lambda x: jax.nn.gelu(x, approximate=False), (random(3, 4),)),
    "gelu_tanh": (lambda x: lcj.gelu(x, tanh=True), jax.nn.gelu, (random(3, 4),)),
    "relu": (lcj.relu, jax.nn.relu, (random(3, 4),)),
    "silu": (lcj.silu, jax.nn.silu, (random(3, 4),)),
    "sigmoid": (lcj.sigmoid, jax.nn.sigmoid, (random(3, 4),)),
    "tanh": (lcj.tanh, jnp.tanh, (random(3, 4),)),
    "batch_norm": (lcj.batch_norm, batch_norm, (random(4, 3, 2), random(3), random(3, seed=1))),
    "max_pool2d": (
        lambda x: lcj.max_pool2d(x, kernel=(3, 2), stride=2, padding=(1, 0)),
        lambda x: max_pool2d(x, (3, 2), 2, (1, 0)),
        (random(2, 3, 6, 6),),
    ),
    "avg_pool2d": (
        lambda x: lcj.avg_pool2d(x, kernel=(3, 2), stride=1),
        lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 3, 2), (1, 1, 1, 1), "VALID") / 6,
        (random(2, 3, 6, 6),),
    ),
    "dropout": (lambda x: lcj.dropout(x, jnp.array([3, 1]), p=0.3), lambda x: x * DROPPED, (random(3, 4),)),
    "linear_relu": (lcj.linear_relu, lambda x, w, b: jax.nn.relu(x @ w.T + b), (random(3, 4), random(5, 4), random(5))),
    "linear_gelu": (lcj.linear_gelu, lambda x, w: jax.nn.gelu(x @ w.T, False), (random(2, 3, 4), random(5, 4))),
    "linear_silu": (lcj.linear_silu, lambda x, w: jax.nn.silu(x @ w.T), (random(3, 4), random(5, 4))),
    "leaky_relu": (lcj.leaky_relu, jax.nn.leaky_relu, (random(3, 4),)),
    "elu": (lcj.elu, jax.nn.elu, (random(3, 4),)),
    "softplus": (lcj.softplus, jax.nn.softplus, (random(3, 4),)),
    "group_norm": (
        lambda *a: lcj.group_norm(*a, groups=2),
        group_norm,
        (random(2, 4, 3), random(4), random(4, seed=1)),
    ),
    "rotary_embedding": (
        lambda x: lcj.rotary_embedding(x, jnp.cos(ANGLES), jnp.sin(ANGLES)),
        lambda x: rotary_embedding_forward(x, ANGLES),
        (random(2, 5, 4),),
    ),
    "conv_transpose2d": (
        lambda *a: lcj.conv_transpose2d(*a, stride=2),
        lambda x, w, b: (
            jax.lax.conv_transpose(
                x, w, (2, 2), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW"), transpose_kernel=True
            )
            + b[:, None, None]
        ),
        (random(2, 4, 3, 5), random(4, 3, 3, 2), random(3)),
    ),
    "mse_loss": (lcj.mse_loss, lambda x, t: (x - t) ** 2, (random(3, 4), random(3, 4, seed=1))),
    "huber_loss": (
        lambda *a: lcj.huber_loss(*a, delta=0.7),
        lambda x, t: jnp.where(abs(x - t) <= 0.7, (x - t) ** 2 / 2, 0.7 * (abs(x - t) - 0.35)),
        (random(3, 4), random(3, 4, seed=1)),
    ),
    "binary_cross_entropy_with_logits": (
        lcj.binary_cross_entropy_with_logits,
        lambda x, t: (1 - t) * x + jax.nn.softplus(-x),
        (random(3, 4), random(3, 4, seed=1)),
    ),
    "embedding": (lambda w: lcj.embedding(w, ROWS), lambda w: w[ROWS], (random(6, 3),)),
}


def near(got: Any, want: Any) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


def with_gradients(f: Any, arguments: tuple[Any, ...]) -> Any:
    """y and its gradients by a scalar that sees every element."""

    def loss(*a: Any) -> Any:
        y = f(*a)
        return (y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)).sum(), y

    return jax.value_and_grad(loss, tuple(range(len(arguments))), has_aux=True)


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str):
    ours, theirs, arguments = CASES[name]
    arguments = tuple(map(jnp.asarray, arguments))
    want = with_gradients(theirs, arguments)(*arguments)
    near(with_gradients(ours, arguments)(*arguments), want)
    near(jax.jit(with_gradients(ours, arguments))(*arguments), want)


@pytest.mark.parametrize("name", CASES)
def test_batches(name: str):
    """Each argument batched alone, in front or at the end, then all: what single examples give, in a stack."""
    ours, _, arguments = CASES[name]
    f, n = jax.jit(with_gradients(ours, arguments)), len(arguments)
    for chosen in [*({i} for i in range(n)), set(range(n))][: n + (n > 1)]:
        axes = [(-1 if i % 2 else 0) if i in chosen else None for i in range(n)]
        examples = [[jnp.asarray(a * (1 + 0.1 * e * (i in chosen))) for i, a in enumerate(arguments)] for e in range(3)]
        batches = [
            examples[0][i] if axis is None else jnp.stack([a[i] for a in examples], axis) for i, axis in enumerate(axes)
        ]
        want = jax.tree.map(lambda *each: jnp.stack(each), *(f(*e) for e in examples))
        near(jax.jit(jax.vmap(f, axes))(*batches), want)


def test_a_batch_is_one_call_and_two_are_one_call():
    x, w = jnp.asarray(random(5, 6, 3, 4)), jnp.asarray(random(2, 4))
    twice = jax.vmap(jax.vmap(lambda x: lcj.linear(x, w)))
    near(twice(x), x @ w.T)
    program = str(jax.make_jaxpr(twice)(x))
    assert program.count("ffi_call[") == 1 and "scan" not in program


def test_the_gradient_of_a_mean_over_a_batch():
    x, w = jnp.asarray(random(5, 4)), jnp.asarray(random(3, 4))
    ours, theirs = (lambda w, f=f: jnp.tanh(jax.vmap(lambda x: f(w, x))(x)).mean() for f in (_ours, _theirs))
    near(jax.grad(ours)(w), jax.grad(theirs)(w))


def _ours(w: Any, x: Any) -> Any:
    return lcj.linear(x, w)


def _theirs(w: Any, x: Any) -> Any:
    return w @ x


def test_gradients_not_asked_for_are_not_computed():
    x, w = jnp.asarray(random(5, 4)), jnp.asarray(random(3, 4))

    def results_of_backward(argnums: Any) -> int:
        program = jax.make_jaxpr(jax.grad(lambda x, w: lcj.linear(x, w).sum(), argnums))(x, w)
        return max(len(e.outvars) for e in program.eqns if "ffi" in str(e) and len(e.invars) >= 3)

    assert results_of_backward((0, 1)) == 2 and results_of_backward(0) == 1


def test_adamw():
    p, g = jnp.asarray(random(4, 5)), jnp.asarray(random(4, 5, seed=1))
    m, v = jnp.zeros_like(p), jnp.zeros_like(p)
    kept = np.array(p)
    lr, beta1, beta2 = 0.1, 0.9, 0.999
    for step in (1, 2):
        exact_m, exact_v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        update = exact_m / (1 - beta1**step) / (jnp.sqrt(exact_v / (1 - beta2**step)) + 1e-8)
        want = (p * (1 - lr * 0.01) - lr * update, exact_m, exact_v)
        traced = jax.jit(lambda p, g, m, v, lr, step: lcj.adamw_step(p, g, m, v, lr=lr, step=step))
        for got in (lcj.adamw_step(p, g, m, v, lr=lr, step=step), traced(p, g, m, v, lr, step)):
            near(got, want)
        every = jax.vmap(traced, (0, 0, 0, 0, None, None))(p, g, m, v, lr, step)
        near(every, want)
        many = jax.vmap(traced, (None, None, None, None, 0, None))(p, g, m, v, jnp.array([lr, lr]), step)
        near(many, tuple(jnp.stack([a, a]) for a in want))
        if step == 1:
            assert np.array_equal(p, kept)  # nothing of the caller's was written
        p, m, v = want


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_narrow_types(dtype: str):
    with jax.enable_x64(False):
        x = jnp.asarray(random(64, 32), dtype)
        exact = np.asarray(jnp.asarray(x, "float32"), np.float64)
        exact = (exact - exact.mean(-1, keepdims=True)) / np.sqrt(exact.var(-1, keepdims=True) + 1e-5)
        y = lcj.layer_norm(x)
        assert y.dtype == dtype
        np.testing.assert_allclose(np.asarray(y, np.float64), exact, rtol=4 * float(jnp.finfo(dtype).eps), atol=1e-6)


def test_classes_of_32_bits():
    with jax.enable_x64(False):
        x, classes = jnp.asarray(random(3, 4, 2), jnp.float32), jnp.asarray(CLASSES)
        assert classes.dtype == jnp.int32
        want = cross_entropy(x, CLASSES, jnp.ones(4))
        np.testing.assert_allclose(lcj.cross_entropy(x, classes), want, rtol=1e-5, atol=1e-6)
        got = jax.vmap(lcj.cross_entropy)(x[None], classes[None])[0]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        with pytest.raises(TypeError, match="target is float32, needs integers"):
            lcj.cross_entropy(x, classes.astype(jnp.float32))


def test_places_of_32_bits():
    with jax.enable_x64(False):
        x = jnp.asarray(random(2, 3, 6, 6), jnp.float32)
        ours = jax.grad(lambda x: (lcj.max_pool2d(x, kernel=2) ** 2).sum())
        theirs = jax.grad(lambda x: (max_pool2d(x, (2, 2), 2, (0, 0)) ** 2).sum())
        np.testing.assert_allclose(ours(x), theirs(x), rtol=1e-6)


def test_refusals():
    x, w = jnp.ones((3, 4)), jnp.ones((5, 4))
    with pytest.raises(
        jax.errors.JaxRuntimeError, match=r"linear_forward: w has shape \[5, 3\], needs \[out=5, in=4\]"
    ):
        jax.block_until_ready(lcj.linear(x, w[:, :3]))
    with pytest.raises(jax.errors.JaxRuntimeError, match="gelu_forward: x is int64"):
        jax.block_until_ready(lcj.gelu(jnp.ones(3, int)))
    with pytest.raises(TypeError, match="eps must be a Python number, is traced; mark it static"):
        jax.jit(lambda x, eps: lcj.layer_norm(x, eps=eps))(x, 0.1)
    with pytest.raises(TypeError, match="linear_forward: w is missing"):
        lcj.linear(x)
    with pytest.raises(TypeError, match="has no argument 'epsilon'"):
        lcj.layer_norm(x, epsilon=1)
    with pytest.raises(TypeError, match="adamw_step: lr is missing"):
        lcj.adamw_step(x, x, x, x, step=1)
    with pytest.raises(ValueError, match="cannot be differentiated"):
        jax.grad(lambda x: jax.grad(lambda x: lcj.gelu(x).sum())(x).sum())(x)


def test_kernels_outside_of_jit():
    x = jnp.ones((3, 4))
    with pytest.raises(ValueError, match="y is written, but JAX's arrays never change"):
        kernels.relu_forward(x, out=jnp.zeros((3, 4)))
    with pytest.raises(TypeError, match="traced by jit, grad or vmap goes to littlecore"):
        jax.jit(kernels.relu_forward)(x)


def test_no_compiler_is_said(tmp_path: Any):
    code = "import littlecore.interop.jax"
    for compiler, says in (("/no/such/cc", "there is no /no/such/cc; set CC"), ("false", "failed")):
        env = {**os.environ, "CC": compiler, "XDG_CACHE_HOME": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.returncode == 1 and "ImportError: littlecore.interop.jax" in done.stderr and says in done.stderr
    assert not list(tmp_path.rglob("*.so"))


def test_jax_and_torch_in_one_process():
    pytest.importorskip("torch")
    for order in (("jax", "torch"), ("torch", "jax")):
        code = f"""
import littlecore.interop.{order[0]}, littlecore.interop.{order[1]}
import jax.numpy as jnp, torch
from concurrent.futures import ThreadPoolExecutor
from littlecore.interop import jax as lcj
a = torch.ops.littlecore.matmul_forward(torch.ones(300, 300), torch.ones(300, 300))
with ThreadPoolExecutor(4) as pool:
    for b in pool.map(lambda n: lcj.matmul(jnp.ones((300, 300)), jnp.full((300, 300), float(n))), range(8)):
        a = a + torch.from_dlpack(b)
print(a.mean().item())
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert float(done.stdout) == 300 * (1 + sum(range(8)))
