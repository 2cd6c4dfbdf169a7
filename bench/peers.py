"""The peers: libraries with PyTorch's names, as `call(library, ...)` of a case wants them.

torch       as shipped
torch_best  channels_last convolutions, fused AdamW, and a C heap that keeps its memory instead of faulting it in anew
torch_compile  the call, or a model's forward and backward, by Inductor; fused AdamW
numpy       where it has the op: products, arithmetic, reductions; forward only
jax         where it has the op, under jit; backward is the function that jax.vjp returns

What must be set before a process starts is in ENVIRONMENT: `python -m bench` starts itself again with it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bench import harness

KEEP_HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20)}


def environment(peer: str, threads: int) -> dict[str, str]:
    # OpenBLAS's threads yield in a loop for 25 ms after each call: 2^4 cycles, or they take the other core from us
    openblas = {"OPENBLAS_NUM_THREADS": str(threads), "OPENBLAS_THREAD_TIMEOUT": "4"}
    return {"torch_best": KEEP_HEAP, "numpy": openblas}.get(peer, {})


def load(peer: str, threads: int) -> Any:
    """The library of that name; ImportError where it is not installed, KeyError where it is not known."""
    return {"torch": _torch, "torch_best": TorchBest, "torch_compile": TorchCompile, "numpy": NumPy, "jax": Jax}[peer](
        threads
    )


def _torch(threads: int) -> Any:
    import torch

    torch.set_num_threads(threads)
    return torch


class Overlay:
    """A module with some names replaced."""

    def __init__(self, module: Any, **names: Any) -> None:
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class TorchBest(Overlay):
    def __init__(self, threads: int) -> None:
        torch = _torch(threads)

        def last(tensor: Any) -> Any:
            return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor

        class Conv2d(torch.nn.Conv2d):
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                self.to(memory_format=torch.channels_last)

        super().__init__(
            torch,
            from_numpy=lambda array: last(torch.from_numpy(array)),
            nn=Overlay(torch.nn, Conv2d=Conv2d),
            optim=Overlay(torch.optim, AdamW=functools.partial(torch.optim.AdamW, fused=True)),
        )


class NumPy:
    partial = True  # a case that wants another name, or a gradient, goes on without this peer

    def __init__(self, threads: int) -> None:
        def along(reduction: Any) -> Any:
            return lambda x, dim=None: reduction(x, axis=dim)

        self.__version__ = np.__version__
        self.from_numpy = lambda array: array
        for name in ("matmul", "add", "maximum", "where", "exp", "log", "sqrt", "tanh"):
            setattr(self, name, getattr(np, name))
        for name in ("sum", "mean", "amax", "argmax", "prod", "cumsum"):
            setattr(self, name, along(getattr(np, name)))
        self.mul, self.div = np.multiply, np.divide
        self.relu = lambda x: np.maximum(x, 0)
        self.var = along(functools.partial(np.var, ddof=1))


class TorchCompile(Overlay):
    partial = True

    def __init__(self, threads: int) -> None:
        torch = _torch(threads)
        super().__init__(torch, optim=Overlay(torch.optim, AdamW=functools.partial(torch.optim.AdamW, fused=True)))

    def compiled(self, call: Any, inputs: list[Any]) -> tuple[Any, list[Any]]:
        """A call that trains or asks a model: with its model compiled; any other is compiled itself."""
        torch = self._module
        if isinstance(inputs[0], torch.nn.Module):
            return call, [torch.compile(inputs[0]), *inputs[1:]]
        return torch.compile(call, dynamic=False), inputs


class Jax:
    partial = True

    def __init__(self, threads: int) -> None:
        import jax
        import jax.numpy as jnp

        def along(reduction: Any) -> Any:
            return lambda x, dim=None: reduction(x, axis=dim)

        self.__version__, self._jax = jax.__version__, jax
        self.from_numpy = jnp.asarray
        for name in ("matmul", "maximum", "where", "exp", "log", "sqrt", "tanh"):
            setattr(self, name, getattr(jnp, name))
        for name in ("sum", "mean", "amax", "argmax", "prod", "cumsum"):
            setattr(self, name, along(getattr(jnp, name)))
        self.add, self.mul, self.div = jnp.add, jnp.multiply, jnp.divide
        self.relu, self.sigmoid, self.erf = jax.nn.relu, jax.nn.sigmoid, jax.scipy.special.erf
        self.logsumexp, self.var = along(jax.nn.logsumexp), along(functools.partial(jnp.var, ddof=1))
        self.nn = Overlay(None, functional=JaxFunctions(jax))

    def prepare(self, case: Any, direction: str, arrays: list[np.ndarray]) -> Any:
        """The call jitted, its result waited for."""
        jax, inputs = self._jax, [self.from_numpy(a) for a in arrays]
        if case.setup is not None:
            raise AttributeError("its modules are of another kind")
        if direction == "forward":
            run = jax.jit(functools.partial(case.call, self))
            return lambda: jax.block_until_ready(run(*inputs))
        floats = [i for i, x in enumerate(inputs) if x.dtype == np.float32]

        def of(*leaves: Any) -> Any:
            given = dict(zip(floats, leaves, strict=True))
            return case.call(self, *(given.get(i, x) for i, x in enumerate(inputs)))

        leaves = [inputs[i] for i in floats]
        y = of(*leaves)
        dy = self.from_numpy(harness.gradient(y.shape) if y.ndim else np.ones((), np.float32))
        pull, apply = jax.jit(lambda *leaves: jax.vjp(of, *leaves)[1])(*leaves), jax.jit(lambda pull, dy: pull(dy))
        return lambda: jax.block_until_ready(apply(pull, dy))


class JaxFunctions:
    """torch.nn.functional's, as far as benches call them."""

    def __init__(self, jax: Any) -> None:
        import jax.numpy as jnp

        self.silu, self.softmax, self.log_softmax = jax.nn.silu, jax.nn.softmax, jax.nn.log_softmax
        self.embedding = lambda i, w: w[i]
        self.linear = lambda x, w, b=None: x @ w.T if b is None else x @ w.T + b
        self.gelu = lambda x, approximate="none": jax.nn.gelu(x, approximate=approximate == "tanh")
        self._jax, self._jnp = jax, jnp

    def layer_norm(self, x: Any, shape: tuple[int, ...], w: Any, b: Any) -> Any:
        mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) * self._jax.lax.rsqrt(var + 1e-5) * w + b

    def rms_norm(self, x: Any, shape: tuple[int, ...], w: Any) -> Any:
        epsilon = np.finfo(np.float32).eps
        return x * self._jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + epsilon) * w

    def batch_norm(self, x: Any, mean: None, var: None, w: Any, b: Any, training: bool) -> Any:
        centre, spread = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        return (x - centre) * (self._jax.lax.rsqrt(spread + 1e-5) * w[:, None, None]) + b[:, None, None]

    def cross_entropy(self, x: Any, target: Any) -> Any:
        chosen = self._jnp.take_along_axis(x, target[:, None], 1)[:, 0]
        return (self._jax.nn.logsumexp(x, axis=1) - chosen).mean()

    def scaled_dot_product_attention(self, q: Any, k: Any, v: Any, is_causal: bool = False) -> Any:
        scores = q @ k.mT / np.sqrt(q.shape[-1]).astype(np.float32)
        if is_causal:
            scores = self._jnp.where(np.tri(q.shape[-2], k.shape[-2], dtype=bool), scores, -np.inf)
        return self.softmax(scores, -1) @ v

    def conv2d(self, x: Any, w: Any, b: Any, stride: int, padding: int, dilation: int, groups: int) -> Any:
        y = self._jax.lax.conv_general_dilated(
            x, w, (stride, stride), [(padding, padding)] * 2, feature_group_count=groups
        )
        return y + b[:, None, None]
