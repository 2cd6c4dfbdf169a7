"""The kernels alone, forward and backward, on any CPU array: NumPy, PyTorch, JAX, littlecore, all that speak DLPack.

    y, base, rest, rstd = littlecore.kernels.layer_norm_forward(x, w, b)
    dx, dw, db = littlecore.kernels.layer_norm_backward(dy, x, w, base, rest, rstd)

Arrays are read where they lie, and results are arrays of the framework of the first argument. ``out=`` names the memory
they go to instead: an array, or with several outputs a tuple with an entry for each, None to have one made, False to go
without where that is allowed. What is wrong is refused before anything is written: another dtype, device or shape,
memory that is read-only or overlaps, an array that requires grad while gradients are recorded. ``help()`` of a function
shows its arguments with their dtypes and shapes.
"""

from littlecore import _kernels  # type: ignore[attr-defined]

__all__ = sorted(name for name in vars(_kernels) if not name.startswith("_"))
globals().update({name: getattr(_kernels, name) for name in __all__})
