"""Under- and overfitting: fewer points, or more basis functions, than the data bear (section 1.3, figure 1.2).

With as many kernels as points the model passes through every one of them, noise included, and is wrong in between.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor

from .basis_function_regression import fit, gaussians, predict, sample
from .demo import BLACK, BLUE, GREY, RED, Demo

DRAWS = 200


def errors(kernels: int, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """Medians over the draws of the mean squared error on the training points and on new ones."""
    (x, y), (test_x, test_y) = train, test
    w = fit(x, y, kernels)
    seen = (predict(x, w) - y).square().mean(-1)
    unseen = (predict(test_x, w) - test_y).square().mean(-1)
    return float(np.median(seen.numpy())), float(np.median(unseen.numpy()))


def run(demo: Demo) -> None:
    unseen = sample(DRAWS, 500)
    sizes = (50, 20, 10, 6)
    for points in sizes:
        train, test = errors(6, sample(DRAWS, points), unseen)
        demo.metric(f"test MSE, {points} points", test)
        gates: dict[int, dict[str, Any]] = {50: {"at_most": 1.5}, 6: {"at_least": 1e3}}
        demo.metric(f"test / train MSE, {points} points", test / train, **gates.get(points, {}))

    capacity = range(1, 31)
    forty = sample(DRAWS, 40)
    curve = [errors(kernels, forty, unseen) for kernels in demo.progress(capacity, "capacity")]
    best = capacity[int(np.argmin([test for _, test in curve]))]
    demo.metric("kernels at the least test error, 40 points", best, within=(capacity[1], capacity[-2]))
    rise = [later < earlier * 1.01 for (earlier, _), (later, _) in pairwise(curve)]
    demo.metric("share of added kernels that lower the train error", sum(rise) / len(rise), at_least=0.9)
    demo.metric("test error at 30 kernels / least", curve[-1][1] / curve[best - 1][1], at_least=2)

    figure = demo.figure(
        "few_points", "The same six kernels fitted to fewer and fewer points; dashed, the true curve.", (9.6, 2.9)
    )
    grid = lc.linspace(-1, 1, 400, dtype=lc.float64)
    for axes, points in zip(figure.subplots(1, 4, sharey=True), sizes, strict=True):
        x, y = sample(points)
        w = fit(x, y, 6)
        axes.plot(grid.numpy(), (1 - grid * grid).sqrt().numpy(), "--", color=GREY, linewidth=1.2)
        for bump in (gaussians(grid, 6) * w).unbind(-1):
            axes.plot(grid.numpy(), bump.numpy(), color=BLUE, linewidth=0.8)
        axes.plot(grid.numpy(), predict(grid, w).numpy(), color=RED)
        axes.plot(x.numpy(), y.numpy(), "o", color=BLACK, markersize=3.5)
        axes.set(title=f"{points} points", xlabel="x", ylim=(-0.6, 1.6))
    figure.axes[0].set_ylabel("y")

    figure = demo.figure(
        "capacity",
        "Error against the number of kernels, 40 points, medians of 200 draws: too few kernels underfit, too many "
        "overfit.",
    )
    axes = figure.subplots()
    axes.semilogy(capacity, [train for train, _ in curve], color=BLUE, label="train")
    axes.semilogy(capacity, [test for _, test in curve], color=RED, label="test")
    axes.axvline(best, color=GREY, linestyle=":", linewidth=1.2)
    axes.set(xlabel="number of kernels", ylabel="mean squared error")
    axes.legend()
