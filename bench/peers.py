"""The peers: libraries with PyTorch's names, as `call(library, ...)` of a case wants them.

torch       as shipped
torch_best  channels_last convolutions, fused AdamW, and a C heap that keeps its memory instead of faulting it in anew
numpy       where it has the op: products, arithmetic, reductions; forward only

What must be set before a process starts is in ENVIRONMENT: `python -m bench` starts itself again with it.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

KEEP_HEAP = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40), "MALLOC_TOP_PAD_": str(64 << 20)}


def environment(peer: str, threads: int) -> dict[str, str]:
    return {"torch_best": KEEP_HEAP, "numpy": {"OPENBLAS_NUM_THREADS": str(threads)}}.get(peer, {})


def load(peer: str, threads: int) -> Any:
    """The library of that name; ImportError where it is not installed, KeyError where it is not known."""
    return {"torch": _torch, "torch_best": TorchBest, "numpy": NumPy}[peer](threads)


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

        def conv2d(*args: Any, **options: Any) -> Any:
            return torch.nn.Conv2d(*args, **options).to(memory_format=torch.channels_last)

        super().__init__(
            torch,
            from_numpy=lambda array: last(torch.from_numpy(array)),
            nn=Overlay(torch.nn, Conv2d=conv2d),
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
