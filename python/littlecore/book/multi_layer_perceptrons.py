"""Multi-layer perceptrons: fully connected layers with an activation function between them (section 5.1, figure 5.1).

One hidden layer can come as near to any continuous function as one wants, if it is wide enough (Cybenko, Mathematics of
Control, Signals and Systems 2, 1989). For ReLU the weights can be written down: every unit bends the curve once, and
width W gives W straight pieces. Training finds such weights from examples, and regions that no line could bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, models, nn, optim
from littlecore.nn import functional as F

from .categories_of_models import moons
from .demo import BLACK, BLUE, GREEN, GREY, RED, Demo


def run(demo: Demo) -> None:
    demo.metric("parameters of the perceptron 50-25-10-2", _count(models.mlp()), within=(1557, 1557))
    classification(demo)
    approximation(demo)
    demo.drawing("drawing", "The perceptron 50-25-10-2: layers with parameters are filled.", models.mlp(), (1, 50))


def _count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def train(demo: Demo, model: nn.Module, loss: Callable[[], Tensor], steps: int, rate: float, text: str) -> None:
    """Full-batch Adam with a rate that falls to 0."""
    optimizer = optim.Adam(model.parameters(), lr=rate)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in demo.progress(range(steps), text):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        schedule.step()


# ---- regions of any shape --------------------------------------------------------------------------------------------


def disc(count: int) -> tuple[Tensor, Tensor]:
    """Points of a square; class 1 inside the disc that covers half of it.    [count, 2], [count]"""
    x = lc.rand(count, 2) * 2 - 1
    return x, (x.square().sum(1) < 2 / math.pi).long()


def clean_moons(count: int) -> tuple[Tensor, Tensor]:
    return moons(count, noise=0.08)


def classification(demo: Demo) -> None:
    figure = demo.figure(
        "regions",
        "Probability of the second class, the boundary (line) and the training points, for a linear layer (left) and "
        "a perceptron 2-32-32-2 (right).",
        (9.6, 7.8),
    )
    panels = figure.subplots(2, 2)
    for row, (name, draw) in enumerate((("disc", disc), ("two moons", clean_moons))):
        (x, label), (test_x, test_label) = draw(1000), draw(5000)
        for column, (kind, sizes) in enumerate((("linear", (2, 2)), ("perceptron", (2, 32, 32, 2)))):
            model = models.mlp(sizes)
            train(demo, model, lambda m=model, x=x, y=label: F.cross_entropy(m(x), y), demo.pick(400, 3000), 2e-2, name)  # type: ignore[misc]
            with lc.no_grad():
                accuracy = (model(test_x).argmax(-1) == test_label).float().mean().item()
            gates: dict[str, Any] = {"at_least": 0.99} if kind == "perceptron" else {"at_most": 0.95}
            demo.metric(f"{name}, test accuracy, {kind}", accuracy, **gates)
            regions(panels[row, column], model, x, label)
            panels[row, column].set_title(f"{kind}: {accuracy:.1%}")


def regions(axes: Any, model: nn.Module, x: Tensor, label: Tensor) -> None:
    low, high = x.amin(0).tolist(), x.amax(0).tolist()
    horizontal, vertical = (lc.linspace(a - 0.1, b + 0.1, 150) for a, b in zip(low, high, strict=True))
    grid = lc.stack(lc.meshgrid(horizontal, vertical, indexing="xy"), -1)  # [150, 150, 2]
    with lc.no_grad():
        p = model(grid.reshape(-1, 2)).softmax(-1).select(-1, 1).reshape(150, 150).numpy()
    axes.contourf(horizontal.numpy(), vertical.numpy(), p, levels=np.linspace(0, 1, 11), cmap="coolwarm", alpha=0.5)
    axes.contour(horizontal.numpy(), vertical.numpy(), p, levels=[0.5], colors=BLACK, linewidths=1.4)
    for k, (colour, marker) in enumerate(((BLUE, "o"), (RED, "^"))):
        points = x.numpy()[label.numpy() == k]
        axes.plot(points[:, 0], points[:, 1], marker, color=colour, markersize=2.2, alpha=0.7)
    axes.set(aspect="equal")
    axes.grid(False)


# ---- universal approximation -----------------------------------------------------------------------------------------


def constructed(width: int) -> nn.Sequential:
    """sin on [-pi, pi] by straight pieces between `width` + 1 even knots: a unit for every change of slope."""
    knots = lc.linspace(-math.pi, math.pi, width + 1, dtype=lc.float64)
    slopes = (knots[1:].sin() - knots[:-1].sin()) / (2 * math.pi / width)
    model = one_hidden_layer(width)
    with lc.no_grad():
        model[0].weight.fill_(1)
        model[0].bias.copy_(-knots[:-1])  # unit i is 0 left of knot i
        model[2].weight.copy_(lc.cat([slopes[:1], slopes[1:] - slopes[:-1]]).unsqueeze(0))
        model[2].bias.zero_()  # sin(-pi)
    return model


def one_hidden_layer(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(1, width), nn.ReLU(), nn.Linear(width, 1)).double()


def trained(demo: Demo, width: int) -> nn.Sequential:
    """The same network from random weights, by its mean squared error on 256 points."""
    model = one_hidden_layer(width).float()
    nn.init.normal_(model[0].weight)
    nn.init.uniform_(model[0].bias, -math.pi, math.pi)
    x = lc.linspace(-math.pi, math.pi, 256).unsqueeze(1)
    y = x.sin()
    train(demo, model, lambda: F.mse_loss(model(x), y), demo.pick(2500, 20000), 1e-2, f"width {width}")
    return model.double()


def approximation(demo: Demo) -> None:
    widths = [2**k for k in range(1, 11)]
    x = lc.linspace(-math.pi, math.pi, 20001, dtype=lc.float64).unsqueeze(1)
    y = x.sin()
    curves: dict[str, list[float]] = {"written": [], "trained": []}
    shown: dict[int, Tensor] = {}
    with lc.no_grad():
        for width in widths:
            curves["written"].append((constructed(width)(x) - y).abs().max().item())
    for width in widths[:8]:
        model = trained(demo, width)
        with lc.no_grad():
            shown[width] = model(x)
        curves["trained"].append((shown[width] - y).abs().max().item())
    written, learned = curves["written"], curves["trained"]
    bound = max(error * width**2 / (math.pi**2 / 2) for width, error in zip(widths, written, strict=True))
    demo.metric("sin by written weights, largest error / (2 pi / width)^2 / 8", bound, at_most=1.0001)
    demo.metric("written weights, error at width 256", written[7], at_most=1e-2)
    demo.metric("written weights, error at width 1024", written[9], at_most=1e-5)
    falls = [int((np.diff(errors) < 0).sum()) for errors in (written, learned)]
    demo.metric("doublings of the width that lower the error, written, of 9", falls[0], at_least=9)
    demo.metric("doublings of the width that lower the error, trained, of 7", falls[1], at_least=6)
    demo.metric("trained weights, error at width 256", learned[7], at_most=1e-2)

    figure = demo.figure(
        "approximation",
        "The sine by one hidden layer of ReLU: largest error against the width, and two of the trained curves.",
        (9.6, 3.6),
    )
    left, right = figure.subplots(1, 2)
    for (name, errors), colour in zip(curves.items(), (BLUE, RED), strict=True):
        left.loglog(widths[: len(errors)], errors, "o-", color=colour, label=f"{name} weights")
    left.set_xscale("log", base=2)
    left.set(xlabel="width", ylabel="largest error on $[-\\pi, \\pi]$")
    left.legend()
    right.plot(x.flatten().numpy(), y.flatten().numpy(), "--", color=GREY, linewidth=3, label="sin")
    for width, colour in ((4, GREEN), (64, RED)):
        right.plot(
            x.flatten().numpy(), shown[width].flatten().numpy(), color=colour, linewidth=1.4, label=f"width {width}"
        )
    right.set(xlabel="x", ylabel="y")
    right.legend()
