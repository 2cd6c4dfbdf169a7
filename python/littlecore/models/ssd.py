"""SSD, the single shot detector (Liu et al., 2016): boxes and classes from maps of several scales, in one pass.

Every place of every map has a default box and predicts a class, 0 for no object, and how the object's box differs from
the default. Boxes are [left, top, right, bottom] in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .. import _core, nn
from .._core import Tensor
from ..nn import functional as F

CENTRE, SIZE = 0.1, 0.2  # scales of the offsets, as in the paper: their targets have deviations of about 1


def half(inputs: int, outputs: int) -> nn.Sequential:
    """[N, inputs, H, W] -> [N, outputs, H/2, W/2]"""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class SSD(nn.Module):
    """[N, in_channels, image_size, image_size] -> class scores [N, P, 1 + classes], offsets [N, P, 4]

    Each of `widths` halves the map; the last len(sides) of them are looked at, with default boxes of these sides.
    """

    defaults: Tensor

    def __init__(
        self, image_size: int = 48, classes: int = 20, widths: Sequence[int] = (16, 32, 64, 96),
        sides: Sequence[float] = (10, 16, 26), in_channels: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        if image_size % 2 ** len(widths):
            raise ValueError(f"ssd: image_size {image_size} must be a multiple of {2 ** len(widths)}")
        if not 0 < len(sides) <= len(widths):
            raise ValueError(f"ssd: {len(sides)} sides of default boxes for {len(widths)} maps")
        self.stages = nn.ModuleList([half(a, b) for a, b in pairwise((in_channels, *widths))])
        looked_at = widths[-len(sides) :]
        self.heads = nn.ModuleList([nn.Conv2d(width, 4 + 1 + classes, 3, padding=1) for width in looked_at])
        self.counts = [(image_size >> level) ** 2 for level in range(1, len(widths) + 1)][-len(sides) :]
        boxes = [grid(image_size, round(count**0.5), side) for count, side in zip(self.counts, sides, strict=True)]
        self.register_buffer("defaults", _core.cat(boxes), persistent=False)  # [P, 4]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = []
        for stage in self.stages:
            x = stage(x)  # [N, C, H, W] -> [N, C', H/2, W/2]
            maps.append(x)
        found = [
            head(y).flatten(2).transpose(1, 2)  # [N, C, H, W] -> [N, H*W, 4 + 1 + classes]
            for head, y in zip(self.heads, maps[-len(self.heads) :], strict=True)
        ]
        every = _core.cat(found, 1)
        return every[..., 4:], every[..., :4]

    def targets(self, boxes: Tensor, labels: Tensor, least: float = 0.5) -> tuple[Tensor, Tensor]:
        """What the network should answer: classes [N, P] (1 + label, or 0) and offsets [N, P, 4].

        A default box stands for the object that it overlaps most, if by `least` (intersection over union), and in any
        case for one that no other default box overlaps more.    boxes [N, M, 4], labels [N, M], -1 where there is none
        """
        there = (labels >= 0).unsqueeze(-1).float()
        overlap = iou(boxes, self.defaults) * there  # [N, M, P]
        overlap = overlap + there * F.one_hot(overlap.argmax(-1), len(self.defaults)).float()
        strength, match = overlap.max(1)  # [N, P]
        classes = _core.where(strength >= least, 1 + labels.gather(1, match), 0)
        matched = boxes.gather(1, match.unsqueeze(-1).expand(-1, -1, 4))  # [N, P, 4]
        return classes, encode(matched, self.defaults)

    def loss(self, scores: Tensor, offsets: Tensor, classes: Tensor, wanted: Tensor, negatives: int = 3) -> Tensor:
        """Cross-entropy of classes plus smooth L1 of offsets, per object; of the places without one the worst count.

        They are so many that all of them together would drown the others: `negatives` for each place with an object.
        """
        positive = classes > 0  # [N, P]
        count = positive.sum().item()
        each = F.cross_entropy(scores.flatten(0, 1), classes.flatten(), reduction="none")  # [N * P]
        empty = _core.where(positive.flatten(), 0.0, each)
        hardest, _ = empty.topk(min(len(empty), negatives * int(count) or 1))
        distance = F.smooth_l1_loss(offsets, wanted, reduction="none").sum(-1)
        found = _core.where(positive, each.reshape(positive.shape) + distance, 0.0)
        return (found.sum() + hardest.sum()) / max(count, 1)

    def detect(
        self, x: Tensor, least: float = 0.05, overlap: float = 0.45, most: int = 100
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Boxes [K, 4], labels [K] and probabilities [K] of each image's objects, the likeliest first.

        Probabilities are at least `least`; of boxes of one class that overlap more than `overlap`, the likeliest stays.
        """
        scores, offsets = self(x)
        probability, boxes = scores.softmax(-1)[..., 1:], decode(offsets, self.defaults)
        results = []
        for p, b in zip(probability, boxes, strict=True):
            place, label = (p >= least).nonzero().unbind(1)
            chance = p[place, label]
            shift = 10_000.0 * label.float().unsqueeze(-1)  # boxes of different classes lie far apart
            kept = nms(b[place] + shift, chance, overlap, most)
            results.append((b[place][kept], label[kept], chance[kept]))
        return results


