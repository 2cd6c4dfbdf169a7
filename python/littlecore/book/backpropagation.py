"""Backpropagation: the chain rule layer by layer, its memory, and gradients that vanish (section 3.4, figure 3.3).

The backward pass needs the activations of the forward pass, so memory grows with depth; checkpointing (Chen et al.,
arXiv:1604.06174) keeps the activations at a few places only and computes the others twice, and reversible layers (Gomez
et al., NeurIPS 2017) compute them back from their outputs. The gradient is a product of as many Jacobians as there are
layers, and goes to zero with depth where these shrink.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn
from littlecore.autograd import Function, checkpoint_sequential, enable_grad
from littlecore.nn.utils import clip_grad_norm_

from .demo import BLACK, BLUE, COLOURS, GREY, Demo

WIDTH, BATCH = 64, 256


def run(demo: Demo) -> None:
    by_hand(demo)
    memory(demo)
    vanishing(demo)
    clipping(demo)


class Products:
    """Matrix products, and the FLOPs that they took."""

    flops = 0

    def of(self, a: Tensor, b: Tensor) -> Tensor:
        self.flops += 2 * a.shape[0] * a.shape[1] * b.shape[1]
        return a @ b


def by_hand(demo: Demo) -> None:
    """Forward and backward pass of x -> W x -> tanh -> ... -> mean of squares, written out."""
    weights = [lc.randn(5, 5, dtype=lc.float64) / math.sqrt(5) for _ in range(6)]
    activations = [lc.randn(8, 5, dtype=lc.float64)]
    forward, backward = Products(), Products()
    for w in weights:
        activations.append(forward.of(activations[-1], w.mT).tanh())
    gradient = 2 * activations[-1] / activations[-1].numel()  # with respect to the last activation
    gradients, by_layer = [gradient], list[Tensor]()
    for w, x, y in reversed(list(zip(weights, activations, activations[1:], strict=False))):
        gradient = gradient * (1 - y.square())  # through tanh
        by_layer.insert(0, backward.of(gradient.mT, x))  # with respect to the weights
        gradient = backward.of(gradient, w)  # with respect to the layer's input
        gradients.insert(0, gradient)

    x, leaves = activations[0], [w.requires_grad_() for w in weights]
    for w in leaves:
        x = (x @ w.mT).tanh()
    x.square().mean().backward()
    distances = [(w.grad - g).abs().max().item() for w, g in zip(leaves, by_layer, strict=True) if w.grad is not None]
    demo.metric("gradients of six layers, distance to the formulas", max(distances), at_most=1e-15)
    ratio = backward.flops / forward.flops
    demo.metric("FLOPs of the formulas' products, backward / forward", ratio, within=(1.9, 2.1))
    draw_passes(demo, activations, gradients, by_layer)


def draw_passes(demo: Demo, activations: list[Tensor], gradients: list[Tensor], by_layer: list[Tensor]) -> None:
    """A column for each activation, and one for each layer between two of them."""
    figure = demo.figure(
        "passes",
        "The six layers: the forward pass (above, to the right) keeps its activations, which the backward pass (to the "
        "left) reads at every layer, for the gradient of the weights and for that of the layer below. The numbers are "
        "norms in this run.",
        (10.4, 3.6),
    )
    axes = figure.subplots()

    def box(x: float, y: float, text: str, filled: bool) -> None:
        colours = {"facecolor": BLUE if filled else "white", "edgecolor": BLUE, "boxstyle": "round,pad=0.35"}
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color="white" if filled else BLACK, bbox=colours)

    def arrow(start: tuple[float, float], end: tuple[float, float], colour: str = BLACK) -> None:
        axes.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "shrinkA": 0, "shrinkB": 0})

    def norm(x: Tensor) -> str:
        return f"{x.square().sum().sqrt().item():.2g}"

    for d, (x, gradient) in enumerate(zip(activations, gradients, strict=True)):
        box(2 * d, 3, f"$x^{{({d})}}$\n{norm(x)}", False)
        box(2 * d, 1.4, rf"$\partial\ell/\partial x^{{({d})}}$" + f"\n{norm(gradient)}", False)
        if d == len(by_layer):
            break
        middle, after = 2 * d + 1, 2 * d + 2
        box(middle, 3, rf"$f^{{({d + 1})}}$", True)
        box(middle, 1.4, rf"$J^{{({d + 1})\top}}$", True)
        box(middle, 0, rf"$\partial\ell/\partial w^{{({d + 1})}}$" + f"\n{norm(by_layer[d])}", False)
        arrow((2 * d + 0.25, 3), (middle - 0.22, 3))
        arrow((middle + 0.22, 3), (after - 0.25, 3))
        arrow((after - 0.4, 1.4), (middle + 0.3, 1.4))
        arrow((middle - 0.3, 1.4), (2 * d + 0.4, 1.4))
        arrow((middle, 1.23), (middle, 0.26))
        arrow((2 * d + 0.14, 2.74), (middle - 0.1, 1.57), GREY)
    last = 2 * len(by_layer)
    box(last + 1.6, 2.2, "loss", False)
    arrow((last + 0.27, 2.85), (last + 1.4, 2.36))
    arrow((last + 1.4, 2.04), (last + 0.4, 1.55))
    axes.set(xlim=(-0.8, last + 2.2), ylim=(-0.6, 3.6))
    axes.axis("off")


def perceptron(depth: int, width: int = WIDTH) -> nn.Sequential:
    return nn.Sequential(*[nn.Sequential(nn.Linear(width, width), nn.Tanh()) for _ in range(depth)])


class Reversible(Function):
    """y1 = x1 + f(x2), y2 = x2 + g(y1), pair of layers after pair; keeps the last y1 and y2 only."""

    @staticmethod
    def forward(ctx: Any, anchor: Tensor, x1: Tensor, x2: Tensor, layers: list[nn.Module]) -> Any:
        for f, g in zip(layers[::2], layers[1::2], strict=True):
            x1 = x1 + f(x2)
            x2 = x2 + g(x1)
        ctx.layers = layers
        ctx.save_for_backward(x1, x2)
        return x1, x2

    @staticmethod
    def backward(ctx: Any, dy1: Tensor, dy2: Tensor) -> Any:
        y1, y2 = (y.detach() for y in ctx.saved_tensors)
        for f, g in zip(ctx.layers[-2::-2], ctx.layers[::-2], strict=True):
            y2, dy1 = _undone(g, y1, y2, dy1, dy2)
            y1, dy2 = _undone(f, y2, y1, dy2, dy1)
        return lc.zeros(0, dtype=dy1.dtype), dy1, dy2, None


def _undone(layer: nn.Module, x: Tensor, sum_: Tensor, dx: Tensor, dsum: Tensor) -> tuple[Tensor, Tensor]:
    """What layer(x) was added to, and the gradient at x; the layer's parameters get theirs."""
    leaf = x.detach().requires_grad_()
    with enable_grad():
        y = layer(leaf)
    y.backward(dsum)
    assert leaf.grad is not None
    return sum_ - y.detach(), dx + leaf.grad


