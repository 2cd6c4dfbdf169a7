"""The U-Net of denoising diffusion (Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020): it says what of
an image is noise, told how noisy it is and, if known, of which class."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn import functional as F
from .positional import sinusoidal_encoding


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip connection; what `context` says is added to every place between them.

    [N, inputs, H, W], [N, context] -> [N, outputs, H, W]
    """

    def __init__(self, inputs: int, outputs: int, context: int, groups: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.context = nn.Linear(context, outputs)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        y = y + self.context(context).unflatten(1, (-1, 1, 1))  # [N, outputs] -> [N, outputs, 1, 1]
        return self.skip(x) + self.conv2(F.silu(self.norm2(y)))


class PlacesAttention(nn.Module):
    """Every place attends to all places, beside a skip connection.    [N, C, H, W] -> [N, C, H, W]"""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        places = self.norm(x).flatten(2).transpose(1, 2).unsqueeze(1)  # [N, C, H, W] -> [N, 1, HW, C]
        y = self.out(F.scaled_dot_product_attention(*self.qkv(places).chunk(3, -1)))
        return x + y.squeeze(1).transpose(1, 2).reshape(x.shape)


class DenoisingUNet(nn.Module):
    """Images [N, in_channels, H, W], steps of noise int64 [N] and classes int64 [N] -> their noise, of the same shape.

    H and W are multiples of 2^(len(widths) - 1). `steps`: how many there are. `classes`: 0 for a model without any;
    else the class number `classes` means that it is not told, as a missing `label` does. Group norm has `groups`, which
    divides all `widths`; the lowest level has attention.
    """

    def __init__(
        self, in_channels: int = 1, widths: Sequence[int] = (32, 64), steps: int = 1000, classes: int = 0,
        groups: int = 8,
    ) -> None:  # fmt: skip
        super().__init__()
        self.classes, self.multiple = classes, 2 ** (len(widths) - 1)
        context = 4 * widths[0]
        self.register_buffer("times", sinusoidal_encoding(steps, widths[0]), persistent=False)
        self.embed_time = nn.Sequential(nn.Linear(widths[0], context), nn.SiLU(), nn.Linear(context, context))
        self.embed_class = nn.Embedding(classes + 1, context) if classes else None
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        levels = list(pairwise((widths[0], *widths)))  # (32, 32), (32, 64)
        self.down = nn.ModuleList([ResidualBlock(a, b, context, groups) for a, b in levels])
        self.shrink = nn.ModuleList([nn.Conv2d(b, b, 3, stride=2, padding=1) for _, b in levels[:-1]])
        self.attention = PlacesAttention(widths[-1], groups)
        self.middle = ResidualBlock(widths[-1], widths[-1], context, groups)
        self.up = nn.ModuleList([ResidualBlock(2 * b, a, context, groups) for a, b in reversed(levels)])
        self.grow = nn.ModuleList([nn.ConvTranspose2d(a, a, 2, stride=2) for a, _ in reversed(levels[1:])])
        self.norm, self.readout = nn.GroupNorm(groups, widths[0]), nn.Conv2d(widths[0], in_channels, 3, padding=1)
        nn.init.zeros_(self.readout.weight)

    def forward(self, x: Tensor, step: Tensor, label: Tensor | None = None) -> Tensor:
        if x.shape[-2] % self.multiple or x.shape[-1] % self.multiple:
            raise ValueError(
                f"denoising_unet: images of {tuple(x.shape[-2:])} must have sides that are multiples of {self.multiple}"
            )
        context = self.embed_time(self.times[step])  # [N, widths[0]] -> [N, context]
        if self.embed_class is not None:
            context = context + self.embed_class(_core.full_like(step, self.classes) if label is None else label)
        elif label is not None:
            raise ValueError("denoising_unet: a model with classes=0 takes no label")
        context = F.silu(context)
        x = self.stem(x)
        seen = []
        for level, block in enumerate(self.down):
            x = block(self.shrink[level - 1](x) if level else x, context)  # [N, C, H, W] -> [N, C', H/2, W/2]
            seen.append(x)
        x = self.middle(self.attention(x), context)
        for level, block in enumerate(self.up):
            x = block(_core.cat([self.grow[level - 1](x) if level else x, seen.pop()], 1), context)
        return self.readout(F.silu(self.norm(x)))


def denoising_unet(**options: Any) -> DenoisingUNet:
    """A U-Net for diffusion; the defaults suit small grey images."""
    return DenoisingUNet(**options)
