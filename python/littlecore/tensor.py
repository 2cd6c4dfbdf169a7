"""The Python half of Tensor: how it prints, and its way to and from NumPy. Everything else is C++.

NumPy is imported when it is first needed, not with littlecore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from littlecore import _core
from littlecore._core import Tensor, device, dtype

if TYPE_CHECKING:
    import numpy as np

_EDGE_ITEMS = 3
_THRESHOLD = 1000  # elements; a larger tensor prints its edges only
_LINE_WIDTH = 100


def _repr(self: Tensor) -> str:
    name = "tensor" if type(self) is Tensor else type(self).__name__
    if self.numel() == 0 and self.ndim != 1:
        body = f"[], size={self.shape}"
    else:
        import numpy as np

        plain = _to(self.detach(), device="cpu")
        values = np.asarray(plain.to(_core.float32) if self.dtype is _core.bfloat16 else plain)
        body = np.array2string(
            values,
            separator=", ",
            prefix=name + "(",
            max_line_width=_LINE_WIDTH,
            threshold=_THRESHOLD,
            edgeitems=_EDGE_ITEMS,
            precision=4,
        )
    notes = "" if self.device == "cpu" else f", device='{self.device}'"
    if self.dtype not in (_core.float32, _core.int64, _core.bool_):
        notes += f", dtype={self.dtype}"
    if self.grad_fn is not None:
        notes += f", grad_fn={self.grad_fn!r}"
    elif self.requires_grad:
        notes += ", requires_grad=True"
    return f"{name}({body}{notes})"


def _numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """This tensor as a NumPy array on the same memory.

    Raises RuntimeError if the tensor requires grad (``detach()`` it, or pass ``force=True``) and TypeError for
    bfloat16, which NumPy lacks.
    """
    import numpy as np

    if self.requires_grad:
        if not force:
            raise RuntimeError("numpy: the tensor requires grad; use detach().numpy()")
        self = self.detach()
    if self.device != "cpu":
        if not force:
            raise TypeError(f"numpy: the tensor is on {self.device}; use cpu() first")
        self = _to(self, device="cpu")
    if self.dtype is _core.bfloat16:
        raise TypeError("numpy: NumPy has no bfloat16; use float() first")
    return np.asarray(memoryview(self))


def _array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    import numpy as np

    array = self.numpy()
    if copy:
        return np.array(array, dtype=dtype)
    if dtype is not None and np.dtype(dtype) != array.dtype:
        if copy is False:
            raise ValueError(f"__array__: {array.dtype} cannot become {np.dtype(dtype)} without a copy")
        return array.astype(dtype)
    return array


def _to(
    self: Tensor, *args: Any, dtype: dtype | None = None, device: device | str | None = None, copy: bool = False
) -> Tensor:
    """This tensor with another dtype or device: ``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``.

    Returns self if nothing changes and ``copy`` is False.
    """
    for arg in args:
        if isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, _core.dtype) or arg in (float, int, bool):
            dtype = arg
        else:
            device = arg
    if device is not None:
        wanted = device if isinstance(device, _core.device) else _core.device(device)
        if wanted != self.device:
            out = _core.to_device(self, wanted)
            return out if dtype is None else _core.to_dtype(out, dtype)
    out = self if dtype is None else _core.to_dtype(self, dtype)
    return out.clone() if copy and out is self else out


class RemovableHandle:
    """What ``register_hook`` returns; ``remove()`` takes the hook off again."""

    def __init__(self, remove: Callable[[], None]) -> None:
        self._remove = remove

    def remove(self) -> None:
        self._remove()


def _register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Calls ``hook(grad)`` when this tensor's gradient is computed; a returned tensor replaces it."""
    number = self._add_hook(hook)
    return RemovableHandle(lambda: self._remove_hook(number))


def _iter(self: Tensor) -> Iterator[Tensor]:
    if self.ndim == 0:
        raise TypeError("iter: a 0-dimensional tensor cannot be iterated")
    return iter(self.unbind(0))


def _format(self: Tensor, spec: str) -> str:
    if self.ndim == 0 and spec:
        return format(self.item(), spec)
    return object.__format__(self, spec)


def _deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError("deepcopy: only leaves can be copied; detach() the tensor first")
    if id(self) not in memo:
        fresh = type(self).__new__(type(self), self.detach().clone())
        fresh.requires_grad_(self.requires_grad)
        if self.grad is not None:
            fresh.grad = self.grad.clone()
        memo[id(self)] = fresh
    return memo[id(self)]


def _cpu(self: Tensor) -> Tensor:
    """This tensor on the CPU; itself if it is there."""
    return _to(self, device="cpu")


def _cuda(self: Tensor, index: int = 0) -> Tensor:
    """This tensor on a CUDA device."""
    return _to(self, device=f"cuda:{index}")


def _converter(name: str, target: dtype) -> Callable[[Tensor], Tensor]:
    def convert(self: Tensor) -> Tensor:
        return _to(self, dtype=target)

    convert.__name__ = name
    convert.__doc__ = f"This tensor as {target.name}; itself if it is already."
    return convert


def equal(input: Tensor, other: Tensor) -> bool:
    """True if both have the same shape and the same elements."""
    return input.shape == other.shape and bool((input == other).all())


def allclose(input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """True if ``|input - other| <= atol + rtol * |other|`` everywhere; NaN equals NaN only with ``equal_nan``."""
    close = ((input - other).abs() <= atol + rtol * other.abs()) | (input == other)
    if equal_nan:
        close = close | ((input != input) & (other != other))
    return bool(close.all())


_METHODS: dict[str, Any] = {
    "__repr__": _repr,
    "__format__": _format,
    "__iter__": _iter,
    "__array__": _array,
    "__array_ufunc__": None,  # array + tensor is ours to compute (or refuse), not an array of objects
    "__deepcopy__": _deepcopy,
    "numpy": _numpy,
    "to": _to,
    "cpu": _cpu,
    "cuda": _cuda,
    "register_hook": _register_hook,
}
for _name, _method in _METHODS.items():
    setattr(Tensor, _name, _method)
for _name, _target in {
    "float": _core.float32,
    "double": _core.float64,
    "half": _core.float16,
    "bfloat16": _core.bfloat16,
    "long": _core.int64,
    "int": _core.int32,
    "bool": _core.bool_,
}.items():
    setattr(Tensor, _name, _converter(_name, _target))
