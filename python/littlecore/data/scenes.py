"""Generated scenes: coloured shapes on a shaded, grainy ground, with the mask, boxes and caption that describe them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from .counter_random import SampleRandom

SHAPES = ("disc", "square", "triangle", "star")
COLOURS = ("red", "green", "blue", "yellow", "purple", "cyan")
PAIRS = tuple(product(COLOURS, SHAPES))  # every (colour, shape)
Array = npt.NDArray[np.float32]
_RGB = np.array([[0.85, 0.15, 0.1], [0.1, 0.65, 0.2], [0.15, 0.25, 0.85], [0.9, 0.8, 0.1], [0.6, 0.15, 0.7],
                 [0.1, 0.75, 0.8]])  # fmt: skip
_TRIES = 12  # places drawn for an object; where none is free, the scene goes without it


@dataclass(frozen=True)
class Scenes:
    """n scenes. An object that a scene lacks has shape and colour -1, and a box of zeros."""

    images: npt.NDArray[np.float32]  # [n, 3, size, size] of 0..1
    masks: npt.NDArray[np.int64]  # [n, size, size]: 0 the ground, else 1 + the shape
    shapes: npt.NDArray[np.int64]  # [n, most]: index into SHAPES
    colours: npt.NDArray[np.int64]  # [n, most]: index into COLOURS
    boxes: npt.NDArray[np.float32]  # [n, most, 4]: left, top, right, bottom in pixels, right and bottom exclusive

    def __len__(self) -> int:
        return len(self.images)

    def caption(self, scene: int) -> str:
        """What stands in it from left to right, such as "a red disc left of a blue square"."""
        there = np.flatnonzero(self.shapes[scene] >= 0)
        ordered = there[np.argsort(self.boxes[scene, there, ::2].sum(-1), kind="stable")]
        names = (f"a {COLOURS[self.colours[scene, k]]} {SHAPES[self.shapes[scene, k]]}" for k in ordered)
        return " left of ".join(names)


def scenes(
    count: int,
    size: int = 48,
    *,
    objects: tuple[int, int] = (1, 4),
    radius: tuple[float, float] = (0.09, 0.22),
    pairs: Sequence[tuple[str, str]] = PAIRS,
    grain: float = 0.06,
    seed: int = 0,
) -> Scenes:
    """`count` scenes of `size` x `size` pixels, with some of `pairs` (colour, shape) that do not touch each other.

    Radii are in units of `size`; `grain` is the noise's standard deviation. Scene i of a seed does not
    depend on `count`.
    """
    fewest, most = objects
    if not 0 <= fewest <= most or most < 1:
        raise ValueError(f"scenes: objects must be (fewest, most) with 0 <= fewest <= most, got {objects}")
    if not pairs or any(pair not in PAIRS for pair in pairs):
        unknown = next((pair for pair in pairs if pair not in PAIRS), "no pair at all")
        raise ValueError(f"scenes: pairs are of {COLOURS} and {SHAPES}, got {unknown}")
    random = SampleRandom(seed, 0, np.arange(count))
    wanted = random.integers(fewest, most + 1)
    chosen = np.array([(COLOURS.index(c), SHAPES.index(s)) for c, s in pairs])[random.integers(0, len(pairs), most)]
    radii = size * random.uniform(*radius, most)
    turns = random.uniform(-0.35, 0.35, most)  # radians
    tint = random.uniform(-0.1, 0.1, most, 3)
    centres, there = _places(random, radii, wanted, size)

    y, x = (np.mgrid[:size, :size] + 0.5).astype(np.float32)
    images = _ground(random, x / size, y / size)
    masks = np.zeros((count, size, size), np.int64)
    boxes = np.zeros((count, most, 4), np.float32)
    for k, shape in product(range(most), range(len(SHAPES))):
        rows = np.flatnonzero(there[:, k] & (chosen[:, k, 1] == shape))
        place, outer, turn = (
            v[rows, k].astype(np.float32)[..., None, None] for v in (centres, radii, turns)
        )  # [rows, 2, 1, 1], [rows, 1, 1] twice
        covered = (0.5 - _OUTLINES[shape](*_turned(x - place[:, 0], y - place[:, 1], turn), outer)).clip(0, 1)
        paint = (_RGB[chosen[rows, k, 0]] + tint[rows, k]).astype(np.float32)[..., None, None]
        images[rows] += covered[:, None] * (paint - images[rows])  # the edge's pixels are covered in part
        inside = covered >= 0.5
        masks[rows] = np.where(inside, 1 + shape, masks[rows])
        boxes[rows, k] = _box(inside)
    images += np.float32(grain) * _noise(random, 3, size, size)
    absent = ~there
    shapes, colours = chosen[..., 1].copy(), chosen[..., 0].copy()
    shapes[absent] = colours[absent] = -1
    return Scenes(images.clip(0, 1).astype(np.float32), masks, shapes, colours, boxes)


def _places(
    random: SampleRandom, radii: npt.NDArray[np.float64], wanted: npt.NDArray[np.int64], size: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Centres [n, most, 2] of discs that overlap nowhere, and which of them found a place [n, most]."""
    n, most = radii.shape
    tries = random.uniform(0, 1, most, _TRIES, 2)
    centres, there = np.zeros((n, most, 2)), np.zeros((n, most), bool)
    for k in range(most):
        margin = radii[:, k, None, None]
        places = margin + tries[:, k] * (size - 2 * margin)  # [n, tries, 2]
        apart = np.sqrt(np.square(places[:, :, None] - centres[:, None, :k]).sum(-1))  # [n, tries, k]
        free = ((apart > (radii[:, :k] + radii[:, k, None])[:, None] + 1) | ~there[:, None, :k]).all(-1)
        centres[:, k] = places[np.arange(n), free.argmax(1)]
        there[:, k] = free.any(1) & (k < wanted)
    return centres, there


