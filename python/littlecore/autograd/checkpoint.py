"""Activation checkpointing: keep the inputs of a stretch of layers, compute its inside again when backward needs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import _core
from .._core import Tensor
from .function import Function
from .grad_mode import enable_grad


def checkpoint(function: Callable[..., Any], *args: Any, preserve_rng_state: bool = True, **kwargs: Any) -> Any:
    """function(*args, **kwargs), its intermediate results not kept. Values and gradients are bit-identical.

    Backward runs the function a second time. preserve_rng_state: with the same random numbers, so that dropout drops
    the same elements. Tensors must be passed as arguments; parameters the function uses get their gradients as usual.
    """
    if not _core.grad_enabled():
        return function(*args, **kwargs)
    # Its gradient is never used: it makes the node exist where only parameters inside want gradients.
    anchor = _core.zeros(0).requires_grad_()
    return _Checkpoint.apply(anchor, function, preserve_rng_state, kwargs, *args)


class _Checkpoint(Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, function: Callable[..., Any], preserve: bool, kwargs: Any, *args: Any) -> Any:
        ctx.function, ctx.kwargs = function, kwargs
        ctx.rng_state = _core.get_rng_state() if preserve else None
        ctx.autocast = _core.autocast_dtype()
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*(a if isinstance(a, Tensor) else None for a in args))
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        return function(*args, **kwargs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        needs = ctx.needs_input_grad[4:]
        args = [
            other if saved is None else saved.detach()
            for saved, other in zip(ctx.saved_tensors, ctx.others, strict=True)
        ]
        for arg, needed in zip(args, needs, strict=True):
            if needed:
                arg.requires_grad_()

        now, precision = _core.get_rng_state(), _core.set_autocast_dtype(ctx.autocast)
        try:
            if ctx.rng_state is not None:
                _core.set_rng_state(ctx.rng_state)
            with enable_grad():
                result = ctx.function(*args, **ctx.kwargs)
        finally:
            _core.set_autocast_dtype(precision)
            if ctx.rng_state is not None:
                _core.set_rng_state(now)

        results = result if isinstance(result, tuple) else (result,)
        pairs = [(y, dy) for y, dy in zip(results, grads, strict=True) if dy is not None and y.requires_grad]
        if pairs:
            _core.backward([y for y, _ in pairs], [dy for _, dy in pairs])
        inputs = [_gradient(a) if needed else None for a, needed in zip(args, needs, strict=True)]
        return (_core.zeros(0), None, None, None, *inputs)


def _gradient(x: Tensor) -> Tensor:
    return _core.zeros(x.shape, dtype=x.dtype, device=x.device) if x.grad is None else x.grad


def checkpoint_sequential(functions: Sequence[Callable[..., Any]], segments: int, input: Any) -> Any:
    """Run functions in order, checkpointed in `segments` stretches: memory O(n / segments + segments)."""
    steps = list(functions)
    if not 1 <= segments <= max(len(steps), 1):
        raise ValueError(f"checkpoint_sequential: segments must be in 1..{len(steps)}, got {segments}")

    def stretch(begin: int, end: int) -> Callable[[Any], Any]:
        def run(x: Any) -> Any:
            for step in steps[begin:end]:
                x = step(x)
            return x

        return run

    size = -(-len(steps) // segments)
    for begin in range(0, len(steps), size):
        input = checkpoint(stretch(begin, min(begin + size, len(steps))), input)
    return input
