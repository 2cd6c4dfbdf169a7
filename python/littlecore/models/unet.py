"""U-Net (Ronneberger et al., 2015): down to few places with many channels, and up again beside what was there."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn import functional as F


def two_convolutions(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    """[N, inputs, H, W] -> [N, outputs, H, W]"""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=not norm)]
        layers += [nn.BatchNorm2d(outputs), nn.ReLU()] if norm else [nn.ReLU()]
    return nn.Sequential(*layers)


class PyramidPooling(nn.Module):
    """What grids of few cells hold, from the whole image on, beside every place (Zhao et al., PSPNet, 2017).

    [N, C, H, W] -> [N, C, H, W]
    """

    def __init__(self, channels: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.reduce = nn.ModuleList([nn.Conv2d(channels, channels // len(sizes), 1) for _ in sizes])
        self.merge = nn.Conv2d(channels + len(sizes) * (channels // len(sizes)), channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        every = [x]
        for size, reduce in zip(self.sizes, self.reduce, strict=True):
            y = F.relu(reduce(F.adaptive_avg_pool2d(x, size)))  # [N, C, H, W] -> [N, C / sizes, size, size]
            every.append(F.interpolate(y, x.shape[-2:], mode="bilinear"))
        return F.relu(self.merge(_core.cat(every, 1)))


class UNet(nn.Module):
    """[N, in_channels, H, W] -> [N, out_channels, H, W]; H and W are multiples of 2^(len(widths) - 1).

    Each level halves the size and has the next of `widths` as channels. `skips`: what a level computed on the way down
    is concatenated to what comes up to it; without them all must pass through the lowest level. `pyramid`: the sizes
    of grids, such as (1, 2, 4), to which the lowest level is pooled, so that every place knows of the whole image.
    `norm`: batch norm behind every convolution of 3 x 3.
    """

    def __init__(
        self, in_channels: int = 1, out_channels: int = 1, widths: Sequence[int] = (16, 32, 64), skips: bool = True,
        pyramid: Sequence[int] = (), norm: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.skips = skips
        self.down = nn.ModuleList([two_convolutions(a, b, norm) for a, b in pairwise((in_channels, *widths))])
        self.pool = nn.MaxPool2d(2)
        self.pyramid = PyramidPooling(widths[-1], pyramid) if pyramid else nn.Identity()
        upwards = list(pairwise(reversed(widths)))  # (64, 32), (32, 16)
        self.grow = nn.ModuleList([nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in upwards])
        self.up = nn.ModuleList([two_convolutions(2 * b if skips else b, b, norm) for _, b in upwards])
        self.readout = nn.Conv2d(widths[0], out_channels, 1)
        self.multiple = 2 ** (len(widths) - 1)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(
                f"unet: images of {tuple(x.shape[-2:])} must have sides that are multiples of {self.multiple}"
            )
        seen = []
        for level, block in enumerate(self.down):
            x = block(self.pool(x) if level else x)  # [N, C, H, W] -> [N, C', H/2, W/2], but for the first
            seen.append(x)
        seen.pop()
        x = self.pyramid(x)
        for grow, block in zip(self.grow, self.up, strict=True):
            x = grow(x)  # [N, C', H/2, W/2] -> [N, C, H, W]
            before = seen.pop()
            x = block(_core.cat([x, before], 1) if self.skips else x)
        return self.readout(x)


def unet(**options: Any) -> UNet:
    """A U-Net; the defaults suit small grey images."""
    return UNet(**options)
