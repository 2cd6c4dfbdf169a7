"""littlecore: deep learning on kernels of its own, forward and backward, small enough to read.

The names are PyTorch's: ``littlecore.tensor``, ``littlecore.nn``, ``littlecore.optim``. ``data``, ``train`` and
``models`` are loaded when first used, so that ``import littlecore`` costs little.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from littlecore import _core, memory
from littlecore._core import *  # noqa: F403  its __all__: the ops, dtypes and devices, by name
from littlecore._core import Tensor, __version__, device, dtype, set_num_threads
from littlecore.tensor import allclose, equal

if TYPE_CHECKING:
    from littlecore import amp, autograd, backends, cuda, data, models, nn, optim, train

get_num_threads = _core.num_threads
tensor = _core.tensor  # the function, not the module of that name

_LAZY = {
    "amp",
    "autograd",
    "backends",
    "book",
    "cli",
    "cuda",
    "data",
    "interop",
    "kernels",
    "models",
    "nn",
    "optim",
    "train",
}
_FROM_AUTOGRAD = {"capture", "no_grad", "enable_grad", "set_grad_enabled", "is_grad_enabled", "inference_mode"}
# PyTorch's short names, here because they would hide Python's own in the module itself
_DTYPE_ALIASES = {
    "float": "float32",
    "double": "float64",
    "half": "float16",
    "long": "int64",
    "int": "int32",
    "bool": "bool_",
}


def __getattr__(name: str) -> Any:
    if name in _DTYPE_ALIASES:
        return getattr(_core, _DTYPE_ALIASES[name])
    if name in _LAZY:
        return importlib.import_module(f"littlecore.{name}")
    if name in _FROM_AUTOGRAD:
        # kept, for a forward of a small network takes no longer than a few of these look-ups
        return globals().setdefault(name, getattr(importlib.import_module("littlecore.autograd"), name))
    if name == "autocast":
        return getattr(importlib.import_module("littlecore.amp"), name)
    raise AttributeError(f"module 'littlecore' has no attribute {name!r}")


def __dir__() -> list[str]:
    here = {"allclose", "autocast", "equal", "get_num_threads", "memory", "show_config", "__version__"}
    return sorted({*_core.__all__, *_LAZY, *_FROM_AUTOGRAD, *_DTYPE_ALIASES, *here})


def show_config() -> str:
    """What this build is and what it uses on this machine: version, compiler, instruction set, threads."""
    return (
        f"littlecore {__version__}, built with {_core.__compiler__}\n"
        f"instruction set: {_core.isa()} (available: {', '.join(_core.available_isas())})\n"
        f"threads: {get_num_threads()}\n"
        f"devices: cpu, {_core.cuda_device_details(0) if _core.cuda_is_available() else _core.cuda_why_not()}"
    )
