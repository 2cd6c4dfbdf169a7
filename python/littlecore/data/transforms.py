"""Augmentations of a batch of images [n, c, h, w], each sample with its own random numbers.

A sample's augmentation depends on (seed, epoch, index) alone (see counter_random), not on its batch or worker.
Pixels that come from outside an image are 0. All keep the dtype but `Normalize` and `ToFloat`, which give float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .counter_random import SampleRandom

Images = npt.NDArray[Any]


def _check(name: str, images: Images) -> tuple[int, int, int, int]:
    if images.ndim != 4:
        raise ValueError(f"{name}: expected images [n, c, h, w], got shape {images.shape}")
    n, c, h, w = images.shape
    return n, c, h, w


def _scaled(images: Images) -> npt.NDArray[np.float32]:
    """float32 images; uint8 ones are scaled from 0..255 to 0..1."""
    if images.dtype == np.uint8:
        return images * np.float32(1 / 255)
    return images.astype(np.float32, copy=False)


class ToFloat:
    """float32 images, uint8 ones scaled from 0..255 to 0..1."""

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        return _scaled(images)


class Normalize:
    """(x - mean) / std for each channel, after scaling uint8 images to 0..1. `mean` and `std`: one number or c."""

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float]) -> None:
        self.mean = np.atleast_1d(np.asarray(mean, np.float32))
        self.std = np.atleast_1d(np.asarray(std, np.float32))
        if not (self.std > 0).all():
            raise ValueError(f"Normalize: std must be positive, got {std}")

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        _check("Normalize", images)
        return (_scaled(images) - self.mean[:, None, None]) / self.std[:, None, None]


class RandomCrop:
    """Pad every side with `padding` zeros and cut a random window of `size` (default: the image's own size)."""

    def __init__(self, padding: int, size: int | None = None) -> None:
        if padding < 0:
            raise ValueError(f"RandomCrop: padding must not be negative, got {padding}")
        self.padding, self.size = padding, size

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        n, _, h, w = _check("RandomCrop", images)
        p = self.padding
        height, width = (h, w) if self.size is None else (self.size, self.size)
        if height > h + 2 * p or width > w + 2 * p:
            raise ValueError(f"RandomCrop: {height}x{width} does not fit {h}x{w} padded by {p}")
        padded = np.pad(images, ((0, 0), (0, 0), (p, p), (p, p)))
        top = random.integers(0, h + 2 * p - height + 1)
        left = random.integers(0, w + 2 * p - width + 1)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
        return windows[np.arange(n), :, top, left]


class RandomShift(RandomCrop):
    """Shift by up to `pixels` whole pixels in each direction, filling with zeros."""

    def __init__(self, pixels: int) -> None:
        super().__init__(padding=pixels)


class RandomHorizontalFlip:
    """Mirror left and right with probability `p`."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        _check("RandomHorizontalFlip", images)
        flipped = images.copy()
        chosen = random.uniform() < self.p
        flipped[chosen] = images[chosen, ..., ::-1]
        return flipped


class ColorJitter:
    """Multiply pixels, then their distance to the image's mean, by factors uniform in 1 +- `brightness` and `contrast`.

    What leaves 0..255 of uint8, or 0..1 of floats, is cut.
    """

    def __init__(self, brightness: float = 0.0, contrast: float = 0.0) -> None:
        if not (0 <= brightness <= 1 and 0 <= contrast <= 1):
            raise ValueError(f"ColorJitter: brightness and contrast must be in 0..1, got {brightness}, {contrast}")
        self.brightness, self.contrast = brightness, contrast

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        _check("ColorJitter", images)
        factors = 1 + random.uniform(-1, 1, 2) * (self.brightness, self.contrast)
        light, spread = factors.T.astype(np.float32)[:, :, None, None, None]
        x = images.astype(np.float32, copy=False) * light
        mean = x.mean((1, 2, 3), keepdims=True)
        x = mean + (x - mean) * spread
        if images.dtype == np.uint8:
            return np.rint(x).clip(0, 255).astype(np.uint8)
        return x.clip(0, 1).astype(images.dtype, copy=False)


class Cutout:
    """Set a random square of `size` pixels, cut at the border, to 0 (DeVries and Taylor, arXiv:1708.04552)."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"Cutout: size must be at least 1, got {size}")
        self.size = size

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        _, _, h, w = _check("Cutout", images)
        top = (random.integers(0, h) - self.size // 2)[:, None]
        left = (random.integers(0, w) - self.size // 2)[:, None]
        rows, cols = np.arange(h), np.arange(w)
        in_rows = (rows >= top) & (rows < top + self.size)
        in_cols = (cols >= left) & (cols < left + self.size)
        hole = in_rows[:, :, None] & in_cols[:, None, :]
        return np.where(hole[:, None], images.dtype.type(0), images)


class RandomAffine:
    """Rotate, scale, shear and shift about the centre, with bilinear sampling.

    Angles and shears are uniform in +-`degrees` and +-`shear` degrees, scales in `scale`, shifts in +-`translate`
    times the image's width and height.
    """

    def __init__(
        self,
        degrees: float = 0.0,
        translate: float = 0.0,
        scale: tuple[float, float] = (1.0, 1.0),
        shear: float = 0.0,
    ) -> None:
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"RandomAffine: scale must be a positive (low, high), got {scale}")
        self.degrees, self.translate, self.scale, self.shear = degrees, translate, scale, shear

    def __call__(self, images: Images, random: SampleRandom) -> Images:
        n, _, h, w = _check("RandomAffine", images)
        angle, shear, size, dx, dy = random.uniform(-1, 1, 5).T
        angle = angle * math.radians(self.degrees)
        shear = np.tan(shear * math.radians(self.shear))
        low, high = self.scale
        size = low + (high - low) * (size + 1) / 2
        # The inverse map, output pixel to source pixel: undo the shift, the rotation, the shear, the scale.
        cos, sin = np.cos(angle) / size, np.sin(angle) / size
        matrix = np.stack([cos - shear * -sin, sin - shear * cos, -sin, cos], -1).reshape(n, 2, 2)
        centre = np.array([(w - 1) / 2, (h - 1) / 2])
        shift = np.stack([dx * self.translate * w, dy * self.translate * h], -1)
        cols, rows = np.meshgrid(np.arange(w), np.arange(h))
        grid = np.stack([cols.ravel(), rows.ravel()]) - centre[:, None]  # [2, h * w]: x, y from the centre
        source = matrix @ (grid - shift[:, :, None]) + centre[:, None]
        return sample_bilinear(images, source[:, 0].reshape(n, h, w), source[:, 1].reshape(n, h, w))


def sample_bilinear(images: Images, x: Images, y: Images) -> Images:
    """Sample images [n, c, h, w] at x, y [n, h', w'] (pixel units, corner pixel centre at 0): [n, c, h', w'].

    Points off the image blend with 0. uint8 results are rounded to nearest.
    """
    n, c, h, w = _check("sample_bilinear", images)
    # A border of two zeros holds every neighbour of any point after clamping to it.
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))).astype(np.float32, copy=False)
    flat = padded.reshape(n, c, -1)
    stride = w + 4
    x, y = np.clip(x, -1.5, w + 0.5) + 2, np.clip(y, -1.5, h + 0.5) + 2
    left, top = x.astype(np.int64), y.astype(np.int64)
    fx, fy = (x - left).astype(np.float32)[:, None], (y - top).astype(np.float32)[:, None]
    corner = top * stride + left

    def at(offset: int) -> Images:
        index = np.broadcast_to((corner + offset).reshape(n, 1, -1), (n, c, corner[0].size))
        return np.take_along_axis(flat, index, 2).reshape(n, c, *corner.shape[1:])

    upper = at(0) * (1 - fx) + at(1) * fx
    lower = at(stride) * (1 - fx) + at(stride + 1) * fx
    out = upper * (1 - fy) + lower * fy
    return np.rint(out).astype(np.uint8) if images.dtype == np.uint8 else out.astype(images.dtype, copy=False)
