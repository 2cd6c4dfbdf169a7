"""Basis function regression: a weighted sum of Gaussian bumps, fitted in closed form (section 1.2, figure 1.1).

The model f(x; w) = sum_k w_k exp(-(x - c_k)^2 / 2s^2) is linear in w, so the mean squared error has one minimum, where
its gradient is zero; no gradient descent is needed.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor

from .demo import BLACK, BLUE, RED, Demo
from .least_squares import least_squares

NOISE = 0.07


def sample(*shape: int) -> tuple[Tensor, Tensor]:
    """Noisy points on the upper half of the unit circle, in float64."""
    x = lc.rand(*shape, dtype=lc.float64) * 2 - 1
    return x, (1 - x * x).sqrt() + NOISE * lc.randn(*shape, dtype=lc.float64)


def gaussians(x: Tensor, count: int) -> Tensor:
    """`count` bumps on evenly spaced centres, as wide as the spaces between them.    [..., N] -> [..., N, count]"""
    centres = lc.linspace(-1, 1, count, dtype=lc.float64) if count > 1 else lc.zeros(1, dtype=lc.float64)
    width = 2 / (count - 1) if count > 1 else 1.0
    return (-((x.unsqueeze(-1) - centres) / width).square() / 2).exp()


def fit(x: Tensor, y: Tensor, count: int) -> Tensor:
    """The weights of least mean squared error."""
    return least_squares(gaussians(x, count), y)


def predict(x: Tensor, w: Tensor) -> Tensor:
    """f(x; w)    [..., N], [..., K] -> [..., N]"""
    return (gaussians(x, w.shape[-1]) @ w.unsqueeze(-1)).squeeze(-1)


def run(demo: Demo) -> None:
    kernels = 6
    x, y = sample(50)
    w = fit(x, y, kernels)

    referee = np.linalg.lstsq(gaussians(x, kernels).numpy(), y.numpy(), rcond=None)[0]
    demo.metric("w, relative distance to NumPy's least squares", _distance(w.numpy(), referee), at_most=1e-12)
    gradient = gaussians(x, kernels).mT @ (predict(x, w) - y)
    demo.metric("largest component of the gradient at w", gradient.abs().max().item(), at_most=1e-10)

    # One draw says little: the median of 200.
    many_x, many_y = sample(200, 50)
    test_x, test_y = sample(200, 1000)
    many_w = fit(many_x, many_y, kernels)
    train = (predict(many_x, many_w) - many_y).square().mean(-1).numpy()
    test = (predict(test_x, many_w) - test_y).square().mean(-1).numpy()
    demo.metric("train MSE, median of 200 draws", np.median(train), within=(3e-3, 7e-3))
    demo.metric("test MSE, median of 200 draws", np.median(test), within=(4e-3, 8e-3))

    grid = lc.linspace(-1, 1, 400, dtype=lc.float64)
    figure = demo.figure("fit", "50 noisy points (black), the six weighted Gaussian kernels (blue), their sum (red).")
    axes = figure.subplots()
    axes.plot(x.numpy(), y.numpy(), "o", color=BLACK, markersize=3.5, label="training points")
    for k, bump in enumerate((gaussians(grid, kernels) * w).unbind(-1)):
        axes.plot(grid.numpy(), bump.numpy(), color=BLUE, linewidth=1.2, label="weighted kernels" if k == 0 else None)
    axes.plot(grid.numpy(), predict(grid, w).numpy(), color=RED, linewidth=2.4, label="f(x; w)")
    axes.set(xlabel="x", ylabel="y", ylim=(-0.35, 1.4))
    axes.legend(loc="upper center", ncols=3)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())
