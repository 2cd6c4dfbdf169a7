"""Skip connections: layers that add to their input instead of replacing it (section 4.7, figure 4.10).

The gradient reaches early layers past the others, unchanged by their Jacobians, and a network of a hundred layers
trains (He et al., arXiv:1603.05027). A concatenating connection hands the input on beside the result, as in U-Net.
"""

from __future__ import annotations

import math

import littlecore as lc
from littlecore import Tensor, data, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, RED, Demo
from .training_protocols import epoch, evaluated, flat

WIDTH = 64


class Deep(nn.Module):
    """`depth` blocks of layer norm, linear and ReLU between a linear stem and head; or without norm and skips."""

    def __init__(self, depth: int, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.stem, self.head = nn.Linear(64, WIDTH), nn.Linear(WIDTH, 10)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(depth)])
        self.layers = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(depth)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(1))
        scale = 1 / math.sqrt(len(self.layers))
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + scale * layer(norm(x)).relu() if self.skips else layer(x).relu()
        return self.head(x)


def run(demo: Demo) -> None:
    concatenation(demo)
    train, test = (flat(part) for part in data.digits(8))
    gradients(demo, *train)
    training(demo, train, test)


def concatenation(demo: Demo) -> None:
    """What is handed on beside the result comes out unchanged, and so does its gradient."""
    x = lc.randn(4, 3, 8, 8).requires_grad_()
    y = lc.cat([x, nn.Conv2d(3, 5, 3, padding=1)(x).relu()], 1)
    demo.metric("elements changed by a concatenating skip", (y[:, :3] != x).float().sum().item(), at_most=0)
    seed = lc.randn(4, 3, 8, 8)
    (y[:, :3] * seed).sum().backward()
    assert x.grad is not None
    demo.metric("elements of its gradient changed", (x.grad != seed).float().sum().item(), at_most=0)


def gradients(demo: Demo, x: Tensor, y: Tensor) -> None:
    depths = (5, 10, 20, 50, 100, 200)
    figure = demo.figure(
        "gradient",
        "The gradient's norm at the first layer against depth, before training; where there is no dot, it is 0.",
    )
    axes = figure.subplots()
    for name, skips, colour in (("plain", False, RED), ("with skips", True, BLUE)):
        norms = []
        for depth in demo.progress(depths, name):
            model = Deep(depth, skips)
            F.cross_entropy(model(x[:200]), y[:200]).backward()
            gradient = model.stem.weight.grad
            assert gradient is not None
            norms.append(gradient.double().square().sum().sqrt().item())
        bounds = {"at_least": 0.1} if skips else {"at_most": 1e-10}
        demo.metric(f"{name}, gradient at depth 200 / at 5", norms[-1] / norms[0], **bounds)  # type: ignore[arg-type]
        shown = [(depth, norm) for depth, norm in zip(depths, norms, strict=True) if norm > 0]
        axes.loglog([depth for depth, _ in shown], [norm for _, norm in shown], "o-", color=colour, label=name)
    axes.set(xlabel="depth (layers)", ylabel="norm of the gradient at layer 1")
    axes.legend()


def training(demo: Demo, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    """A hundred layers, with and without skips, on the digits."""
    figure = demo.figure("training", "Test accuracy of networks of a hundred layers.")
    axes = figure.subplots()
    epochs = demo.pick(9, 30)
    for name, skips, colour in (("plain", False, RED), ("with skips", True, BLUE)):
        model = Deep(100, skips)
        optimizer = optim.Adam(model.parameters(), lr=1e-3)
        accuracies = [evaluated(model, *test)[1]]
        for done in demo.progress(range(epochs), name):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - done / epochs)
            epoch(model, optimizer, *train, 48)
            accuracies.append(evaluated(model, *test)[1])
        bounds = {"at_least": 0.95} if skips else {"at_most": 0.5}
        demo.metric(f"100 layers {name}, test accuracy", accuracies[-1], **bounds)  # type: ignore[arg-type]
        axes.plot([100 * a for a in accuracies], "o-", color=colour, label=name)
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(0, 100))
    axes.legend()
