"""The notion of layer: models are built of standard operations, with parameters or without (section 4.1).

A diagram names every layer in the order in which they run, marks those that have parameters and writes the shape of a
sample beside every arrow. Blocks that repeat are drawn once, in a frame that says how often. It is all read off one
forward pass, so it shows what the model does and not what somebody remembered to draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import littlecore as lc
from littlecore import Tensor, models, nn

from .demo import Demo
from .diagrams import STEP, Column, Part, Repeated, by_shape, draw_column, finish, height

TRANSPARENT = ("Sequential", "ModuleList")  # they hold layers and are none


@dataclass
class Box:
    """A layer of the diagram, or (with `inside`) a block of layers that runs `times` times."""

    kind: str
    shape: tuple[int, ...]  # of a sample, behind it
    parameters: int
    inside: list[Box] = field(default_factory=list)
    times: int = 1

    def alike(self, other: Box) -> bool:
        return (self.kind, self.shape, self.parameters) == (other.kind, other.shape, other.parameters)

    @property
    def total(self) -> int:
        return self.times * self.parameters


def diagram(model: nn.Module, *example: Tensor | tuple[int, ...]) -> list[Box]:
    """The model's layers in running order; blocks that come more than once in a row are folded."""
    rows = [row for row in model.summary(*example, verbose=False).rows if row.depth > 0]
    boxes: list[Box] = []
    for box in _children(rows):
        if boxes and box.inside and box.alike(boxes[-1]):
            boxes[-1].times += 1
        else:
            boxes.append(box)
    return boxes


def _children(rows: Sequence[Any]) -> Iterator[Box]:
    """A box for every row at the least depth; containers give their contents instead."""
    starts = [i for i, row in enumerate(rows) if row.depth == rows[0].depth]
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        row, below = rows[start], rows[start + 1 : end]
        if row.kind in TRANSPARENT:
            yield from _children(below)
        else:
            inside = list(_children(below)) if below else []
            shape = row.shape if isinstance(row.shape, tuple) else row.shape[0]  # of several outputs, the first
            yield Box(row.kind, shape[1:], row.parameters, inside)


def text(boxes: Sequence[Box], indent: str = "  ") -> Iterator[str]:
    """A line for every layer: its name (* with parameters), the shape behind it, its parameters."""
    for box in boxes:
        name = f"{indent}{box.kind}{' *' if box.parameters else ''}{f'  x{box.times}' if box.times > 1 else ''}"
        yield f"{name:<36}{by_shape(*box.shape):<16}{f'{box.total:,}' if box.parameters else '':>12}"
        if box.times > 1:
            yield from text(box.inside, indent + "    ")


def drawn(boxes: Sequence[Box]) -> Column:
    """The boxes as diagrams draws them."""

    def part(box: Box) -> Part:
        return Part(box.kind, by_shape(*box.shape), box.parameters)

    return [Repeated(tuple(map(part, b.inside)), b.times) if b.times > 1 else part(b) for b in boxes]


def lenet() -> nn.Sequential:
    """models.LeNet with every operation a layer (section 5.2)."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 5), nn.MaxPool2d(3), nn.ReLU(),
        nn.Conv2d(32, 64, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 200), nn.ReLU(), nn.Linear(200, 10),
    )  # fmt: skip


def run(demo: Demo) -> None:
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256, batch_first=True), 6)
    shown: list[tuple[str, nn.Module, tuple[int, ...], int]] = [
        ("perceptron", models.mlp(), (50,), 1557),
        ("LeNet", lenet(), (1, 28, 28), 105_506),
        ("Transformer encoder", encoder, (16, 64), 299_904),
    ]
    columns = []
    for name, model, start, parameters in shown:
        boxes = diagram(model, (1, *start))
        demo.say(f"\n  {name}, of a sample {by_shape(*start)} (* has parameters)")
        for line in text(boxes):
            demo.say(line)
        demo.metric(f"{name}, parameters in the diagram", sum(b.total for b in boxes), within=(parameters, parameters))
        columns.append((name, start, drawn(boxes)))

    # A model is its layers, one after the other, and what is frozen stays as it is.
    model, x = lenet(), lc.randn(8, 1, 28, 28)
    y = x
    for layer in model:
        y = layer(y)
    demo.metric("layers one by one, distance to the model", (y - model(x)).abs().max().item(), at_most=0)
    model[0].requires_grad_(False)
    model(x).square().sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    demo.metric("frozen first layer, parameters without a gradient", len(without), within=(2, 2))

    tallest = max(height(column) for _, _, column in columns)
    figure = demo.figure(
        "diagrams",
        "Three models, drawn from a forward pass of each: layers with parameters are filled, shapes of a sample stand "
        "beside the arrows, the framed block repeats. Functions called inside a layer, such as skips, are not drawn.",
        (9.6, STEP * (tallest + 2)),
    )
    for axes, (name, start, column) in zip(figure.subplots(1, len(columns)), columns, strict=True):
        draw_column(axes, by_shape(*start), column)
        finish(axes, name, -2, 2, tallest)
