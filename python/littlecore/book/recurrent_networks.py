"""Recurrent networks: a state that is updated at every step (missing bits, bits.1).

The adding problem (Hochreiter and Schmidhuber, Long Short-Term Memory, 1997) asks for the sum of two marked numbers
among a hundred. A plain recurrent network forgets; gates, which let the state pass unchanged, do not (LSTM; GRU, Cho et
al., 2014). If the update is linear in the state, h = a h + b with a and b made from the input alone, the steps can be
taken all at once, in log T rounds (parallel scan; Bradbury et al., Quasi-Recurrent Neural Networks, 2017; Gu and Dao,
Mamba, 2023).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn
from littlecore.nn import functional as F

from .demo import COLOURS, GREY, Demo
from .fit import fit

LENGTH, HIDDEN, BATCH = 100, 32, 48


def run(demo: Demo) -> None:
    parallel_scan(demo)
    adding(demo)


# ---- parallel scan ---------------------------------------------------------------------------------------------------


def scan(a: Tensor, b: Tensor) -> Tensor:
    """h[t] = a[t] h[t-1] + b[t] with h[-1] = 0, in ceil(log2 T) rounds.    [T, ...], [T, ...] -> [T, ...]

    Two steps in a row are one step of the same kind: a2 (a1 h + b1) + b2 = (a2 a1) h + (a2 b1 + b2). Each round joins
    every stretch of steps with the equally long one before it.
    """
    return deque(rounds(a, b), maxlen=1).pop() if len(a) > 1 else b


def rounds(a: Tensor, b: Tensor) -> Iterator[Tensor]:
    """b after each round."""
    reach = 1
    while reach < len(a):
        b = lc.cat([b[:reach], a[reach:] * b[:-reach] + b[reach:]])
        a = lc.cat([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
        yield b


def stepwise(a: Tensor, b: Tensor) -> Tensor:
    """The same, one step after the other."""
    h = lc.zeros_like(b[0])
    steps = []
    for t in range(len(a)):
        h = a[t] * h + b[t]
        steps.append(h)
    return lc.stack(steps)


def parallel_scan(demo: Demo) -> None:
    worst = 0.0
    for length in (1, 2, 3, 17, 100, 1000):
        a, b = lc.rand(length, 4, 8), lc.randn(length, 4, 8)
        worst = max(worst, (scan(a, b) - stepwise(a, b)).abs().max().item())
    demo.metric("parallel scan, distance to the loop", worst, at_most=1e-6)
    for length, expected in ((LENGTH, 7), (1000, 10)):
        count = sum(1 for _ in rounds(lc.ones(length), lc.ones(length)))
        demo.metric(f"rounds of a scan over {length:,} steps", count, within=(expected, expected))


class ScannedLayer(nn.Module):
    """y = gelu(W x), a = sigmoid(A y), b = sigmoid(B y) C y, then a scan.    [T, N, in] -> [T, N, hidden]"""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.forget, self.gate, self.value = (nn.Linear(hidden, hidden) for _ in range(3))
        nn.init.constant_(self.forget.bias, 6.0)  # born to remember,
        nn.init.constant_(self.gate.bias, -2.0)  # and to notice little

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        y = F.gelu(self.enter(x))
        return scan(self.forget(y).sigmoid(), self.gate(y).sigmoid() * self.value(y)), None


# ---- the adding problem ----------------------------------------------------------------------------------------------


def additions(count: int) -> tuple[Tensor, Tensor]:
    """Numbers in [0, 1) beside marks, of which each half of the sequence has one; the sum of the two marked numbers.

    [LENGTH, count, 2], [count, 1]
    """
    numbers = lc.rand(LENGTH, count)
    half = LENGTH // 2
    first, second = lc.randint(0, half, (count,)), lc.randint(half, LENGTH, (count,))
    marks = (F.one_hot(first, LENGTH) + F.one_hot(second, LENGTH)).mT.float()
    return lc.stack([numbers, marks], -1), (numbers * marks).sum(0).unsqueeze(-1)


class Reader(nn.Module):
    """A recurrent layer, and what its last state says.    [T, N, 2] -> [N, 1]"""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.readout = layer, nn.Linear(HIDDEN, 1)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.layer(x)
        return self.readout(states[-1])


def remembering_lstm() -> nn.LSTM:
    """An LSTM born with open forget gates (Gers et al., Learning to Forget, 2000) and nearly shut input gates."""
    layer = nn.LSTM(2, HIDDEN)
    with lc.no_grad():
        layer.bias_ih_l0[:HIDDEN] = -3.0
        layer.bias_ih_l0[HIDDEN : 2 * HIDDEN] = 5.0
    return layer


def adding(demo: Demo) -> None:
    steps = demo.pick(1000, 5000)
    layers: dict[str, tuple[Any, int]] = {
        "plain": (nn.RNN(2, HIDDEN), steps // 3),
        "LSTM": (remembering_lstm(), steps),
        "GRU": (nn.GRU(2, HIDDEN), steps),
        "scanned": (ScannedLayer(2, HIDDEN), steps),
    }
    x, y = additions(2000)
    variance = y.var().item()
    demo.metric("variance of the sum, what a constant answer costs", variance)
    figure = demo.figure(
        "adding",
        f"The sum of two marked numbers among {LENGTH}: squared error while learning, mean of 20 batches (dashed: the "
        "best constant answer).",
    )
    axes = figure.subplots()
    axes.axhline(variance, color=GREY, linestyle="--", linewidth=1.2)
    for (name, (layer, count)), colour in zip(layers.items(), COLOURS, strict=False):
        model = Reader(layer)

        def loss(model: Reader = model) -> Tensor:
            x, y = additions(BATCH)
            return F.mse_loss(model(x), y)

        losses = fit(demo, model, loss, count, 1e-2, name)
        with lc.no_grad():
            error = F.mse_loss(model(x), y).item()
        if name == "plain":
            demo.metric("plain, test error / variance", error / variance, at_least=0.5)
        else:
            demo.metric(f"{name}, test error / variance", error / variance, at_most=0.05)
        axes.semilogy(np.convolve(losses, np.ones(20) / 20, "valid"), color=colour, linewidth=1.2, label=name)
    axes.set(xlabel="step", ylabel="mean squared error")
    axes.legend()
