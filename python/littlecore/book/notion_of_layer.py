"""The notion of layer: models are built of standard operations, with parameters or without (section 4.1).

`model.draw(example)` names every layer in the order in which they run, marks those that have parameters and writes the
shape of a sample beside each. Blocks that repeat are drawn once and say how often. It is all read off one forward pass,
so it shows what the model does and not what somebody remembered to draw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import littlecore as lc
from littlecore import models, nn
from littlecore.nn.draw import Box, by_shape

from .demo import Demo
from .diagrams import STEP, Column, Part, Repeated, draw_column, finish, height


def drawn(boxes: Sequence[Box]) -> Column:
    """The boxes as diagrams draws them."""

    def parts(boxes: Sequence[Box]) -> Iterator[Part | Repeated]:
        for i, box in enumerate(boxes):
            if box.times > 1:
                yield Repeated(tuple(parts(box.inside)), box.times)  # type: ignore[arg-type]
            else:
                added = [boxes.index(source) + 1 for source in box.sources if source in boxes[: i - 1]]
                skip = i - max(added, default=0) if box.kind == "+" else 0
                yield Part(box.kind, by_shape(*box.shape), box.parameters, skip)

    return list(parts(boxes))


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
        drawing = model.draw((1, *start))
        demo.say(f"\n{drawing}\n")
        total = sum(box.times * box.parameters for box in drawing.boxes)
        demo.metric(f"{name}, parameters in the diagram", total, within=(parameters, parameters))
        columns.append((name, start, drawn(drawing.boxes[1:])))

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
        "beside the arrows, the framed block repeats.",
        (9.6, STEP * (tallest + 2)),
    )
    for axes, (name, start, column) in zip(figure.subplots(1, len(columns)), columns, strict=True):
        draw_column(axes, by_shape(*start), column)
        finish(axes, name, -2, 2, tallest)
