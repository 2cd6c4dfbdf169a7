"""The value of depth: eight layers of the plane bend it until a line tells the classes apart (section 3.5, figure 3.4).

Every layer is a 2 x 2 matrix, a shift and tanh, so what each does can be looked at. So narrow a network often gets
stuck; a batch of networks is trained at once, each from another start, and the best one is shown.
"""

from __future__ import annotations

import math

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, RED, Demo

DEPTH = 8


def disc_in_ring(count: int) -> tuple[Tensor, Tensor]:
    """Points of a disc and of a ring around it: no line tells them apart.    [count, 2], classes [count]"""
    ring = (lc.rand(count) < 0.5).float()
    radius = ring + (1 - ring) * 0.35 * lc.rand(count).sqrt() + 0.05 * lc.randn(count)
    angle = 2 * math.pi * lc.rand(count)
    return lc.stack([radius * angle.cos(), radius * angle.sin()], 1), ring.long()


class NarrowNetworks(nn.Module):
    """`starts` networks side by side: DEPTH times (2 x 2, shift, tanh), then a linear layer."""

    def __init__(self, starts: int) -> None:
        super().__init__()
        angles = 2 * math.pi * lc.rand(DEPTH, starts)
        rows = [lc.stack([angles.cos(), -angles.sin()], -1), lc.stack([angles.sin(), angles.cos()], -1)]
        self.weight = nn.ParameterList([nn.Parameter(1.5 * w) for w in lc.stack(rows, -2).unbind(0)])
        self.shift = nn.ParameterList([nn.Parameter(0.3 * lc.randn(starts, 1, 2)) for _ in range(DEPTH)])
        self.readout = nn.Parameter(lc.randn(starts, 2, 2))
        self.bias = nn.Parameter(lc.zeros(starts, 1, 2))

    def deformed(self, x: Tensor) -> list[Tensor]:
        """Where the points are before and after every layer: DEPTH + 1 tensors [starts, N, 2]."""
        places = [x]
        for weight, shift in zip(self.weight, self.shift, strict=True):
            places.append((places[-1] @ weight + shift).tanh())
        return places

    def forward(self, x: Tensor) -> Tensor:
        return self.deformed(x)[-1] @ self.readout + self.bias


def accuracy_of_a_line(places: Tensor, classes: Tensor) -> Tensor:
    """Training accuracy of logistic regression on each of several sets of points.    [D, N, 2], [N] -> [D]"""
    x = (places - places.mean(1, keepdim=True)) / places.std(1, keepdim=True)
    w, b = lc.zeros(len(x), 2, 1).requires_grad_(), lc.zeros(len(x), 1, 1).requires_grad_()
    optimizer = optim.Adam([w, b], lr=0.3)
    for _ in range(300):
        loss = F.binary_cross_entropy_with_logits((x @ w + b).squeeze(-1), classes.float().expand(x.shape[:2]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return ((x @ w + b).detach().squeeze(-1).gt(0) == (classes == 1)).float().mean(-1)


def run(demo: Demo) -> None:
    starts, steps, lr = demo.pick(32, 256), demo.pick(400, 3000), 0.02
    x, classes = disc_in_ring(300)
    test_x, test_classes = disc_in_ring(2000)
    model = NarrowNetworks(starts)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    copies, targets = x.expand(starts, 300, 2), classes.expand(starts, 300).reshape(-1)
    for step in demo.progress(range(steps)):
        optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
        loss = F.cross_entropy(model(copies).reshape(-1, 2), targets) * starts
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    with lc.no_grad():
        accuracy = (model(copies).argmax(-1) == classes).float().mean(-1)
        best = int(accuracy.argmax().item())
        test = (model(test_x.expand(starts, 2000, 2))[best].argmax(-1) == test_classes).float().mean().item()
        places = lc.stack([place[best] for place in model.deformed(copies)])  # [DEPTH + 1, N, 2]
    demo.metric(f"starts of {starts} that reach 99 % of the training points", int((accuracy >= 0.99).sum().item()))
    demo.metric("best start, train accuracy", accuracy.max().item(), at_least=0.99)
    demo.metric("best start, test accuracy", test, at_least=0.95)
    lines = accuracy_of_a_line(places, classes).tolist()
    demo.metric("a line on the points themselves, accuracy", lines[0], at_most=0.8)
    demo.metric("a line after eight layers, accuracy", lines[-1], at_least=0.99)

    figure = demo.figure(
        "deformation",
        "The points after 0 to 8 layers, with the accuracy of the best line; in the last panel the network's own.",
        (9.0, 9.0),
    )
    for d, (axes, place) in enumerate(zip(figure.subplots(3, 3).ravel(), places.numpy(), strict=True)):
        for kind, colour, marker in ((0, BLUE, "o"), (1, RED, "^")):
            points = place[classes.numpy() == kind]
            axes.plot(points[:, 0], points[:, 1], marker, color=colour, markersize=3)
        axes.set(title=f"d = {d}: {lines[d]:.1%}", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), aspect="equal")
    with lc.no_grad():
        w = (model.readout[best, :, 1] - model.readout[best, :, 0]).numpy()
        b = (model.bias[best, 0, 1] - model.bias[best, 0, 0]).item()
    t = np.linspace(-3, 3, 2)[:, None] * np.array([-w[1], w[0]]) / np.hypot(*w) - b * w / (w @ w)
    figure.axes[-1].plot(t[:, 0], t[:, 1], color="black", linewidth=1.2)
