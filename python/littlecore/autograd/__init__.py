"""Differentiation: modes, the tape's entry points, user-defined functions, checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .. import _core
from .._core import Tensor
from ..tensor import RemovableHandle
from .capture import capture
from .checkpoint import checkpoint, checkpoint_sequential
from .function import Function, FunctionContext
from .grad_mode import enable_grad, inference_mode, is_grad_enabled, no_grad, set_grad_enabled
from .gradcheck import GradcheckError, gradcheck

__all__ = [
    "Function", "FunctionContext", "GradcheckError", "RemovableHandle", "backward", "capture", "checkpoint",
    "checkpoint_sequential", "enable_grad", "grad", "gradcheck", "inference_mode", "is_grad_enabled", "no_grad",
    "set_grad_enabled",
]  # fmt: skip

Tensors: TypeAlias = "Tensor | Sequence[Tensor]"


def backward(
    tensors: Tensors, grad_tensors: Any = None, retain_graph: bool = False, create_graph: bool = False
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they depend on."""
    _refuse_graph("backward", create_graph)
    roots = _listed(tensors)
    _core.backward(roots, _seeds("backward", roots, grad_tensors), retain_graph)


def grad(
    outputs: Tensors, inputs: Tensors, grad_outputs: Any = None, retain_graph: bool = False,
    create_graph: bool = False, allow_unused: bool = False,
) -> tuple[Any, ...]:  # fmt: skip
    """Gradients of outputs with respect to inputs; no `.grad` changes. allow_unused: None instead of an error."""
    _refuse_graph("grad", create_graph)
    roots = _listed(outputs)
    return tuple(_core.grad(roots, _listed(inputs), _seeds("grad", roots, grad_outputs), retain_graph, allow_unused))


def _listed(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _seeds(name: str, roots: list[Tensor], seeds: Any) -> list[Tensor | None]:
    if seeds is None:
        return [None] * len(roots)
    seeds = [seeds] if isinstance(seeds, Tensor) else list(seeds)
    if len(seeds) != len(roots):
        raise ValueError(f"{name}: {len(roots)} outputs but {len(seeds)} gradients")
    return seeds


def _refuse_graph(name: str, create_graph: bool) -> None:
    if create_graph:
        raise NotImplementedError(f"{name}: create_graph is not supported: gradients have no history of their own")
