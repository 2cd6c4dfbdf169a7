"""Keep gradients small: by their common norm, or value by value."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias

from ... import _core
from ..._core import Tensor
from ...autograd import no_grad

Parameters: TypeAlias = "Tensor | Iterable[Tensor]"


def _gradients(parameters: Parameters) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


def get_total_norm(tensors: Parameters, norm_type: float = 2.0, error_if_nonfinite: bool = False) -> Tensor:
    """The norm of all tensors as if they were one vector."""
    listed = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if norm_type in (1, 2, math.inf):
        norm: Tensor = _core.total_norm(listed, float(norm_type))
    else:
        norm = _core.stack([(x.abs() ** norm_type).sum() for x in listed]).sum() ** (1 / norm_type)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return norm


def clip_grad_norm_(
    parameters: Parameters, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale all gradients by min(1, max_norm / (norm + 1e-6)); returns the norm before."""
    grads = _gradients(parameters)
    norm = get_total_norm(grads, norm_type, error_if_nonfinite)
    _core.clip_by_norm_(grads, norm, float(max_norm))
    return norm


def clip_grad_value_(parameters: Parameters, clip_value: float) -> None:
    """Limit every gradient element to [-clip_value, clip_value]."""
    with no_grad():
        for grad in _gradients(parameters):
            grad.copy_(grad.clamp(-float(clip_value), float(clip_value)))
