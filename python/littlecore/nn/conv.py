"""Convolutions and transposed convolutions in 1 and 2 dimensions."""

from __future__ import annotations

import math
from typing import Any

from .._core import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import uninitialized

Size = int | tuple[int, ...]
PADDING_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def spread(value: Size, rank: int) -> tuple[int, ...]:
    """An int for every dimension, or one for all."""
    if isinstance(value, int):
        return (value,) * rank
    value = tuple(value)
    if len(value) != rank:
        raise ValueError(f"expected an int or {rank} ints, got {value}")
    return value


class _Conv(Module):
    """What the four layers share: arguments, parameters, initialisation, repr."""

    rank: int
    transposed = False

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size, padding: Size | str,
        output_padding: Size, dilation: Size, groups: int, bias: bool, padding_mode: str, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"in_channels {in_channels} and out_channels {out_channels} must be divisible by groups {groups}"
            )
        if padding_mode not in (("zeros",) if self.transposed else PADDING_MODES):
            raise ValueError(f"padding_mode must be one of {list(PADDING_MODES)}, got {padding_mode!r}")
        if isinstance(padding, str) and (self.transposed or padding not in ("same", "valid")):
            raise ValueError(f"padding must be numbers, 'same' or 'valid', got {padding!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = spread(kernel_size, self.rank)
        self.stride = spread(stride, self.rank)
        self.padding: Any = padding if isinstance(padding, str) else spread(padding, self.rank)
        self.output_padding = spread(output_padding, self.rank)
        self.dilation = spread(dilation, self.rank)
        self.groups = groups
        self.padding_mode = padding_mode

        outer, inner = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = uninitialized((outer, inner // groups, *self.kernel_size), device, dtype)
        if bias:
            self.bias = uninitialized(out_channels, device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight and bias uniform in +-1/sqrt(fan_in)."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """The input, padded here where the mode is not zeros, and the padding left for the convolution."""
        if self.padding_mode == "zeros":
            return input, self.padding
        if isinstance(self.padding, str):
            total = [
                d * (k - 1) if self.padding == "same" else 0
                for d, k in zip(self.dilation, self.kernel_size, strict=True)
            ]
            sides = [(t // 2, t - t // 2) for t in total]
        else:
            sides = [(p, p) for p in self.padding]
        widths = [w for side in reversed(sides) for w in side]  # last dimension first, as F.pad wants them
        return F.pad(input, widths, mode=PADDING_MODES[self.padding_mode]), (0,) * self.rank

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0,) * self.rank:
            text += f", padding={self.padding}"
        if self.dilation != (1,) * self.rank:
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * self.rank:
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text


class _Convolution(_Conv):
    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, 0, dilation, groups, bias,
                         padding_mode, device, dtype)  # fmt: skip


class Conv1d(_Convolution):
    """[N, C, L] or [C, L] -> [N, K, L'].    weight [K, C/groups, R]"""

    rank = 1

    def forward(self, input: Tensor) -> Tensor:
        input, padding = self.padded(input)
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Convolution):
    """[N, C, H, W] or [C, H, W] -> [N, K, H', W'].    weight [K, C/groups, R, S]"""

    rank = 2

    def forward(self, input: Tensor) -> Tensor:
        input, padding = self.padded(input)
        return F.conv2d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class _ConvTranspose(_Conv):
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, output_padding, dilation, groups,
                         bias, padding_mode, device, dtype)  # fmt: skip

    def output_padding_for(self, input: Tensor, output_size: Any) -> tuple[int, ...]:
        """The output_padding that makes the result `output_size` large."""
        if output_size is None:
            return self.output_padding
        wanted = tuple(output_size)[-self.rank :]
        extra = []
        for i, size in enumerate(input.shape[-self.rank :]):
            least = (
                (size - 1) * self.stride[i]
                - 2 * int(self.padding[i])
                + self.dilation[i] * (self.kernel_size[i] - 1)
                + 1
            )
            if not least <= wanted[i] < least + self.stride[i]:
                raise ValueError(
                    f"output_size {wanted[i]} must be in [{least}, {least + self.stride[i]}) in dimension {i}"
                )
            extra.append(wanted[i] - least)
        return tuple(extra)


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of Conv1d.    [N, C, L] -> [N, K, (L-1)*stride - 2*padding + dilation*(R-1) + output_padding + 1]"""

    rank = 1

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding_for(input, output_size)
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of Conv2d.    [N, C, H, W] -> [N, K, H', W'], each as in ConvTranspose1d"""

    rank = 2

    def forward(self, input: Tensor, output_size: Any = None) -> Tensor:
        extra = self.output_padding_for(input, output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )
