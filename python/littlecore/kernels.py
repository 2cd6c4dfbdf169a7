"""The kernels alone, forward and backward, on any array: NumPy, PyTorch, JAX, littlecore, all that speak DLPack.

    y, base, rest, rstd = littlecore.kernels.layer_norm_forward(x, w, b)
    dx, dw, db = littlecore.kernels.layer_norm_backward(dy, x, w, base, rest, rstd)

Arrays are read where they lie, and results are arrays of the framework of the first argument. ``out=`` names the memory
they go to instead: an array, or with several outputs a tuple with an entry for each, None to have one made, False to go
without where that is allowed. What is wrong is refused before anything is written: another dtype, device or shape,
memory that is read-only or overlaps, an array that requires grad while gradients are recorded. ``help()`` of a function
shows its arguments with their dtypes and shapes:

- ``float`` is any floating-point dtype, ``real`` float32 or float64, ``T`` that of the first argument, ``acc`` float64
  if that is float64 and else float32, ``mask`` bool or ``T``;
- ``~`` allows any strides, ``~1`` any but for a dense last axis, all else is contiguous;
- in a shape, equal names are equal sizes, ``*`` is any number of axes, ``^`` may be 1 and is broadcast, ``[=a]`` is
  that of a.

Tensors of littlecore and PyTorch that are all on one CUDA device are computed there, on the current stream of the first
one's framework. So are arrays there that speak DLPack or have ``__cuda_array_interface__``, of CuPy, JAX or Numba: on
littlecore's current stream, which waits for the array's, and that one, or else the caller, for the kernel.

Raises ValueError for a shape, an option or memory, TypeError for a dtype or a device, IndexError for an index in the
data.
"""

from littlecore import _kernels  # type: ignore[attr-defined]

__all__ = sorted(name for name in vars(_kernels) if not name.startswith("_"))
globals().update({name: getattr(_kernels, name) for name in __all__})


def __dir__() -> list[str]:
    return __all__