def grid(size: int, places: int, side: float) -> Tensor:
    """Boxes of one side around the centres of places x places cells, row by row.    -> [places^2, 4]"""
    middle = (_core.arange(places) + 0.5) * (size / places)
    y, x = _core.meshgrid(middle, middle, indexing="ij")
    centre = _core.stack([x, y], -1).reshape((-1, 2))
    return _core.cat([centre - side / 2, centre + side / 2], 1)


def centres(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and extent.    [..., 4] -> 2 x [..., 2]"""
    low, high = boxes[..., :2], boxes[..., 2:]
    return (low + high) / 2, high - low


def encode(boxes: Tensor, defaults: Tensor) -> Tensor:
    """How boxes differ from default ones, in units of those.    [..., P, 4], [P, 4] -> [..., P, 4]"""
    (middle, extent), (from_middle, from_extent) = centres(boxes), centres(defaults)
    shift = (middle - from_middle) / (from_extent * CENTRE)
    return _core.cat([shift, (_core.clamp(extent, min=1e-3) / from_extent).log() / SIZE], -1)


def decode(offsets: Tensor, defaults: Tensor) -> Tensor:
    """The inverse of encode."""
    from_middle, from_extent = centres(defaults)
    middle = from_middle + offsets[..., :2] * CENTRE * from_extent
    extent = from_extent * (offsets[..., 2:] * SIZE).exp()
    return _core.cat([middle - extent / 2, middle + extent / 2], -1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair.    [..., A, 4], [..., B, 4] -> [..., A, B]"""
    a, b = a.unsqueeze(-2), b.unsqueeze(-3)
    low, high = _core.maximum(a[..., :2], b[..., :2]), _core.minimum(a[..., 2:], b[..., 2:])
    both = _core.clamp(high - low, min=0).prod(-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    return both / _core.clamp(areas - both, min=1e-9)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, most: int | None = None) -> Tensor:
    """Non-maximum suppression: indices of the boxes that no kept box of a higher score overlaps too much, best first.

    [K, 4], [K] -> int64 [kept], `most` of them at most
    """
    rest = scores.argsort(descending=True)
    kept = [rest[:0]]
    while len(rest) and (most is None or len(kept) <= most):
        best, rest = rest[:1], rest[1:]
        kept.append(best)
        rest = rest[_core.logical_not(iou(boxes[best], boxes[rest])[0] > iou_threshold)]
    return _core.cat(kept)


def ssd(**options: Any) -> SSD:
    """A small SSD; the defaults suit images of 48 x 48."""
    return SSD(**options)
