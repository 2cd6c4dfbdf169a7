"""Positional encoding: sines and cosines that say where a token stands (section 4.10).

Attention alone does not know the order of its inputs: permute them and the outputs are permuted. Adding a vector that
depends on the position, as in Vaswani et al. (NeurIPS 2017), makes a task that needs the order solvable.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn, optim
from littlecore.models import sinusoidal_encoding
from littlecore.nn import functional as F

from .demo import BLUE, GREEN, RED, Demo

LENGTH, DIM = 12, 32
POSITIONS = ("no positions", "sines and cosines", "learned positions")


class Reader(nn.Module):
    """Attention over embedded symbols, then a class for each position.    [N, LENGTH] -> [N, LENGTH, symbols]"""

    def __init__(self, symbols: int, positions: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, DIM)
        self.attention = nn.MultiheadAttention(DIM, 4, batch_first=True)
        self.readout = nn.Sequential(nn.Linear(DIM, 64), nn.ReLU(), nn.Linear(64, symbols))
        tables = {
            "no positions": lc.zeros(LENGTH, DIM),
            "sines and cosines": sinusoidal_encoding(LENGTH, DIM),
            "learned positions": nn.Parameter(0.1 * lc.randn(LENGTH, DIM)),
        }
        self.positions = tables[positions]

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions
        return self.readout(x + self.attention(x, x, x, need_weights=False)[0])


def run(demo: Demo) -> None:
    table_as_written(demo)
    equivariance(demo)
    mirror(demo)


def table_as_written(demo: Demo) -> None:
    table = sinusoidal_encoding(128, 64).numpy()
    exact = np.empty((128, 64))
    for t in range(128):
        for d in range(0, 64, 2):
            exact[t, d] = np.sin(t / 1e4 ** (d / 64))
            exact[t, d + 1] = np.cos(t / 1e4 ** (d / 64))
    spacing = np.spacing(np.abs(exact).astype(np.float32).clip(1e-7))
    demo.metric("table, error in float32 spacings", (np.abs(table - exact) / spacing).max(), at_most=1)

    wide = sinusoidal_encoding(128, 64, dtype=lc.float64)
    products = (wide @ wide.mT).numpy()  # of positions s and t: a function of s - t
    spread = max(np.ptp(np.diagonal(products, k)) for k in range(64))
    demo.metric("products of encodings at one distance, spread", spread, at_most=1e-9)
    figure = demo.figure("table", "The encoding of 128 positions (left), products of two encodings (right).", (9, 3.4))
    left, right = figure.subplots(1, 2)
    image = left.imshow(table, aspect="auto", cmap="RdBu", vmin=-1, vmax=1)
    figure.colorbar(image, ax=left)
    left.set(xlabel="dimension", ylabel="position")
    image = right.imshow(products, aspect="auto")
    figure.colorbar(image, ax=right)
    right.set(xlabel="position", ylabel="position")
    for axes in (left, right):
        axes.grid(False)


def equivariance(demo: Demo) -> None:
    tokens, order = lc.randint(0, 8, (16, LENGTH)), lc.randperm(LENGTH)
    with lc.no_grad():
        for positions in POSITIONS:
            model = Reader(8, positions)
            distance = (model(tokens[:, order]) - model(tokens)[:, order]).abs().max().item()
            bounds = {"at_most": 1e-5} if positions == POSITIONS[0] else {"at_least": 1e-2}
            demo.metric(f"{positions}, change by permuting first or last", distance, **bounds)  # type: ignore[arg-type]


def mirror(demo: Demo) -> None:
    """Write the sequence backwards: what stands at t must go to LENGTH - 1 - t."""
    curves = {}
    for positions in POSITIONS:
        lc.manual_seed(demo.seed)
        model = Reader(8, positions)
        optimizer = optim.Adam(model.parameters(), lr=3e-3)
        losses = []
        for _ in demo.progress(range(demo.pick(400, 3000)), positions):
            tokens = lc.randint(0, 8, (64, LENGTH))
            loss = F.cross_entropy(model(tokens).reshape(-1, 8), tokens.flip(1).reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        curves[positions] = losses
    without, *last = (float(np.mean(losses[-20:])) for losses in curves.values())
    for positions, reached in zip(POSITIONS[1:], last, strict=True):
        demo.metric(f"{positions}, loss of the last steps / without any", reached / without, at_most=0.2)
    figure = demo.figure("mirror", "Learning to write sequences backwards, with and without positional encoding.")
    axes = figure.subplots()
    for (name, losses), colour in zip(curves.items(), (BLUE, RED, GREEN), strict=True):
        axes.semilogy(losses, color=colour, label=name)
    axes.set(xlabel="step", ylabel="cross-entropy (nats)")
    axes.legend()
