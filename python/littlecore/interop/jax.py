"""Littlecore's kernels in JAX: jit, grad and vmap see through them.

    from littlecore.interop import jax as lcj

    y = lcj.layer_norm(x, w, b, eps=1e-6)                  # under jit, grad, vmap as any function of JAX
    dx = jax.grad(lambda x: lcj.gelu(lcj.linear(x, w, b)).sum())(x)
    p, m, v = lcj.adamw_step(p, g, m, v, lr=1e-3, step=t)  # new arrays; lr and step may be traced

Each takes the arrays of the forward kernel (``help(littlecore.kernels.layer_norm_forward)``) and its options by name,
and returns its first output. vmap runs one kernel on the whole batch; where arguments without an axis for it are
batched, such as weights, it runs one kernel for each. Options are Python numbers. Gradients of gradients are refused.
On a GPU the kernels go to XLA's stream, if littlecore was built with CUDA, and lr and step must be Python numbers.

The handler that XLA calls is C, in jax_ffi.c. The first import compiles it against jaxlib's own header with ``$CC`` or
``cc``, in less than a second, and keeps it in ``$XDG_CACHE_HOME/littlecore`` or ``~/.cache/littlecore``.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.custom_derivatives import SymbolicZero

from littlecore import kernels
from littlecore.interop import _compile
from littlecore.interop._signature import SIGNATURES, Argument, Signature

_IDS = {name: i for i, name in enumerate(SIGNATURES)}
_PAIRS = 1 << 16  # jax_ffi.c's kPairs


# ---- the handler -------------------------------------------------------------------------------


def _compiled() -> Path:
    source, headers = Path(__file__).with_name("jax_ffi.c"), Path(jax.ffi.include_dir())
    flags = ["-std=c11", "-O2", "-fPIC", "-shared", f"-I{headers}"]
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *flags, str(source), *_compile.USES_LITTLECORE, "-llittlecore"]
    library = _compile.place("jax_ffi", command, source, headers / "xla/ffi/api/c_api.h")
    if not library.exists():
        _compile.make(library, "littlecore.interop.jax", command)
    return library


_handlers = ctypes.CDLL(str(_compiled()))
for _platform, _handler in (("cpu", _handlers.littlecore_xla_ffi), ("CUDA", _handlers.littlecore_xla_ffi_cuda)):
    jax.ffi.register_ffi_target("littlecore", jax.ffi.pycapsule(_handler), platform=_platform)


# ---- one call ----------------------------------------------------------------------------------

Arrays = tuple[Any, ...]  # an array or None for each argument


def _bits(value: Any, kind: str) -> list[int]:
    if kind == "double":
        return [int(np.float64(value).view(np.int64))]
    return [int(v) for v in value] if kind == "int2" else [int(value)]


def _operand(a: Argument, x: Any) -> tuple[Any, int]:
    """The array as XLA has it, and the mark for the handler: without x64, int64 is made of pairs."""
    if a.dtype != "int64" or x.dtype == jnp.int64:
        return x, 0
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise TypeError(f"{a.name} is {x.dtype}, needs integers")
    x = x.astype(jnp.int32)
    return jnp.stack([x, x >> 31], axis=-1), _PAIRS


def _call(s: Signature, options: tuple[Any, ...], needs: tuple[bool, ...], arrays: Arrays, traced: Arrays) -> Arrays:
    """The kernel's outputs, None for what is not needed or makes no sense; then what it updates in place."""
    first = arrays[0]
    wide = jnp.float64 if first.dtype == jnp.float64 else jnp.float32
    operands: list[Any] = []
    results: list[jax.ShapeDtypeStruct] = []
    places, aliases = [], {}
    for a, x in zip(s.inputs, arrays, strict=True):
        if x is None:
            places.append(-1)
            continue
        operand, mark = _operand(a, x)
        if a.in_place:
            aliases[len(operands)] = len(results)
            results.append(jax.ShapeDtypeStruct(x.shape, x.dtype))
        places.append(len(operands) | mark)
        operands.append(operand)
    words = [word for o, value in zip(s.options, options, strict=True) for word in _bits(value or 0, o.kind)]
    extra = []
    for at, (o, x) in enumerate(zip(s.options, traced, strict=True)):
        if x is not None:  # no option before a traced one takes two words
            extra += [at, len(operands), o.kind == "double"]
            operands.append(x)
    shapes = s.output_shapes([None if x is None else x.shape for x in arrays], options)
    made = []
    for a, shape, need in zip(s.outputs, shapes, needs, strict=True):
        of = next((x for i, x in zip(s.inputs, arrays, strict=True) if a.axes == ("=" + i.name,)), None)
        skipped = shape is None or (a.optional and not need) or (of is not None and of.dtype == jnp.bool_)
        made.append(None if skipped else len(results))
        places.append(-1 if skipped else len(operands) + len(results))
        if shape is None or skipped:
            continue
        if a.dtype == "int64" and not jax.config.jax_enable_x64:
            places[-1] |= _PAIRS
            results.append(jax.ShapeDtypeStruct((*shape, 2), jnp.int32))
        else:
            dtype = {"acc": wide, "int64": jnp.int64}.get(a.dtype, first.dtype)
            results.append(jax.ShapeDtypeStruct(shape, dtype))
    call = np.array([_IDS[s.name], len(places), len(words), len(extra) // 3, *places, *words, *extra], np.int64)
    got = jax.ffi.ffi_call("littlecore", results, input_output_aliases=aliases)(*operands, call=call)
    outputs = tuple(None if i is None else got[i] for i in made)
    if not jax.config.jax_enable_x64:  # the lower halves: they count elements of a plane
        outputs = tuple(
            y[..., 0] if y is not None and a.dtype == "int64" else y for a, y in zip(s.outputs, outputs, strict=True)
        )
    return outputs + tuple(got[: len(aliases)])


# ---- batches -----------------------------------------------------------------------------------


def _leads(a: Argument) -> str:
    """How its first axis takes a batch: one axis more, "*", or a longer one, "n"; "" for not at all."""
    first = a.axes[0].rstrip("^") if a.axes[0] else ""
    return first if first == "*" else "n" if first in ("n", "batch") else ""


def _batched_at_once(
    s: Signature, options: tuple[Any, ...], needs: tuple[bool, ...], run: Any, size: int, batched: Any, arrays: Arrays
) -> Arrays | None:
    """run() with the batch as leading axes, None where the kernel has no place for them."""
    if s.name.startswith("dropout_"):
        return None  # every example counts the key's words from its own first element
    kinds = [_leads(a) for a in s.inputs]
    whole = {i.name for i, kind in zip(s.inputs, kinds, strict=True) if kind}
    alike = {a.axes[0] for a, need in zip(s.outputs, needs, strict=True) if need}
    for a, need in zip(s.outputs, needs, strict=True):
        of = a.axes[0].removeprefix("=") if a.axes[0].startswith("=") else None
        leads = of in whole and of != "mask" if of else _leads(a)
        if not leads and (need or not a.optional):
            return None
    if any(b and not kind for b, kind in zip(batched, kinds, strict=True)):
        return None
    lone = [None if x is None else x.shape[1:] if b else x.shape for b, x in zip(batched, arrays, strict=True)]
    stars = [len(x) - len(a.axes) for a, k, x in zip(s.inputs, kinds, lone, strict=True) if k == "*" and x is not None]
    rank = max(stars, default=0)

    def widened(a: Argument, kind: str, b: bool, x: Any, shape: Any) -> Any:
        if x is None or not kind:
            return x
        if not b and a.axes[0].endswith("^") and "=" + a.name not in alike and (kind == "*" or shape[0] == 1):
            return x  # broadcast by the kernel
        if not b:
            x = jnp.broadcast_to(x, (size, *shape))
        if kind == "*":
            return x.reshape(size, *(1,) * (rank - len(shape) + len(a.axes)), *shape)
        axis = next(other[0] for i, other in zip(s.inputs, lone, strict=True) if other and _leads(i) == "n")
        if shape[0] != axis:  # a batch of one, broadcast
            shape = (axis, *shape[1:])
            x = jnp.broadcast_to(x, (size, *shape))
        return x.reshape(size * shape[0], *shape[1:])

    wide = tuple(map(widened, s.inputs, kinds, batched, arrays, lone))
    got = run(wide, (None,) * len(options))  # by itself batched again, where vmap is nested
    shapes = s.output_shapes(lone, options) + [
        x for a, x in zip(s.inputs, lone, strict=True) if a.in_place and x is not None
    ]
    return tuple(None if y is None else y.reshape(size, *shape) for y, shape in zip(got, shapes, strict=True))


@functools.cache
def _vmappable(name: str, options: tuple[Any, ...], needs: tuple[bool, ...]) -> Callable[[Arrays, Arrays], Arrays]:
    s = SIGNATURES[name]

    @custom_vmap
    def run(arrays: Arrays, traced: Arrays) -> Arrays:
        return _call(s, options, needs, arrays, traced)

    @run.def_vmap
    def rule(size: int, batched: Any, arrays: Arrays, traced: Arrays) -> Any:
        got = None
        if all(x is None for x in traced):
            got = _batched_at_once(s, options, needs, run, size, [bool(b) for b in batched[0]], arrays)
        if got is None:
            flat, tree = jax.tree.flatten((arrays, traced))
            moving = [bool(b) for b in jax.tree.leaves(batched)]

            def one(parts: list[Any]) -> Arrays:
                left = iter(parts)
                mixed = [next(left) if b else x for b, x in zip(moving, flat, strict=True)]
                return run(*jax.tree.unflatten(tree, mixed))

            got = jax.lax.map(one, [x for b, x in zip(moving, flat, strict=True) if b])
        return got, jax.tree.map(lambda _: True, got)

    return run


# ---- gradients ---------------------------------------------------------------------------------


@functools.cache
def _differentiable(name: str, options: tuple[Any, ...]) -> Callable[..., Any]:
    forward = SIGNATURES[name]
    backward = SIGNATURES[name.replace("_forward", "_backward")]
    shared = {o.name for o in backward.options}
    kept = tuple(v for o, v in zip(forward.options, options, strict=True) if o.name in shared)
    run = _vmappable(name, options, (True,) * len(forward.outputs))
    none = (None,) * len(forward.options)

    @jax.custom_vjp
    def f(*arrays: Any) -> Any:
        return run(arrays, none)[0]

    def fwd(*given: Any) -> Any:
        arrays = tuple(None if x is None else x.value for x in given)
        results = run(arrays, none)
        known = dict(zip((a.name for a in forward.outputs), results, strict=True))
        known |= dict(zip((a.name for a in forward.inputs), arrays, strict=True))
        wanted = tuple(() if x is not None and x.perturbed else None for x in given)  # flags in the tree's own shape
        return results[0], (tuple(known[a.name] for a in backward.inputs[1:]), wanted)

    def bwd(residuals: Any, dy: Any) -> Any:
        saved, wanted = residuals
        if isinstance(dy, SymbolicZero):
            dy = jnp.zeros(dy.shape, dy.dtype)
        need = {f"d{a.name}": w is not None for a, w in zip(forward.inputs, wanted, strict=True)}
        needs = tuple(need.get(a.name, False) for a in backward.outputs)
        got = _vmappable(backward.name, kept, needs)((dy, *saved), (None,) * len(kept))
        by_name = {a.name: g for a, g, n in zip(backward.outputs, got, needs, strict=True) if n}
        return tuple(by_name.get(f"d{a.name}") for a in forward.inputs)

    f.defvjp(fwd, bwd, symbolic_zeros=True)
    return jax.jit(f)


# ---- what users call ---------------------------------------------------------------------------


def _number(name: str, kind: str, value: Any) -> Any:
    if kind == "int2":
        pair = (value, value) if isinstance(value, int) else tuple(value)
        if len(pair) != 2:
            raise ValueError(f"{name} takes one integer or two, is {value!r}")
        return tuple(int(v) for v in pair)
    if isinstance(value, jax.core.Tracer):
        raise TypeError(f"{name} must be a Python number, is traced; mark it static")
    return float(value) if kind == "double" else int(value)


def _read(s: Signature, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Arrays, tuple[Any, ...]]:
    if len(given) > len(s.inputs):
        raise TypeError(f"{s.name} takes {len(s.inputs)} arrays by position, got {len(given)}; options go by name")
    arrays = dict(zip((a.name for a in s.inputs), given, strict=False))
    for a in s.inputs:
        if a.name in named and a.name not in arrays:
            arrays[a.name] = named.pop(a.name)
        if arrays.setdefault(a.name, None) is None and not a.optional:
            raise TypeError(f"{s.name}: {a.name} is missing")
    options = tuple(named.pop(o.name, o.usual) for o in s.options)
    if named:
        raise TypeError(f"{s.name} has no argument {next(iter(named))!r}")
    missing = [o.name for o, value in zip(s.options, options, strict=True) if value is None]
    if missing:
        raise TypeError(f"{s.name}: {missing[0]} is missing")
    return tuple(None if x is None else jnp.asarray(x) for x in arrays.values()), options


def _function(s: Signature) -> Callable[..., Any]:
    def differentiable(*arrays: Any, **options: Any) -> Any:
        read, values = _read(s, arrays, options)
        values = tuple(_number(o.name, o.kind, v) for o, v in zip(s.options, values, strict=True))
        if s.name == "softmax_forward":  # counted from the end, so that a batch may go before
            values = (values[0] - read[0].ndim if values[0] >= 0 else values[0], *values[1:])
        return _differentiable(s.name, values)(*read)

    def step(*arrays: Any, **options: Any) -> Any:
        read, values = _read(s, arrays, options)
        traced = tuple(
            v.astype(float if o.kind == "double" else int) if isinstance(v, jax.Array) else None
            for o, v in zip(s.options, values, strict=True)
        )
        static = tuple(
            None if t is not None else _number(o.name, o.kind, v)
            for o, v, t in zip(s.options, values, traced, strict=True)
        )
        return _vmappable(s.name, static, ())(read, traced)

    function = differentiable if s.name.endswith("_forward") else step
    function.__name__ = function.__qualname__ = s.name.removesuffix("_forward")
    function.__doc__ = getattr(kernels, s.name).__doc__
    return function


__all__ = sorted(name.removesuffix("_forward") for name in SIGNATURES if not name.endswith("_backward"))
globals().update({name: _function(SIGNATURES.get(f"{name}_forward") or SIGNATURES[name]) for name in __all__})
