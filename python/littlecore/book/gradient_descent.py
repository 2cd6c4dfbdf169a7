"""Gradient descent: the step against the gradient, its size, its noise (section 3.3, figure 3.2).

On a quadratic everything is known in closed form, so the optimizers are held to it: w_t = (I - lr A)^t w_0, which
shrinks in every direction exactly when lr < 2 / (largest eigenvalue). Adam is Kingma and Ba's (arXiv:1412.6980).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, optim

from .demo import BLACK, BLUE, GREEN, GREY, RED, Demo

EIGENVALUES = np.array([10.0, 1.0])
_ANGLE = 0.5
ROTATION = np.array([[math.cos(_ANGLE), -math.sin(_ANGLE)], [math.sin(_ANGLE), math.cos(_ANGLE)]])
START = np.array([-1.6, 1.3])


def quadratic(w: Tensor) -> Tensor:
    """w A w / 2, where A has the eigenvalues above."""
    a = lc.from_numpy(ROTATION @ np.diag(EIGENVALUES) @ ROTATION.T)
    return (w * (a @ w)).sum() / 2


def rosenbrock(w: Tensor) -> Tensor:
    """Rosenbrock's bent valley; its minimum is at (1, 1)."""
    return (1 - w[0]).square() + 20 * (w[1] - w[0].square()).square()


def descend(loss: Callable[[Tensor], Tensor], start: np.ndarray, steps: int, make: Callable[[Any], Any]) -> np.ndarray:
    """The points that an optimizer visits.    [steps + 1, 2]"""
    w = lc.from_numpy(start.copy()).requires_grad_()
    optimizer = make([w])
    visited = [start]
    for _ in range(steps):
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()
        visited.append(w.detach().numpy().copy())
    return np.array(visited)


def sgd(lr: float) -> Callable[[Any], Any]:
    return lambda parameters: optim.SGD(parameters, lr=lr)


def run(demo: Demo) -> None:
    closed_form(demo)
    minibatches(demo)
    adam_as_written(demo)
    valley(demo)


def closed_form(demo: Demo) -> None:
    limit = 2 / EIGENVALUES.max()
    path = descend(quadratic, START, 100, sgd(0.6 * limit))
    factors = (1 - 0.6 * limit * EIGENVALUES) ** np.arange(101)[:, None]
    exact = (factors * (ROTATION.T @ START)) @ ROTATION.T
    demo.metric("distance to the closed form, 100 steps", np.abs(path - exact).max(), at_most=1e-12)
    for share, bounds in ((0.99, {"at_most": 0.1}), (1.01, {"at_least": 10})):
        final = descend(quadratic, START, 1000, sgd(share * limit))[-1]
        growth = float(np.linalg.norm(final) / np.linalg.norm(START))
        demo.metric(f"|w| after 1,000 steps / before, lr {share} of the limit", growth, **bounds)  # type: ignore[arg-type]

    figure = demo.figure(
        "learning_rate", "Twenty steps on a quadratic: a learning rate that is too small, right, too large.", (9.6, 3.3)
    )
    shares = (("too small", 0.04, BLUE), ("right", 0.75, GREEN), ("too large", 1.03, RED))
    for axes, (name, share, colour) in zip(figure.subplots(1, 3, sharey=True), shares, strict=True):
        _level_curves(axes, quadratic, (-2, 2), (-2, 2))
        path = descend(quadratic, START, 20, sgd(share * limit))
        axes.plot(path[:, 0], path[:, 1], "o-", color=colour, markersize=3.5, linewidth=1.4)
        axes.set(title=f"{name}: lr = {share * limit:.3g}", xlabel="$w_1$", xlim=(-2, 2), ylim=(-2, 2), aspect="equal")
    figure.axes[0].set_ylabel("$w_2$")


