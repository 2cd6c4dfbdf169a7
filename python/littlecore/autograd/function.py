"""Function: an operation with a backward written in Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import _core
from .._core import Tensor


class FunctionContext:
    """What `forward` leaves for `backward`. Any attribute may be set on it; tensors go through save_for_backward."""

    needs_input_grad: tuple[bool, ...] = ()

    def __init__(self) -> None:
        self._saved: tuple[Any, ...] = ()
        self._non_differentiable: tuple[Tensor, ...] = ()
        self._materialize = True

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors; `saved_tensors` raises if one was modified in place since."""
        self._saved = tuple(None if t is None else _core.Saved(t) for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        return tuple(None if s is None else s.get() for s in self._saved)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs carry no gradient."""
        self._non_differentiable = tensors

    def set_materialize_grads(self, value: bool) -> None:
        """False: a gradient nobody sent arrives in `backward` as None instead of zeros."""
        self._materialize = value


class Function:
    """Subclass with static methods `forward(ctx, *args)` and `backward(ctx, *grads)`, then call `apply`.

    forward returns a tensor or a tuple of them; backward returns a gradient or None for every argument of forward.

        class Square(Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            def backward(ctx, dy):
                (x,) = ctx.saved_tensors
                return 2 * x * dy
    """

    @staticmethod
    def forward(ctx: Any, *args: Any) -> Any:
        raise NotImplementedError("Function: define a static method forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise NotImplementedError("Function: define a static method backward(ctx, *grads)")

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """forward(ctx, *args), recorded if a tensor among args wants a gradient."""
        ctx = FunctionContext()
        recording = _core.grad_enabled()
        ctx.needs_input_grad = tuple(recording and isinstance(a, Tensor) and a.requires_grad for a in args)
        _core.set_grad_enabled(False)
        try:
            result = cls.forward(ctx, *args)
        finally:
            _core.set_grad_enabled(recording)
        if not any(ctx.needs_input_grad):
            return result

        single = not isinstance(result, tuple)
        results = (result,) if single else result
        fixed = {id(t) for t in ctx._non_differentiable}
        inputs = [a for a in args if isinstance(a, Tensor)]
        # An output that is an input (or has a history) gets a handle of its own to carry this node.
        outputs = [
            r.detach() if isinstance(r, Tensor) and (r.requires_grad or any(r is a for a in args)) else r
            for r in results
        ]
        recorded = [o for o, r in zip(outputs, results, strict=True) if isinstance(o, Tensor) and id(r) not in fixed]
        if recorded:
            _core.record_function(cls.__name__, inputs, recorded, _backward(cls, ctx, args, recorded, results, fixed))
        return outputs[0] if single else tuple(outputs)


def _backward(
    cls: type[Function], ctx: FunctionContext, args: tuple[Any, ...], recorded: list[Tensor],
    results: tuple[Any, ...], fixed: set[int],
) -> Callable[..., list[Tensor | None]]:  # fmt: skip
    """The callable the tape runs: gradients of the recorded outputs -> gradients of the tensor arguments."""
    shapes = [(o.shape, o.dtype, o.device) for o in recorded]  # not the outputs: they hold the node that holds this
    takes = [isinstance(r, Tensor) and id(r) not in fixed for r in results]
    is_tensor = [isinstance(a, Tensor) for a in args]

    def run(*grads: Tensor | None) -> list[Tensor | None]:
        given = iter(zip(grads, shapes, strict=True))
        full: list[Tensor | None] = []
        for take in takes:
            grad = None
            if take:
                grad, (shape, dtype, device) = next(given)
                if grad is None and ctx._materialize:
                    grad = _core.zeros(shape, dtype=dtype, device=device)
            full.append(grad)
        dx = cls.backward(ctx, *full)
        dx = dx if isinstance(dx, tuple) else (dx,)
        if len(dx) != len(is_tensor):
            raise RuntimeError(
                f"{cls.__name__}: backward returned {len(dx)} gradients, forward had {len(is_tensor)} arguments"
            )
        for i, (d, tensor) in enumerate(zip(dx, is_tensor, strict=True)):
            if d is not None and not tensor:
                raise RuntimeError(f"{cls.__name__}: backward returned a gradient for argument {i}, which is no tensor")
            if d is None and ctx.needs_input_grad[i]:
                raise RuntimeError(
                    f"{cls.__name__}: backward returned None for argument {i}, which requires a gradient; "
                    "return zeros if it is zero"
                )
        return [d for d, tensor in zip(dx, is_tensor, strict=True) if tensor]

    return run
