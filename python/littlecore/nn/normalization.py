"""Layer, RMS, batch, group and instance normalization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import _core
from .._core import Tensor, int64, ones, tensor, zeros
from ..autograd import no_grad
from . import functional as F
from . import init
from .linear import is_plain
from .module import Module
from .parameter import options, uninitialized


class _Affine(Module):
    """What all of them have: a weight of ones and a bias of zeros, each where it is wanted."""

    def _affine(self, shape: int | tuple[int, ...], device: Any, dtype: Any, **wanted: bool) -> None:
        for name, here in wanted.items():
            self.register_parameter(name, uninitialized(shape, device, dtype) if here else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        for name, fill in (("weight", init.ones_), ("bias", init.zeros_)):
            value = self._parameters.get(name)
            if value is not None:
                fill(value)


class LayerNorm(_Affine):
    """Mean 0 and variance 1 over the last dimensions, then scale and shift.    weight, bias: normalized_shape"""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._affine(self.normalized_shape, device, dtype, weight=elementwise_affine, bias=elementwise_affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        return f"{self.normalized_shape}, eps={self.eps}, {affine}"


class RMSNorm(_Affine):
    """Root-mean-square 1 over the last dimensions, then scale; eps None: the dtype's epsilon."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._affine(self.normalized_shape, device, dtype, weight=elementwise_affine)

    def forward(self, input: Tensor) -> Tensor:
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


def add_norm(norm: Module, input: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """(s, norm(s)) of s = input + residual, or of the input: on CUDA one pass, and one backward for both uses of s."""
    if is_plain(norm):
        if type(norm) is LayerNorm:
            return _core.add_layer_norm(input, norm.normalized_shape, norm.weight, norm.bias, residual, norm.eps)
        if type(norm) is RMSNorm:
            return _core.add_rms_norm(input, norm.normalized_shape, norm.weight, residual, norm.eps)
    s = input if residual is None else input + residual
    return s, norm(s)


class _TrackedNorm(_Affine):
    """BatchNorm and InstanceNorm: per-channel scale and shift, running statistics."""

    dims: tuple[int, ...]  # accepted input ranks

    def __init__(
        self, num_features: int, eps: float, momentum: float | None, affine: bool, track_running_stats: bool,
        device: Any, dtype: Any, bias: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        if track_running_stats:
            self.register_buffer("running_mean", zeros(num_features, **options(device, dtype)))
            self.register_buffer("running_var", ones(num_features, **options(device, dtype)))
            self.register_buffer("num_batches_tracked", tensor(0, **options(device, int64)))
        else:
            for name in ("running_mean", "running_var", "num_batches_tracked"):
                self.register_buffer(name, None)
        self._affine(num_features, device, dtype, weight=affine, bias=affine and bias)

    def reset_running_stats(self) -> None:
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        self.reset_running_stats()
        super().reset_parameters()

    def check(self, input: Tensor) -> None:
        if input.dim() not in self.dims:
            ranks = " or ".join(f"{d}D" for d in self.dims)
            raise ValueError(f"{type(self).__name__}: expected {ranks} input (got {input.dim()}D input)")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_TrackedNorm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self.check(input)
        momentum = self.momentum
        if self.training and self.track_running_stats:
            with no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:  # cumulative average
                momentum = 1.0 / int(self.num_batches_tracked)
        of_batch = self.training or self.running_mean is None
        return F.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, of_batch, momentum or 0.0, self.eps
        )


class BatchNorm1d(_BatchNorm):
    """Mean 0 and variance 1 per channel over the batch; running averages in eval mode.    [N, C] or [N, C, L]"""

    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Mean 0 and variance 1 per channel over batch and space; running averages in eval mode.    [N, C, H, W]"""

    dims = (4,)


class _InstanceNorm(_TrackedNorm):
    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias)

    def forward(self, input: Tensor) -> Tensor:
        self.check(input)
        x = input.unsqueeze(0) if input.dim() == self.dims[0] else input  # [C, ...] -> [1, C, ...]
        of_input = self.training or not self.track_running_stats
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, of_input, self.momentum or 0.0, self.eps
        )
        return y.squeeze(0) if x is not input else y


class InstanceNorm1d(_InstanceNorm):
    """Mean 0 and variance 1 per sample and channel.    [N, C, L] or [C, L]"""

    dims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Mean 0 and variance 1 per sample and channel.    [N, C, H, W] or [C, H, W]"""

    dims = (3, 4)


class GroupNorm(_Affine):
    """Mean 0 and variance 1 per sample and group of channels, then scale and shift per channel.    [N, C, ...]"""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_channels {num_channels} must be divisible by num_groups {num_groups}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._affine(num_channels, device, dtype, weight=affine, bias=affine and bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = f"affine={self.affine}, bias={self.bias is not None}"
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, {affine}"