def reversible(model: nn.Sequential, x: Tensor) -> Tensor:
    """The layers in pairs, on the halves of x; the same network as `halved`, in constant memory."""
    anchor = lc.zeros(0, dtype=x.dtype).requires_grad_()  # the node must exist although x wants no gradient
    return lc.cat(list(Reversible.apply(anchor, *x.chunk(2, 1), list(model))), 1)


def halved(model: nn.Sequential, x: Tensor) -> Tensor:
    x1, x2 = x.chunk(2, 1)
    for f, g in zip(list(model)[::2], list(model)[1::2], strict=True):
        x1 = x1 + f(x2)
        x2 = x2 + g(x1)
    return lc.cat([x1, x2], 1)


def memory(demo: Demo) -> None:
    """Bytes that a step holds at most, beyond parameters, gradients and input."""

    def plain(model: nn.Sequential, x: Tensor) -> Tensor:
        return model(x)

    def with_checkpoints(model: nn.Sequential, x: Tensor) -> Tensor:
        return checkpoint_sequential(list(model), math.isqrt(len(model)), x)

    depths = [4, 10, 16, 24, 36, 50, 64, 80, 100]
    curves: dict[str, list[float]] = {}
    for name, forward in (("all kept", plain), ("checkpoints", with_checkpoints), ("reversible", reversible)):
        width = WIDTH // 2 if forward is reversible else WIDTH  # of one of the two halves
        curves[name] = [_peak(depth, forward, width) / 2**20 for depth in depths]
    without = [_peak(depth, plain, WIDTH, backward=False) / 2**20 for depth in depths]
    kept = curves["all kept"]
    demo.metric("memory against depth, correlation", np.corrcoef(depths, kept)[0, 1], at_least=0.999)
    roots = np.sqrt(depths)
    demo.metric(
        "memory with checkpoints against the root of depth, correlation",
        np.corrcoef(roots, curves["checkpoints"])[0, 1],
        at_least=0.99,
    )
    demo.metric("100 layers: memory with checkpoints / all kept", curves["checkpoints"][-1] / kept[-1], at_most=0.3)
    demo.metric(
        "reversible: memory of 100 layers / of 4", curves["reversible"][-1] / curves["reversible"][0], at_most=1.05
    )
    demo.metric("without gradients: memory of 100 layers / of 4", without[-1] / without[0], at_most=1.01)

    def gradients(forward: Callable[[nn.Sequential, Tensor], Tensor], width: int) -> list[Tensor]:
        lc.manual_seed(demo.seed)
        model, x = perceptron(16, width).double(), lc.randn(BATCH, WIDTH, dtype=lc.float64)
        forward(model, x).square().mean().backward()
        return [p.grad for p in model.parameters() if p.grad is not None]

    pairs = zip(gradients(plain, WIDTH), gradients(with_checkpoints, WIDTH), strict=True)
    demo.metric("gradients with the same bits under checkpoints, of 32", sum(lc.equal(*p) for p in pairs), at_least=32)
    pairs = zip(gradients(halved, WIDTH // 2), gradients(reversible, WIDTH // 2), strict=True)
    distance = max((a - b).abs().max().item() for a, b in pairs)
    demo.metric("gradients of reversible layers, distance to kept ones", distance, at_most=1e-12)

    figure = demo.figure("memory", f"Peak memory of a step on {BATCH} samples through layers of {WIDTH} units.")
    axes = figure.subplots()
    for (name, curve), colour in zip([*curves.items(), ("no gradient", without)], COLOURS, strict=False):
        axes.plot(depths, curve, "o-", color=colour, label=name)
    axes.set(xlabel="depth (layers)", ylabel="peak memory (MiB)", ylim=(0, None))
    axes.legend()


def _peak(depth: int, forward: Callable[[nn.Sequential, Tensor], Tensor], width: int, backward: bool = True) -> int:
    model, x = perceptron(depth, width), lc.randn(BATCH, WIDTH)
    for p in model.parameters():
        p.grad = lc.zeros_like(p)  # allocated before the count begins
    before = lc.memory.stats()["live_bytes"]
    lc.memory.reset_peak()
    if backward:
        forward(model, x).square().mean().backward()
    else:
        with lc.no_grad():
            forward(model, x)
    return lc.memory.stats()["peak_bytes"] - before


def vanishing(demo: Demo) -> None:
    """The norm of the gradient at the first layer, for three ways of building a deep network."""
    depths = [1, 2, 5, 10, 20, 50, 100]

    def norm_at_the_first_layer(depth: int, deviation: float, residual: bool) -> float:
        weights = [(deviation * lc.randn(WIDTH, WIDTH, dtype=lc.float64)).requires_grad_() for _ in range(depth)]
        x = lc.randn(BATCH, WIDTH, dtype=lc.float64)
        for w in weights:
            y = (x @ w).tanh()
            x = x + y / math.sqrt(depth) if residual else y
        x.square().mean().backward()
        assert weights[0].grad is not None
        return weights[0].grad.square().sum().sqrt().item()

    ways = {
        "weights of deviation 0.05": (0.05, False),
        "deviation 1 / sqrt(width)": (1 / math.sqrt(WIDTH), False),
        "same, with skip connections": (1 / math.sqrt(WIDTH), True),
    }
    figure = demo.figure("vanishing", "The gradient at the first layer of networks of growing depth, with tanh.")
    axes = figure.subplots()
    for (name, (deviation, residual)), colour in zip(ways.items(), COLOURS, strict=False):
        norms = [norm_at_the_first_layer(depth, deviation, residual) for depth in depths]
        gate = {"at_most": 1e-10} if deviation == 0.05 else {"at_least": 1e-2} if residual else {}
        demo.metric(f"{name}, gradient at depth 100 / at 1", norms[-1] / norms[0], **gate)  # type: ignore[arg-type]
        axes.loglog(depths, norms, "o-", color=colour, label=name)
    axes.set(xlabel="depth (layers)", ylabel="norm of the gradient at layer 1")
    axes.legend()


def clipping(demo: Demo) -> None:
    model = perceptron(4)
    (100 * model(lc.randn(BATCH, WIDTH))).square().mean().backward()
    before = clip_grad_norm_(model.parameters(), 1.0).item()
    after = math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters() if p.grad is not None))
    demo.metric("norm of all gradients before clipping to 1", before, at_least=1)
    demo.metric("norm after clipping, distance to 1", abs(after - 1), at_most=1e-6)
