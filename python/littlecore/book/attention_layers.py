"""Attention: every output is an average of values, weighted by how well its query matches their keys (section 4.8).

softmax(Q K^T / sqrt(D)) V lets a layer gather what it needs from anywhere in a sequence (Vaswani et al., Attention Is
All You Need, NeurIPS 2017). The toy after Fleuret asks for just that: a sequence shows two triangles and two
rectangles, and every shape shall get the mean height of the two of its kind. A convolutional network sees one shape at
a time and cannot do better than to guess the other's height.

Computed block by block, attention never stores its matrix (Dao et al., FlashAttention, NeurIPS 2022). With a feature
map in place of the exponential it needs no matrix at all (Katharopoulos et al., Transformers are RNNs, ICML 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn
from littlecore.nn import functional as F

from .demo import BLACK, BLUE, GREY, RED, Demo
from .fit import fit

LENGTH, SLOT, HALF_WIDTH = 48, 12, 4  # four slots with a shape each, anywhere inside its slot


def run(demo: Demo) -> None:
    symmetries(demo)
    linear_attention(demo)
    memory(demo)
    toy(demo)


# ---- the operator ----------------------------------------------------------------------------------------------------


def attention_matrix(q: Tensor, k: Tensor) -> Tensor:
    """The weight of every key for every query.    [..., Nq, D], [..., Nkv, D] -> [..., Nq, Nkv]"""
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)


def symmetries(demo: Demo) -> None:
    """Attention knows no order: shuffled keys change nothing, shuffled queries shuffle the result."""
    q, k, v = lc.randn(40, 16), lc.randn(70, 16), lc.randn(70, 24)
    y = F.scaled_dot_product_attention(q, k, v)
    demo.metric("fused and stepwise attention, distance", distance(y, attention_matrix(q, k) @ v), at_most=1e-6)
    keys, queries = lc.randperm(70), lc.randperm(40)
    shuffled = F.scaled_dot_product_attention(q, k[keys], v[keys])
    demo.metric("keys and values shuffled together, change", distance(y, shuffled), at_most=1e-6)
    shuffled = F.scaled_dot_product_attention(q[queries], k, v)
    demo.metric("queries shuffled, distance to shuffled result", distance(y[queries], shuffled), at_most=0)

    # Causal: what comes later does not exist.
    q, k, v = lc.randn(50, 16), lc.randn(50, 16), lc.randn(50, 24)
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    k[30:], v[30:] = lc.randn(20, 16), lc.randn(20, 24)
    changed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    demo.metric("causal, change before the first changed key", distance(y[:30], changed[:30]), at_most=0)


def distance(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def linear_attention(demo: Demo) -> None:
    """With exp(q.k) replaced by f(q).f(k), sums over keys can be taken before any query is known."""
    q, k = (F.elu(lc.randn(200, 8, dtype=lc.float64)) + 1 for _ in "qk")
    v = lc.randn(200, 12, dtype=lc.float64)
    matrix = q @ k.mT
    quadratic = matrix @ v / matrix.sum(-1, keepdim=True)
    linear = q @ (k.mT @ v) / (q @ k.sum(0)).unsqueeze(-1)
    demo.metric("linear attention, distance to its quadratic form", distance(linear, quadratic), at_most=1e-12)

    matrix = matrix.tril()
    quadratic = matrix @ v / matrix.sum(-1, keepdim=True)
    state = (k.unsqueeze(-1) * v.unsqueeze(-2)).cumsum(0)  # [T, D, Dv]: what a recurrent net would keep
    linear = (q.unsqueeze(-2) @ state).squeeze(-2) / (q * k.cumsum(0)).sum(-1, keepdim=True)
    demo.metric("the same, causal, as a recurrence", distance(linear, quadratic), at_most=1e-12)


def memory(demo: Demo) -> None:
    """Bytes that attention needs beyond its operands, with the matrix stored and without."""
    lengths = [2**k for k in range(8, demo.pick(13, 15))]
    stored, fused = [], []
    with lc.no_grad():
        for length in lengths:
            q, k, v = (lc.randn(1, 1, length, 32) for _ in "qkv")
            stored.append(peak(lambda q=q, k=k, v=v: attention_matrix(q, k) @ v))  # type: ignore[misc]
            fused.append(peak(lambda q=q, k=k, v=v: F.scaled_dot_product_attention(q, k, v)))  # type: ignore[misc]
    demo.metric("matrix stored, growth of memory over two doublings of T", growth(stored), within=(3.9, 4.1))
    demo.metric("fused, growth of memory over two doublings of T", growth(fused), within=(1.9, 2.1))
    demo.metric(f"memory at T = {lengths[-1]}, matrix stored / fused", stored[-1] / fused[-1], at_least=50)

    figure = demo.figure(
        "memory", "Peak memory of attention against the length T, with the matrix stored and computed block by block."
    )
    axes = figure.subplots()
    for values, colour, text in ((stored, RED, "matrix stored: $T^2$"), (fused, BLUE, "fused: $T$")):
        axes.loglog(lengths, [value / 1e6 for value in values], "o-", color=colour, label=text)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="length T", ylabel="memory (MB)")
    axes.legend()


def peak(action: Callable[[], object]) -> int:
    """Bytes that the allocator has handed out at most during `action`, beyond those before it."""
    before = lc.memory.stats()["live_bytes"]
    lc.memory.reset_peak()
    action()
    return lc.memory.stats()["peak_bytes"] - before


def growth(values: list[int]) -> float:
    """What the last doubling adds / what the one before added: 2 for a linear law, 4 for a quadratic one."""
    before, middle, last = values[-3:]
    return (last - middle) / (middle - before)


# ---- the toy ---------------------------------------------------------------------------------------------------------


def sequences(count: int) -> tuple[Tensor, Tensor]:
    """Two triangles and two rectangles, then with their kind's mean height.    [count, 1, LENGTH]"""
    kinds = lc.rand(count, 4).argsort(-1) // 2  # 0 triangle, 1 rectangle: two of each, in any order
    heights = 0.2 + 0.8 * lc.rand(count, 4)
    same = (kinds.unsqueeze(-1) == kinds.unsqueeze(-2)).float()
    means = (same @ heights.unsqueeze(-1)).squeeze(-1) / 2
    centres = lc.arange(4) * SLOT + HALF_WIDTH + lc.rand(count, 4) * (SLOT - 2 * HALF_WIDTH)
    away = (lc.arange(LENGTH) - centres.unsqueeze(-1)).abs() / HALF_WIDTH
    shapes = lc.where(kinds.unsqueeze(-1) == 0, 1 - away, 1.0) * (away < 1).float()  # [count, 4, LENGTH]
    return heights.unsqueeze(-2) @ shapes, means.unsqueeze(-2) @ shapes


