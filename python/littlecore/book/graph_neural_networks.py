"""Graph neural networks: layers that gather from neighbours (missing bits, bits.4).

A graph convolution averages every node's features with its neighbours' before a linear layer: H = relu(S X W), S the
adjacency with self-loops, scaled by degrees on both sides (Kipf and Welling, Semi-Supervised Classification with Graph
Convolutional Networks, ICLR 2017). Graph attention lets each node weigh its neighbours (Velickovic et al., ICLR 2018).
Both learn from a few labelled nodes what all the others are.

The karate club is the friendships of 34 members, who parted into two clubs (Zachary, Journal of Anthropological
Research, 1977). Number 9 has more friends beside the president and went with the instructor: no network tells that, so
33 are the most. Graph attention misses number 3 too, who has six friends on one side and four on the other: it reaches
32 of 34, 94.1 %, with each of ten seeds. A stochastic block model (Holland et al., 1983) draws edges more often inside
a group than across.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn
from littlecore.nn import functional as F

from .demo import BLUE, COLOURS, GREY, RED, Demo
from .fit import fit

# Friends of each member that have a higher number, and those who went with the instructor.
FRIENDS = {
    0: (1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31), 1: (2, 3, 7, 13, 17, 19, 21, 30),
    2: (3, 7, 8, 9, 13, 27, 28, 32), 3: (7, 12, 13), 4: (6, 10), 5: (6, 10, 16), 6: (16,), 8: (30, 32, 33), 9: (33,),
    13: (33,), 14: (32, 33), 15: (32, 33), 18: (32, 33), 19: (33,), 20: (32, 33), 22: (32, 33),
    23: (25, 27, 29, 32, 33), 24: (25, 27, 31), 25: (31,), 26: (29, 33), 27: (33,), 28: (31, 33), 29: (32, 33),
    30: (32, 33), 31: (32, 33), 32: (33,),
}  # fmt: skip
INSTRUCTOR = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 16, 17, 19, 21)


def run(demo: Demo) -> None:
    karate_club(demo)
    block_model(demo)


# ---- layers ----------------------------------------------------------------------------------------------------------


class GraphConvolution(nn.Module):
    """S (X W + b), with S 1 / sqrt(d_i d_j) where i and j are neighbours or the same.    [N, in] -> [N, out]"""

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        looped = adjacency + lc.eye(len(adjacency))
        scale = looped.sum(1).rsqrt()
        self.smoothing = scale.unsqueeze(1) * looped * scale
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.smoothing @ self.linear(x)


class GraphAttention(nn.Module):
    """Neighbours weighed by a softmax of leaky_relu(a . W x_i + b . W x_j), per head.    [N, in] -> [N, heads * out]"""

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int, heads: int = 4) -> None:
        super().__init__()
        self.apart = (adjacency + lc.eye(len(adjacency))) == 0
        self.heads, self.linear = heads, nn.Linear(inputs, heads * outputs)
        self.own, self.other = (nn.Parameter(0.1 * lc.randn(heads, outputs, 1)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.linear(x).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [N, in] -> [heads, N, out]
        score = F.leaky_relu(h @ self.own + (h @ self.other).mT, 0.2)  # [heads, N, N]
        weights = score.masked_fill(self.apart, -1e9).softmax(-1)
        return (weights @ h).transpose(0, 1).flatten(1)


class Unconnected(nn.Module):
    """A linear layer, which sees no graph."""

    def __init__(self, adjacency: Tensor, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


def network(layer: Any, adjacency: Tensor, inputs: int, classes: int, width: int = 16) -> nn.Sequential:
    hidden = layer(adjacency, inputs, width)
    wide = hidden(lc.zeros(len(adjacency), inputs)).shape[1]
    return nn.Sequential(hidden, nn.ELU(), nn.Dropout(0.3), GraphConvolution(adjacency, wide, classes)
                         if layer is not Unconnected else layer(adjacency, wide, classes))  # fmt: skip


def taught(demo: Demo, model: nn.Module, x: Tensor, labels: Tensor, known: Tensor, steps: int, text: str) -> Tensor:
    """What the model says of all nodes, after it has been told the labels of a few.    [N, classes]"""
    fit(demo, model, lambda: F.cross_entropy(model(x)[known], labels[known]), steps, 1e-2, text)
    model.eval()
    with lc.no_grad():
        return model(x)


# ---- the karate club -------------------------------------------------------------------------------------------------


def club() -> tuple[Tensor, Tensor]:
    """Adjacency [34, 34] and the side that each took [34]."""
    adjacency = np.zeros((34, 34), np.float32)
    for member, friends in FRIENDS.items():
        for friend in friends:
            adjacency[member, friend] = adjacency[friend, member] = 1
    sides = np.ones(34, np.int64)
    sides[list(INSTRUCTOR)] = 0
    return lc.from_numpy(adjacency), lc.from_numpy(sides)


def karate_club(demo: Demo) -> None:
    adjacency, sides = club()
    demo.metric("karate club, friendships", adjacency.sum().item() / 2, within=(78, 78))
    known = lc.tensor([0, 33])  # the instructor and the president
    for name, layer, least in (("convolution", GraphConvolution, 0.95), ("attention", GraphAttention, 0.9)):
        networks = [network(layer, adjacency, 34, 2) for _ in range(10)]
        steps = demo.pick(200, 1000)
        scores = [taught(demo, model, lc.eye(34), sides, known, steps, name).softmax(-1) for model in networks]
        chance = lc.stack(scores).mean(0)
        accuracy = (chance.argmax(-1) == sides).float().mean().item()
        demo.metric(f"karate club, sides told from two, mean of ten, {name}", accuracy, at_least=least)
        if name == "convolution":
            draw_club(demo, adjacency, sides, chance[:, 1])


def layout(adjacency: np.ndarray, rounds: int = 300) -> np.ndarray:
    """Places of the nodes: neighbours attract, all repel (Fruchterman and Reingold, 1991).    [N, 2]"""
    count = len(adjacency)
    place = np.random.default_rng(1).standard_normal((count, 2))
    ideal = 1 / np.sqrt(count)
    for step in range(rounds):
        apart = place[:, None] - place[None]
        distance = np.maximum(np.linalg.norm(apart, axis=-1, keepdims=True), 0.01)
        force = (apart / distance * (ideal**2 / distance - adjacency[..., None] * distance**2 / ideal)).sum(1)
        size = np.maximum(np.linalg.norm(force, axis=-1, keepdims=True), 1e-9)
        place += force / size * np.minimum(size, 0.1 * (1 - step / rounds))
    return place


def draw_club(demo: Demo, adjacency: Tensor, sides: Tensor, chance: Tensor) -> None:
    figure = demo.figure(
        "karate_club",
        "Friendships in a karate club. Colour: the mean of ten networks' probabilities that a member goes with the "
        "president, after they were told the sides of two (squares). Outline: the side that each took.",
        (6.4, 4.6),
    )
    axes = figure.subplots()
    place = layout(adjacency.numpy())
    for a, b in np.argwhere(np.triu(adjacency.numpy())):
        axes.plot(*place[[a, b]].T, color=GREY, linewidth=0.6, zorder=1)
    outlines = np.where(sides.numpy() == 0, BLUE, RED)
    for told, marker in ((True, "s"), (False, "o")):
        rows = np.isin(np.arange(34), (0, 33)) == told
        picture = axes.scatter(*place[rows].T, c=chance.numpy()[rows], cmap="coolwarm", vmin=0, vmax=1, s=150,
                               marker=marker, edgecolors=outlines[rows], linewidths=2)  # fmt: skip
    for member, (x, y) in enumerate(place):
        sure = abs(chance[member].item() - 0.5) > 0.3  # so its disc is dark
        axes.text(x, y, str(member + 1), fontsize=7, ha="center", va="center", color="white" if sure else "black")
    figure.colorbar(picture, ax=axes, shrink=0.7)
    axes.axis("off")


# ---- a block model ---------------------------------------------------------------------------------------------------


def blocks(groups: int = 4, members: int = 60, inside: float = 0.2, across: float = 0.01) -> tuple[Tensor, ...]:
    """Adjacency, features that tell little, and the group of every node."""
    labels = lc.arange(groups).repeat_interleave(members)
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).float()
    drawn = (lc.rand(len(labels), len(labels)) < across + (inside - across) * same).float().triu(1)
    features = 0.5 * F.one_hot(labels, 16).float() + lc.randn(len(labels), 16)
    return drawn + drawn.mT, features, labels


def block_model(demo: Demo) -> None:
    adjacency, x, labels = blocks()
    known = lc.cat([60 * k + lc.arange(5) for k in range(4)])
    hidden = lc.ones(len(labels)).scatter(0, known, 0.0).bool()
    figure = demo.figure(
        "block_model",
        "Left: edges of a graph of four groups. Right: nodes of which only features and friends are known, told right "
        "after five of each group were named.",
        (9.6, 3.8),
    )
    left, right = figure.subplots(1, 2)
    left.spy(adjacency.numpy(), markersize=0.6, color=BLUE)
    left.set(xticks=[], yticks=[])
    left.grid(False)
    layers = {"no graph": Unconnected, "convolution": GraphConvolution, "attention": GraphAttention}
    for k, (name, layer) in enumerate(layers.items()):
        scores = taught(demo, network(layer, adjacency, 16, 4), x, labels, known, demo.pick(200, 1000), name)
        accuracy = (scores.argmax(-1) == labels)[hidden].float().mean().item()
        within = (0, 0.7) if name == "no graph" else (0.95, 1)
        demo.metric(f"block model, groups told from five each, {name}", accuracy, within=within)
        right.bar(k, 100 * accuracy, 0.6, color=COLOURS[k])
    right.set_xticks(range(3), list(layers))
    right.set(ylabel="unnamed nodes told right (%)", ylim=(0, 100))
