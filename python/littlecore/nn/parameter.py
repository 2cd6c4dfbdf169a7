"""Parameter: a tensor that a module registers and an optimizer changes."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import Tensor


class Parameter(Tensor):
    """A leaf tensor on the memory of `data`. Assigned to a module's attribute it becomes one of its parameters."""

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        self: Parameter = Tensor.__new__(cls, _core.empty(0) if data is None else data)
        if requires_grad:
            self.requires_grad_()
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.detach().clone(), self.requires_grad)
        return memo[id(self)]

    def __copy__(self) -> Parameter:
        return type(self)(self.detach(), self.requires_grad)

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a Parameter cannot be pickled; save its module's state_dict() as safetensors")


def options(device: Any, dtype: Any) -> dict[str, Any]:
    """Keyword arguments of a creation function; None leaves its default."""
    return {name: value for name, value in (("device", device), ("dtype", dtype)) if value is not None}


def uninitialized(shape: Any, device: Any = None, dtype: Any = None) -> Parameter:
    """A parameter whose values are still to be written."""
    return Parameter(_core.empty(shape, **options(device, dtype)))


def is_floating_point(dtype: Any) -> bool:
    """Whether elements of dtype, a littlecore dtype, are floating-point numbers."""
    return bool(dtype.is_floating_point)


def set_data(x: Tensor, data: Tensor) -> None:
    """Make x show the memory of `data`, whatever its dtype; x stays the same object."""
    _core.replace_data(x, data)