# How far a point (u, v) lies from the outline of a shape of radius r, below 0 inside, nearly in pixels.


def _disc(u: Array, v: Array, r: Array) -> Array:
    return np.hypot(u, v) - 0.9 * r


def _square(u: Array, v: Array, r: Array) -> Array:
    return np.maximum(np.abs(u), np.abs(v)) - 0.8 * r


def _triangle(u: Array, v: Array, r: Array) -> Array:
    return np.maximum(v, np.abs(u) * np.float32(0.75**0.5) - v / 2) - r / 2


def _star(u: Array, v: Array, r: Array) -> Array:
    fifth = np.float32(2 * np.pi / 5)
    angle = np.abs((np.arctan2(u, -v) + fifth / 2) % fifth - fifth / 2)  # from the nearest of five points
    return (np.hypot(u, v) * (np.cos(angle) + 2.4 * np.sin(angle)) - r) / 2.6


_OUTLINES = (_disc, _square, _triangle, _star)


def _turned(x: Array, y: Array, angle: Array) -> tuple[Array, Array]:
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _box(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """The least box around the pixels that are true, zeros where there are none.    [n, H, W] -> [n, 4]"""
    columns, rows = np.asarray(inside.any(1)), np.asarray(inside.any(2))
    left, top = columns.argmax(1), rows.argmax(1)
    right, bottom = (line.shape[1] - line[:, ::-1].argmax(1) for line in (columns, rows))
    return np.where(rows.any(1, keepdims=True), np.stack([left, top, right, bottom], 1), 0).astype(np.float32)


def _ground(random: SampleRandom, x: Array, y: Array) -> Array:
    """A dull colour that changes from side to side.    [n, 3, size, size]"""
    colour = (random.uniform(0.3, 0.7, 1) + random.uniform(-0.08, 0.08, 3)).astype(np.float32)  # [n, 3]
    across, down = random.uniform(-0.25, 0.25, 2).astype(np.float32).T[..., None, None]  # [n, 1, 1] each
    return colour[..., None, None] + (across * (x - 0.5) + down * (y - 0.5))[:, None]


def _noise(random: SampleRandom, *shape: int) -> Array:
    """Nearly normal numbers [n, *shape] of mean 0 and variance 1: sums of four random bytes."""
    total = random.bits(*shape).view(np.uint8).reshape(len(random), *shape, 4).sum(-1, dtype=np.float32)
    return (total - 510) / np.float32((65535 / 3) ** 0.5)
