"""The custom ops of littlecore.interop.torch, compiled where build_torch has done so, else in Python."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Any

import torch

from littlecore import _kernels as _core_kernels  # type: ignore[attr-defined]
from littlecore import kernels as _kernels
from littlecore.interop import build_torch
from littlecore.interop._signature import SIGNATURES, Argument, Signature

_library = torch.library.Library("littlecore", "DEF")
_TYPES = {"double": "float", "int": "int", "bool": "bool", "int2": "int[2]"}
_DEFAULTS = {"bool": {"0": "False", "1": "True"}}


def _schema(s: Signature) -> str:
    arguments = []
    for i, a in enumerate(s.inputs):
        kind = f"Tensor({chr(97 + i)}!)" if a.in_place else "Tensor"
        last = all(b.optional for b in s.inputs[i:]) and all(o.default is not None for o in s.options)
        arguments.append(f"{kind}{'?' if a.optional else ''} {a.name}{'=None' if last else ''}")
    for o in s.options:
        default = "" if o.default is None else "=" + _DEFAULTS.get(o.kind, {}).get(o.default, o.default)
        arguments.append(f"{_TYPES[o.kind]} {o.name}{default}")
    if any(a.optional for a in s.outputs):
        arguments.append("bool[]? needs=None")
    results = ", ".join("Tensor" for _ in s.outputs)
    return f"{s.name}({', '.join(arguments)}) -> {results if len(s.outputs) == 1 else f'({results})'}"


def _split(s: Signature, args: tuple[Any, ...]) -> tuple[tuple[Any, ...], tuple[Any, ...], list[bool]]:
    """Tensors, options, and which outputs are wanted: the others come back empty. Usual values may be left out."""
    n, m = len(s.inputs), len(s.options)
    usual = (None,) * n + tuple(o.usual for o in s.options) + (None,)
    args += usual[len(args) :]
    needs = [True] * len(s.outputs) if args[n + m] is None else list(args[n + m])
    if len(needs) != len(s.outputs):
        raise ValueError(f"{s.name}: needs has {len(needs)} entries, there are {len(s.outputs)} outputs")
    for o, value in zip(s.options, args[n : n + m], strict=True):
        if o.kind == "int2" and len(value) != 2:
            raise ValueError(f"{s.name}: {o.name} takes two integers, is {list(value)}")
    return args[:n], args[n : n + m], needs


def _laid_out(a: Argument, x: torch.Tensor | None) -> torch.Tensor | None:
    if x is None or a.in_place or a.layout == "~" or (a.layout == "~1" and x.dim() and x.stride(-1) == 1):
        return x
    return x.contiguous()


def _run(s: Signature, *args: Any) -> Any:
    tensors, options, needs = _split(s, args)
    arrays = [_laid_out(a, x) for a, x in zip(s.inputs, tensors, strict=True)]
    named = {o.name: value for o, value in zip(s.options, options, strict=True)}
    call = getattr(_kernels, s.name)
    if all(needs) or len(s.outputs) == 1:
        got = call(*arrays, **named)
    else:
        out = tuple(None if need or not a.optional else False for a, need in zip(s.outputs, needs, strict=True))
        got = call(*arrays, **named, out=out)
    if len(s.outputs) <= 1:
        return got
    return tuple(tensors[0].new_empty(0) if x is None else x for x in got)


def _fake(s: Signature, *args: Any) -> Any:
    tensors, options, needs = _split(s, args)
    first = tensors[0]
    wide = torch.float64 if first.dtype == torch.float64 else torch.float32
    shapes = s.output_shapes([None if x is None else tuple(x.shape) for x in tensors], options)
    made = []
    for a, shape, need in zip(s.outputs, shapes, needs, strict=True):
        if any(isinstance(size, int) and size < 0 for size in shape or ()):
            raise ValueError(f"{s.name}: these arguments leave {a.name} of shape {list(shape or ())}")
        skipped = a.optional and (not need or shape is None or _is_gradient_of_bool(s, a, tensors))
        dtype = {"acc": wide, "int64": torch.int64}.get(a.dtype, first.dtype)
        made.append(first.new_empty(0 if skipped or shape is None else shape, dtype=first.dtype if skipped else dtype))
    return made[0] if len(made) == 1 else tuple(made) if made else None


def _is_gradient_of_bool(s: Signature, a: Argument, tensors: tuple[Any, ...]) -> bool:
    of = next((x for i, x in zip(s.inputs, tensors, strict=True) if a.axes == ("=" + i.name,)), None)
    return of is not None and of.dtype == torch.bool


def _differentiate(forward: Signature, backward: Signature) -> None:
    """Backward's first input is the gradient of forward's first output, the others are named; d<x> belongs to x."""
    op = getattr(torch.ops.littlecore, backward.name)
    given = [a.name for a in forward.inputs]
    made = [a.name for a in forward.outputs]
    saved = [a.name for a in backward.inputs[1:]]

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        results = output if isinstance(output, tuple) else (output,)
        tensors, options, _ = _split(forward, inputs)
        known = dict(zip(made, results, strict=True)) | dict(zip(given, tensors, strict=True))
        ctx.save_for_backward(*(known[name] for name in saved))
        ctx.options = options
        ctx.mark_non_differentiable(*results[1:])
        ctx.set_materialize_grads(False)

    def formula(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        asked = ctx.needs_input_grad  # no longer than the arguments that were given
        none = (None,) * len(asked)
        if gradients[0] is None:
            return none
        need = {f"d{name}": wanted for name, wanted in zip(given, asked, strict=False)}
        needs = [need.get(a.name, False) for a in backward.outputs]
        extra = [needs] if any(a.optional for a in backward.outputs) else []
        shared = {o.name for o in backward.options}
        options = [v for o, v in zip(forward.options, ctx.options, strict=True) if o.name in shared]
        got = op(gradients[0], *ctx.saved_tensors, *options, *extra)
        got = got if isinstance(got, (tuple, list)) else (got,)
        by_name = {a.name: g for a, g, n in zip(backward.outputs, got, needs, strict=True) if n}
        return (*(by_name.get(f"d{name}") for name in given), *none)[: len(asked)]

    torch.library.register_autograd(f"littlecore::{forward.name}", formula, setup_context=setup_context, lib=_library)


def _refuse(name: str) -> None:
    def formula(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError(f"littlecore::{name} has no derivative: a gradient of a gradient was asked for")

    torch.library.register_autograd(f"littlecore::{name}", formula, lib=_library)


def _in_python(s: Signature) -> None:
    for device in ("CPU", "CUDA"):
        _library.impl(s.name, lambda *args: _run(s, *args), device)
    if s.name.endswith("_forward"):
        _differentiate(s, SIGNATURES[s.name.replace("_forward", "_backward")])
    elif s.name.endswith("_backward"):
        _refuse(s.name)


def _in_cpp(library: str) -> None:
    torch.ops.load_library(library)
    arrays = ctypes.c_char.in_dll(ctypes.CDLL(library), "littlecore_torch_arrays")
    _core_kernels._use_for_torch(ctypes.addressof(arrays))


def _define(s: Signature) -> None:
    _library.define(_schema(s))
    torch.library.register_fake(f"littlecore::{s.name}", lambda *args: _fake(s, *args), lib=_library)


for _s in SIGNATURES.values():
    _define(_s)
compiled = build_torch.library().exists()
if compiled:
    _in_cpp(str(build_torch.library()))
else:
    for _s in SIGNATURES.values():
        _in_python(_s)
ops = torch.ops.littlecore


def _share_threads() -> None:
    """Littlecore on PyTorch's OpenMP threads: of two pools, each would spin on the cores that the other works on."""
    if torch.backends.openmp.is_available():
        with contextlib.suppress(AttributeError):  # another OpenMP, without libgomp's functions
            start = ctypes.CDLL(None).GOMP_parallel
            _core_kernels._use_openmp(ctypes.cast(start, ctypes.c_void_p).value)


_share_threads()
