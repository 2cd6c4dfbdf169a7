"""Forward and backward hooks of modules; a module without hooks never comes here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import _core
from .._core import Tensor
from ..autograd.function import Function
from ..tensor import RemovableHandle

if TYPE_CHECKING:
    from .module import Module

KINDS = ("forward_pre", "forward", "backward_pre", "backward")


def register(
    module: Module, kind: str, hook: Callable[..., Any], prepend: bool, with_kwargs: bool = False
) -> RemovableHandle:
    """Adds a hook of one of KINDS to module, before the others if prepend; the handle removes it."""
    hooks: dict[str, list[tuple[Callable[..., Any], bool]]] = module.__dict__.setdefault(
        "_hooks", {k: [] for k in KINDS}
    )
    entry = (hook, with_kwargs)
    hooks[kind].insert(0 if prepend else len(hooks[kind]), entry)
    module.__dict__["_hooked"] = True
    _core.structure_changed()

    def remove() -> None:
        if entry in hooks[kind]:
            hooks[kind].remove(entry)
        module.__dict__["_hooked"] = any(hooks.values())
        _core.structure_changed()

    return RemovableHandle(remove)


def call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """module(*args, **kwargs) with every hook in its place."""
    hooks = module.__dict__["_hooks"]
    for hook, with_kwargs in tuple(hooks["forward_pre"]):
        if with_kwargs:
            changed = hook(module, args, kwargs)
            args, kwargs = (args, kwargs) if changed is None else changed
        else:
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)

    around = BackwardHooks(module) if hooks["backward_pre"] or hooks["backward"] else None
    if around is not None:
        args = around.inputs(args)
    output = module.forward(*args, **kwargs)

    for hook, with_kwargs in tuple(hooks["forward"]):
        changed = hook(module, args, kwargs, output) if with_kwargs else hook(module, args, output)
        output = output if changed is None else changed
    return output if around is None else around.outputs(output)


class BackwardHooks:
    """Identities around one call of a module: where its gradients pass, its backward hooks run."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.grad_output: tuple[Tensor | None, ...] = ()
        self.inputs_differ = False  # does any input want a gradient? Otherwise the hooks run at the outputs
        self.positions: list[int] = []
        self.count = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        self.count = len(args)
        self.positions = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
        if not self.positions:
            return args
        self.inputs_differ = True
        passed = _Watch.apply(self.at_inputs, *(args[i] for i in self.positions))
        replaced = list(args)
        for i, x in zip(self.positions, passed if isinstance(passed, tuple) else (passed,), strict=True):
            replaced[i] = x
        return tuple(replaced)

    def outputs(self, output: Any) -> Any:
        tensors = (output,) if isinstance(output, Tensor) else output
        if not isinstance(tensors, tuple) or not all(isinstance(t, Tensor) for t in tensors):
            raise TypeError("backward hooks: the module must return a tensor or a tuple of tensors")
        if not any(t.requires_grad for t in tensors):
            return output
        passed = _Watch.apply(self.at_outputs, *tensors)
        return passed if isinstance(output, Tensor) or isinstance(passed, tuple) else (passed,)

    def at_outputs(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        for hook, _ in tuple(self.module.__dict__["_hooks"]["backward_pre"]):
            grads = _replaced(hook(self.module, grads), grads)
        self.grad_output = grads
        if not self.inputs_differ:
            self.run((None,) * self.count)
        return grads

    def at_inputs(self, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        all_grads: list[Tensor | None] = [None] * self.count
        for i, g in zip(self.positions, grads, strict=True):
            all_grads[i] = g
        result = self.run(tuple(all_grads))
        return tuple(result[i] for i in self.positions)

    def run(self, grad_input: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        for hook, _ in tuple(self.module.__dict__["_hooks"]["backward"]):
            grad_input = _replaced(hook(self.module, grad_input, self.grad_output), grad_input)
        return grad_input


def _replaced(result: Any, grads: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
    if result is None:
        return grads
    result = result if isinstance(result, tuple) else (result,)
    if len(result) != len(grads):
        raise RuntimeError(f"backward hook: expected {len(grads)} gradients, got {len(result)}")
    return result


class _Watch(Function):
    """Identity that shows the gradients passing through it to `see`, which may replace them."""

    @staticmethod
    def forward(ctx: Any, see: Callable[..., Any], *xs: Tensor) -> Any:
        ctx.see = see
        out = tuple(x.detach() for x in xs)
        return out if len(out) > 1 else out[0]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> Any:
        return (None, *ctx.see(grads))