class AttentionLayer(nn.Module):
    """Multi-head self-attention: every head has its own queries, keys and values.    [N, C, T] -> [N, C, T]"""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.queries, self.keys, self.values, self.out = (nn.Linear(channels, channels, bias=False) for _ in range(4))

    def project(self, layer: nn.Linear, x: Tensor) -> Tensor:
        return layer(x.mT).unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # [N, C, T] -> [N, heads, T, C / heads]

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (self.project(layer, x) for layer in (self.queries, self.keys, self.values))
        y = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(y.transpose(-2, -3).flatten(-2)).mT

    def matrix(self, x: Tensor) -> Tensor:
        """[N, C, T] -> [N, heads, T, T]"""
        return attention_matrix(self.project(self.queries, x), self.project(self.keys, x))


def network(channels: int = 32, *, attention: bool) -> nn.Sequential:
    def convolution(inputs: int, outputs: int) -> nn.Conv1d:
        return nn.Conv1d(inputs, outputs, 7, padding=3)

    return nn.Sequential(
        convolution(1, channels), nn.ReLU(),
        convolution(channels, channels), nn.ReLU(),
        AttentionLayer(channels, 1) if attention else convolution(channels, channels),
        convolution(channels, channels), nn.ReLU(),
        convolution(channels, channels), nn.ReLU(),
        convolution(channels, 1),
    )  # fmt: skip


def train(demo: Demo, model: nn.Module, text: str) -> list[float]:
    """The losses on fresh sequences."""

    def loss() -> Tensor:
        x, y = sequences(32)
        return F.mse_loss(model(x), y)

    return fit(demo, model, loss, demo.pick(1000, 10000), 3e-3, text)


def toy(demo: Demo) -> None:
    models = {"convolutions": network(attention=False), "with attention": network(attention=True)}
    losses = {name: train(demo, model, name) for name, model in models.items()}
    x, y = sequences(1000)
    with lc.no_grad():
        predicted = {name: model(x) for name, model in models.items()}
        errors = {name: F.mse_loss(p, y).item() for name, p in predicted.items()}
        layers = list(models["with attention"])
        matrix = layers[4].matrix(nn.Sequential(*layers[:4])(x[:1])).squeeze()  # [T, T]
    for name, error in errors.items():
        demo.metric(f"equal heights, test MSE, {name}", error)
    demo.metric(
        "equal heights, MSE with attention / without", errors["with attention"] / errors["convolutions"], at_most=0.2
    )

    figure = demo.figure(
        "equal_heights",
        "Shapes of one kind shall get their mean height. Left: losses. Right: a test sequence, the wanted one and the "
        "two networks' (the right one needs attention).",
        (9.6, 3.4),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.5))
    for (name, curve), colour in zip(losses.items(), (BLUE, RED), strict=True):
        left.semilogy(np.convolve(curve, np.ones(10) / 10, "valid"), color=colour, label=name)
        right.plot(predicted[name][0, 0].numpy(), color=colour, label=name)
    left.set(xlabel="step", ylabel="mean squared error")
    left.legend()
    right.plot(x[0, 0].numpy(), color=GREY, linewidth=1, label="input")
    right.plot(y[0, 0].numpy(), "--", color=BLACK, linewidth=1.2, label="wanted")
    right.set(xlabel="position", ylabel="height", ylim=(-0.05, 1.1))
    right.legend(ncols=2, loc="upper center")

    figure = demo.figure(
        "attention_map",
        "How much every position (row) looks at every other (column), on the sequence above, drawn along the sides. "
        "Shapes look at shapes; which kind they are is told apart by the values.",
        (5.8, 5.6),
    )
    (side, picture), (corner, below) = figure.subplots(2, 2, width_ratios=(1, 6), height_ratios=(6, 1))
    outline = x[0, 0].numpy()
    picture.imshow(matrix.numpy(), interpolation="nearest", aspect="auto")
    side.fill_betweenx(np.arange(LENGTH), -outline, color=GREY)
    side.set(ylim=(LENGTH - 0.5, -0.5), xlim=(-1.1, 0), ylabel="query position")
    below.fill_between(np.arange(LENGTH), outline, color=GREY)
    below.set(xlim=(-0.5, LENGTH - 0.5), ylim=(0, 1.1), xlabel="key position")
    for axes in (side, picture, below):
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
    corner.axis("off")
