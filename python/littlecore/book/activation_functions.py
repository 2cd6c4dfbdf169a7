"""Activation functions: tanh, ReLU, leaky ReLU, GELU, and their gradients (section 4.3, figure 4.5).

GELU (Hendrycks, Gimpel, arXiv:1606.08415) is x P(Z <= x) for a standard normal Z, exactly. What an activation does to
the gradient decides how deep a network can be: tanh saturates, the others let the positive half through.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import littlecore as lc
from littlecore import Tensor
from littlecore.nn import functional as F

from .demo import BLUE, COLOURS, RED, Demo, plain_numbers

SLOPE = 0.1  # of leaky ReLU, where the input is negative
_NORMAL = np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2)  # P(Z <= x)
_DENSITY = 1 / math.sqrt(2 * math.pi)

Array = np.ndarray
# Ours; the function and its derivative in float64 as written in the book and the papers.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Array], Array], Callable[[Array], Array]]] = {
    "tanh": (lc.tanh, np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "ReLU": (lc.relu, lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky ReLU": (
        lambda x: F.leaky_relu(x, SLOPE),
        lambda x: np.where(x > 0, x, SLOPE * x),
        lambda x: np.where(x > 0, 1.0, SLOPE),
    ),
    "GELU": (
        F.gelu,
        lambda x: x * _NORMAL(x),
        lambda x: _NORMAL(x) + x * _DENSITY * np.exp(-x * x / 2),
    ),
}


def run(demo: Demo) -> None:
    figure = demo.figure(
        "activations", "The activation functions (blue) and their derivatives (red, dashed).", (9.6, 2.8)
    )
    x = lc.linspace(-4, 4, 2001)
    exact_x = x.numpy().astype(np.float64)
    for axes, (name, (ours, function, derivative)) in zip(figure.subplots(1, 4), ACTIVATIONS.items(), strict=True):
        leaf = x.clone().requires_grad_()
        y = ours(leaf)
        y.sum().backward()
        assert leaf.grad is not None
        value, slope = y.detach().numpy(), leaf.grad.numpy()
        away = exact_x != 0  # the derivative of a kink is a convention
        demo.metric(f"{name}, error in units of 2^-24", _error(value, function(exact_x)), at_most=8)
        demo.metric(f"{name}, derivative, error", _error(slope[away], derivative(exact_x)[away]), at_most=8)
        axes.plot(exact_x, value, color=BLUE)
        axes.plot(exact_x, slope, "--", color=RED, linewidth=1.3)
        axes.set(title=name, xlabel="x", ylim=(-1.3, 2.2))
    depth(demo)


def _error(ours: Array, exact: Array) -> float:
    """The largest error, relative where values exceed one, over float32's unit roundoff."""
    return float((np.abs(ours - exact) / np.maximum(np.abs(exact), 1)).max() * 2**24)


def depth(demo: Demo) -> None:
    """Gradients of a plain network of 20 layers whose weights have deviation sqrt(2 / width) (He et al., ICCV 2015).

    Random shifts, of deviation 1, push tanh to where it is flat.
    """
    width, count = 64, demo.pick(20, 100)
    figure = demo.figure("depth", "The gradient's norm at every layer of a plain network, over that at the last layer.")
    axes = figure.subplots()
    first = {}
    for (name, (ours, _, _)), colour in zip(ACTIVATIONS.items(), COLOURS, strict=False):
        lc.manual_seed(demo.seed)
        weights = [(lc.randn(width, width) * math.sqrt(2 / width)).requires_grad_() for _ in range(count)]
        x = lc.randn(256, width)
        for w in weights:
            x = ours(x @ w + lc.randn(width))
        (x * lc.randn(256, width)).sum().backward()
        norms = [w.grad.square().sum().sqrt().item() for w in weights if w.grad is not None]
        first[name] = norms[0] / norms[-1]
        demo.metric(f"{name}, gradient at layer 1 / at layer {count}", first[name])
        axes.semilogy(range(1, count + 1), [norm / norms[-1] for norm in norms], color=colour, label=name)
    demo.metric("gradient at layer 1 / at the last, ReLU", first["ReLU"], within=demo.pick((0.1, 5), (0.02, 5)))
    demo.metric("tanh's part of the gradient / ReLU's", first["tanh"] / first["ReLU"], at_most=0.2)
    axes.set(xlabel="layer", ylabel="gradient norm, relative", xticks=range(0, count + 1, count // 5))
    plain_numbers(axes.yaxis)
    axes.legend()
