"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ... import _core
from ..._core import Tensor
from ...autograd import no_grad


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """Every parameter flattened, one after the other."""
    return _core.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the pieces of `vec` into the parameters."""
    listed = list(parameters)
    total = sum(p.numel() for p in listed)
    if vec.dim() != 1 or vec.numel() != total:
        raise ValueError(
            f"vector_to_parameters: the vector has shape {tuple(vec.shape)}, the parameters have {total} elements"
        )
    begin = 0
    with no_grad():
        for p in listed:
            p.copy_(vec[begin : begin + p.numel()].reshape(p.shape))
            begin += p.numel()