def minibatches(demo: Demo) -> None:
    """Stochastic gradient descent: the minibatches' gradients are the whole gradient on average."""
    x = lc.randn(512, 8, dtype=lc.float64)
    target = x @ lc.randn(8, dtype=lc.float64) + 0.1 * lc.randn(512, dtype=lc.float64)

    def gradient(rows: slice, w: Tensor) -> Tensor:
        w = w.detach().requires_grad_()
        (x[rows] @ w - target[rows]).square().mean().backward()
        assert w.grad is not None
        return w.grad

    w = lc.zeros(8, dtype=lc.float64)
    parts = [gradient(slice(i, i + 32), w) for i in range(0, 512, 32)]
    whole = gradient(slice(0, 512), w)
    distance = (lc.stack(parts).mean(0) - whole).abs().max().item() / whole.abs().max().item()
    demo.metric("mean of 16 minibatch gradients, relative distance to all", distance, at_most=1e-12)

    curves = {}
    for name, size in (("all 512 samples a step", 512), ("32 samples a step", 32)):
        w, losses = lc.zeros(8, dtype=lc.float64), []
        for _ in range(12):
            for i in range(0, 512, size):
                w = w - 0.05 * gradient(slice(i, i + size), w)
            losses.append((x @ w - target).square().mean().item())
        curves[name] = losses
    full, stochastic = (losses[4] for losses in curves.values())
    demo.metric("loss after 5 epochs, minibatches / all at once", stochastic / full, at_most=0.1)
    figure = demo.figure("minibatches", "The same amount of data, in one step an epoch or in sixteen.", (6.4, 3.4))
    axes = figure.subplots()
    for (name, losses), colour in zip(curves.items(), (BLUE, RED), strict=True):
        axes.semilogy(range(1, 13), losses, "o-", color=colour, markersize=4, label=name)
    axes.set(xlabel="epoch", ylabel="mean squared error")
    axes.legend()


def adam_as_written(demo: Demo) -> None:
    """Adam's formulas in NumPy, fed with the gradients of a thousand steps."""
    lr, beta1, beta2, eps = 0.01, 0.9, 0.999, 1e-8
    path = descend(rosenbrock, START, 1000, lambda p: optim.Adam(p, lr=lr))
    w, m, v = START.copy(), np.zeros(2), np.zeros(2)
    worst = 0.0
    for t in range(1, 1001):
        a, b = w
        g = np.array([2 * (a - 1) - 80 * a * (b - a * a), 40 * (b - a * a)])
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        w = w - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)
        worst = max(worst, float(np.abs(path[t] - w).max()))
    demo.metric("Adam, distance to its formulas over 1,000 steps", worst, at_most=1e-7)


def valley(demo: Demo) -> None:
    steps = demo.pick(500, 5000)
    makers: dict[str, Callable[[Any], Any]] = {
        "gradient descent": sgd(0.004),
        "with momentum": lambda p: optim.SGD(p, lr=0.004, momentum=0.9),
        "Adam": lambda p: optim.Adam(p, lr=0.3),
    }
    figure = demo.figure("valley", f"{steps} steps in Rosenbrock's valley; the minimum is the cross.", (6.4, 4.6))
    axes = figure.subplots()
    _level_curves(axes, rosenbrock, (-2, 1.8), (-0.8, 2.6))
    for (name, make), colour in zip(makers.items(), (BLUE, RED, GREEN), strict=True):
        path = descend(rosenbrock, START, steps, make)
        gate = {} if name == "gradient descent" else {"at_most": 0.05}
        distance = float(np.linalg.norm(path[-1] - 1))
        demo.metric(f"{name}, distance to the minimum after {steps} steps", distance, **gate)  # type: ignore[arg-type]
        axes.plot(path[:, 0], path[:, 1], "o-", color=colour, markersize=2, linewidth=1.2, label=name)
    axes.plot(1, 1, "+", color=BLACK, markersize=12, markeredgewidth=2)
    axes.set(xlabel="$w_1$", ylabel="$w_2$", xlim=(-2, 1.8), ylim=(-0.8, 2.6))
    axes.legend(loc="lower left")


def _level_curves(
    axes: Any, loss: Callable[[Tensor], Tensor], horizontal: tuple[float, float], vertical: tuple[float, float]
) -> None:
    x, y = np.linspace(horizontal[0], horizontal[1], 60), np.linspace(vertical[0], vertical[1], 60)
    height = np.array([[loss(lc.tensor([a, b], dtype=lc.float64)).item() for a in x] for b in y])
    axes.contour(
        x, y, height, levels=height.max() * np.linspace(0.01, 1, 12) ** 2, colors=GREY, linewidths=0.6, alpha=0.7
    )
