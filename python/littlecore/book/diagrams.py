"""Diagrams of models as flows of data: boxes for layers, lines around them for skips, frames around what repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from littlecore import nn
from littlecore.nn.draw import by_shape

from .demo import BLACK, BLUE, GREY

STEP = 0.5  # inches between two boxes


@dataclass(frozen=True)
class Part:
    """A box, filled if it has parameters, and the shape of what comes out of it.

    "+" is a sum. `skip`: it adds what went into the part so many below, by a line through the boxes `beside`. `shared`:
    its parameters are another part's too and count there.
    """

    name: str
    shape: str = ""
    parameters: int = 0
    skip: int = 0
    beside: tuple[Part, ...] = ()
    shared: bool = False


@dataclass(frozen=True)
class Repeated:
    """Parts that come `times` times, one set on top of the other."""

    parts: tuple[Part, ...]
    times: int


Column = Sequence["Part | Repeated"]


def layer(name: str, module: nn.Module, *shape: int, shared: bool = False) -> Part:
    """A module's box."""
    count = 0 if shared else sum(p.numel() for p in module.parameters())
    return Part(name, by_shape(*shape), count, shared=shared)


def parameters(column: Column) -> int:
    """Of all that is drawn."""
    total = 0
    for item in column:
        parts = item.parts if isinstance(item, Repeated) else (item,)
        times = item.times if isinstance(item, Repeated) else 1
        total += times * sum(part.parameters + parameters(part.beside) for part in parts)
    return total


def height(column: Column) -> int:
    """How many boxes stand on each other."""
    return sum(len(item.parts) if isinstance(item, Repeated) else 1 for item in column)


def draw_column(axes: Any, start: str, column: Column, x: float = 0.0, side: int = -1) -> dict[str, float]:
    """From the bottom up; the heights of the boxes, by name. `side`: where skips run, -1 is left, 1 is right."""
    places: dict[str, float] = {}
    _arrow(axes, x, -1.0, start, side)
    y = 0.0
    for item in column:
        parts = item.parts if isinstance(item, Repeated) else (item,)
        if isinstance(item, Repeated):
            wide = 0.4 if any(part.skip for part in parts) else 0
            _frame(axes, min(x - 1.25, x + side * (1.25 + wide)), y - 0.65, 2.5 + wide, len(parts))
            edge = x + 1.35 if side < 0 else x - 1.35
            axes.text(edge, y + len(parts) / 2 - 0.5, f"x {item.times}", va="center", fontsize=11, color=GREY,
                      ha="left" if side < 0 else "right")  # fmt: skip
        for part in parts:
            if part.skip:
                _skip(axes, part, x, y, side)
            _box(axes, part, x, y)
            _arrow(axes, x, y, part.shape, side)
            places[part.name] = y
            y += 1
    return places


def finish(axes: Any, title: str, left: float, right: float, boxes: int) -> None:
    """A column fits between -2 and 2, with boxes beside it between -4 and 2."""
    axes.set(xlim=(left, right), ylim=(-1.2, boxes - 0.1))
    axes.set_title(title)
    axes.axis("off")


def _box(axes: Any, part: Part, x: float, y: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    filled = part.parameters > 0 or part.shared
    face, ink = (BLUE, "white") if filled else ("white", BLUE)
    if part.name == "+":
        axes.plot(x, y, "o", markersize=13, color="white", markeredgecolor=BLUE, zorder=3)
    else:
        axes.add_patch(
            FancyBboxPatch(
                (x - 1, y - 0.26), 2, 0.52, boxstyle="round,pad=0,rounding_size=0.12", facecolor=face,
                edgecolor=BLUE, zorder=3,
            )
        )  # fmt: skip
    axes.text(x, y, part.name, ha="center", va="center", fontsize=8.5, color=ink, zorder=4)


def _arrow(axes: Any, x: float, y: float, shape: str, side: int) -> None:
    arrow = {"arrowstyle": "->", "color": BLACK, "linewidth": 1.1}
    axes.annotate("", (x, y + 0.76), (x, y + 0.24), arrowprops=arrow)
    axes.text(x - 0.12 * side, y + 0.5, shape, va="center", ha="left" if side < 0 else "right", fontsize=7.5)


def _skip(axes: Any, part: Part, x: float, y: float, side: int) -> None:
    away = x + side * (2.3 if part.beside else 1.35)
    low = y - part.skip - 0.5
    axes.plot((x, away, away), (low, low, y), color=BLACK, linewidth=1.1, zorder=1)
    axes.annotate(
        "", (x + side * 0.18, y), (away, y), arrowprops={"arrowstyle": "->", "color": BLACK, "linewidth": 1.1}
    )
    for k, box in enumerate(part.beside):
        _box(axes, box, away, low + (k + 1) * (part.skip + 0.5) / (len(part.beside) + 1))


def _frame(axes: Any, x: float, y: float, width: float, parts: int) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y), width, parts, fill=False, edgecolor=GREY, linestyle="--"))
