"""Initialisation, in place and without history. Every function returns the tensor it filled.

generator: where the random numbers come from; None is the default one.
"""

from __future__ import annotations

import math

from .. import _core
from .._core import Generator, Tensor
from ..autograd import no_grad


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps the variance of activations through a nonlinearity."""
    if nonlinearity in ("linear", "sigmoid", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d"):
        return 1.0
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity == "selu":
        return 3.0 / 4
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight [out, in, *kernel]."""
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    window = math.prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform in [a, b)."""
    with no_grad():
        tensor.uniform_(a, b, generator=generator)
    return tensor


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fills tensor with draws from N(mean, std^2), in place; returns it."""
    with no_grad():
        tensor.normal_(mean, std, generator=generator)
    return tensor


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills tensor with val, in place; returns it."""
    with no_grad():
        tensor.fill_(val)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Fills tensor with zeros, in place; returns it."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fills tensor with ones, in place; returns it."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Ones on the diagonal of a matrix."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    zeros_(tensor)
    with no_grad():
        for i in range(min(tensor.shape)):
            tensor[i, i].fill_(1.0)
    return tensor


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Normal, drawn again where it falls outside [a, b]."""
    if not a < b:
        raise ValueError(f"trunc_normal_: a {a} must be less than b {b}")
    low, high = (a - mean) / std, (b - mean) / std
    with no_grad():
        if high - low > 0.5 and low < 1.5 and high > -1.5:  # a good part of the draws stays inside
            tensor.normal_(mean, std, generator=generator)
            outside = (tensor < a) | (tensor > b)
            while bool(outside.any()):
                again = _core.empty_like(tensor).normal_(mean, std, generator=generator)
                tensor.copy_(_core.where(outside, again, tensor))
                outside = (tensor < a) | (tensor > b)
        else:  # rejection from the uniform distribution, against the density's largest value in [a, b]
            peak = min(max(0.0, low), high)
            missing = _core.ones(tensor.shape, dtype=_core.bool_, device=tensor.device)
            while bool(missing.any()):
                draw = _core.empty_like(tensor).uniform_(a, b, generator=generator)
                z = (draw - mean) / std
                density = ((peak * peak - z * z) / 2).exp()  # of the normal distribution, 1 at its peak
                keep = _core.empty_like(tensor).uniform_(0, 1, generator=generator) <= density
                tensor.copy_(_core.where(missing & keep, draw, tensor))
                missing = missing & ~keep
    return tensor


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Uniform with variance gain^2 * 2 / (fan_in + fan_out)."""
    bound = gain * math.sqrt(6.0 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with variance gain^2 * 2 / (fan_in + fan_out)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Uniform with variance gain^2 / fan; `a` is the slope of a leaky_relu."""
    bound = math.sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:  # fmt: skip
    """Normal with variance gain^2 / fan; `a` is the slope of a leaky_relu."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan > 0 else 0.0


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """A random (semi-)orthogonal matrix [rows, cols of all other dimensions], times gain.

    Gram-Schmidt of normal rows in float64, each projected twice: orthogonal to rounding, uniformly distributed.
    """
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows, cols = tensor.shape[0], tensor.numel() // tensor.shape[0]
    short, long = min(rows, cols), max(rows, cols)
    with no_grad():
        q = _core.empty((short, long), dtype=_core.float64).normal_(0.0, 1.0, generator=generator)
        for i in range(short):
            row, done = q[i], q[:i]  # [long], [i, long]
            for _ in range(2 if i else 0):
                row.copy_(row - done.T @ (done @ row))
            row.copy_(row / (row * row).sum().sqrt())
        q = (q if rows <= cols else q.T) * gain
        tensor.copy_(q.reshape(tensor.shape))
    return tensor
