"""Three kinds of model on one kind of loop: regression, classification, density (sections 1.1 and 1.4).

Learning is the same each time: a parametric model, a loss over examples, parameters that make it small. What differs is
what the model's output means: a value, scores of classes, or the logarithm of a probability density.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import littlecore as lc
from littlecore import Tensor, nn, optim

from .demo import BLACK, BLUE, GREY, RED, Demo


def mlp(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)
    )  # fmt: skip


def train(demo: Demo, model: nn.Module, loss: Callable[[], Tensor], steps: int, text: str) -> None:
    """Full-batch Adam: `loss` computes the loss of all training examples."""
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    for _ in demo.progress(range(steps), text):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()


# ---- regression: a value ---------------------------------------------------------------------------------------------

NOISE = 0.1


def waves(count: int) -> tuple[Tensor, Tensor]:
    """Noisy points on a sum of two sines.    [count, 1], [count, 1]"""
    x = lc.rand(count, 1) * 2 - 1
    return x, wave(x) + NOISE * lc.randn(count, 1)


def wave(x: Tensor) -> Tensor:
    return (3 * x).sin() / 2 + (7 * x).sin() / 3


def regression(demo: Demo, axes: Any) -> None:
    (x, y), (test_x, test_y) = waves(200), waves(1000)
    model = mlp(1, 1)
    train(demo, model, lambda: nn.functional.mse_loss(model(x), y), 500, "regression")
    with lc.no_grad():
        demo.metric("regression, train MSE", nn.functional.mse_loss(model(x), y).item())
        test = nn.functional.mse_loss(model(test_x), test_y).item()
        demo.metric("regression, test MSE / variance of the noise", test / NOISE**2, at_most=1.3)
        grid = lc.linspace(-1, 1, 300).unsqueeze(-1)
        axes.plot(x.numpy(), y.numpy(), "o", color=BLACK, markersize=2.5, alpha=0.6)
        axes.plot(grid.numpy(), wave(grid).numpy(), "--", color=GREY)
        axes.plot(grid.numpy(), model(grid).numpy(), color=RED, linewidth=2.2)
    axes.set(title="regression", xlabel="x", ylabel="y")


# ---- classification: scores of classes -------------------------------------------------------------------------------


def moons(count: int, noise: float = 0.15) -> tuple[Tensor, Tensor]:
    """Two interleaved half circles with noise.    [count, 2], classes [count]"""
    label = (lc.rand(count) < 0.5).long()
    angle, side = lc.rand(count) * math.pi, label.float()
    x = angle.cos() * (1 - 2 * side) + side
    y = angle.sin() * (1 - 2 * side) + side / 2
    return lc.stack([x, y], 1) + noise * lc.randn(count, 2), label


def classification(demo: Demo, axes: Any) -> None:
    (x, label), (test_x, test_label) = moons(300), moons(2000)
    model = mlp(2, 2)
    train(demo, model, lambda: nn.functional.cross_entropy(model(x), label), 200, "classification")
    with lc.no_grad():
        demo.metric("classification, train accuracy", _accuracy(model(x), label))
        demo.metric("classification, test accuracy", _accuracy(model(test_x), test_label), at_least=0.97)
        horizontal, vertical = lc.linspace(-1.6, 2.6, 120), lc.linspace(-1.2, 1.7, 90)
        grid = lc.stack(lc.meshgrid(horizontal, vertical, indexing="xy"), -1).reshape(-1, 2)
        probability = model(grid).softmax(-1).select(-1, 1).reshape(90, 120)
    axes.contourf(horizontal.numpy(), vertical.numpy(), probability.numpy(), levels=11, cmap="coolwarm", alpha=0.5)
    for k, (colour, marker) in enumerate(((BLUE, "o"), (RED, "^"))):
        points = x.numpy()[label.numpy() == k]
        axes.plot(points[:, 0], points[:, 1], marker, color=colour, markersize=2.8)
    axes.set(title="classification", xlabel="$x_1$", ylabel="$x_2$")
    axes.grid(False)


def _accuracy(scores: Tensor, label: Tensor) -> float:
    return (scores.argmax(-1) == label).float().mean().item()


# ---- density: the logarithm of a probability density -----------------------------------------------------------------

WEIGHTS, MEANS, DEVIATIONS = (0.3, 0.5, 0.2), (-2.0, 0.5, 3.0), (0.5, 0.8, 0.3)


class GaussianMixture(nn.Module):
    """log p(x) = logsumexp_k (log w_k + log N(x; m_k, s_k)), with w a softmax and s an exponential of parameters."""

    def __init__(self, means: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(lc.zeros_like(means))
        self.means = nn.Parameter(means)
        self.log_deviations = nn.Parameter(lc.zeros_like(means))

    def forward(self, x: Tensor) -> Tensor:
        z = (x.unsqueeze(-1) - self.means) / self.log_deviations.exp()
        return (self.logits.log_softmax(-1) - z.square() / 2 - self.log_deviations).logsumexp(-1) - _LOG_ROOT


_LOG_ROOT = math.log(2 * math.pi) / 2


def true_mixture() -> GaussianMixture:
    model = GaussianMixture(lc.tensor(MEANS))
    model.logits = nn.Parameter(lc.tensor(WEIGHTS).log())
    model.log_deviations = nn.Parameter(lc.tensor(DEVIATIONS).log())
    return model


def density(demo: Demo, axes: Any) -> None:
    def draw(count: int) -> Tensor:
        part = lc.multinomial(lc.tensor(WEIGHTS), count, replacement=True)
        return lc.tensor(MEANS)[part] + lc.tensor(DEVIATIONS)[part] * lc.randn(count)

    x, test_x = draw(1000), draw(4000)
    model, truth = GaussianMixture(lc.linspace(-3, 3, 5)), true_mixture()
    train(demo, model, lambda: -model(x).mean(), 400, "density")
    with lc.no_grad():
        demo.metric("density, train negative log-likelihood (nats)", -model(x).mean().item())
        excess = truth(test_x).mean().item() - model(test_x).mean().item()
        demo.metric("density, test excess over the true density (nats)", excess, within=(-0.01, 0.02))
        grid = lc.linspace(-12, 12, 4801)
        p = model(grid).exp()
        demo.metric("density, integral over the line", p.sum().item() * 24 / 4800, within=(0.999, 1.001))
        near = slice(1200, 3400)
        axes.hist(x.numpy(), bins=60, density=True, color=GREY, alpha=0.4)
        axes.plot(grid.numpy()[near], truth(grid).exp().numpy()[near], "--", color=GREY)
        axes.plot(grid.numpy()[near], p.numpy()[near], color=RED, linewidth=2.2)
    axes.set(title="density", xlabel="x", ylabel="probability density")


def run(demo: Demo) -> None:
    figure = demo.figure(
        "three_kinds",
        "Left: a curve through noisy values (dashed: without noise). Middle: the probability of the second class. "
        "Right: a mixture of five Gaussians fitted to samples of three (dashed: the true density).",
        (9.6, 3.2),
    )
    for axes, kind in zip(figure.subplots(1, 3), (regression, classification, density), strict=True):
        kind(demo, axes)
