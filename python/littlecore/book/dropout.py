"""Dropout: random zeros while training, the identity afterwards (section 4.5, figures 4.7 and 4.8).

An element is zero with probability p, else divided by 1 - p, so that the mean stays (Srivastava et al., JMLR 15, 2014);
dropout2d does so with whole channels. Left on after training, it samples networks, and where these disagree the input
is an unusual one (Gal, Ghahramani, ICML 2016).
"""

from __future__ import annotations

import math

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, RED, Demo
from .training_protocols import epoch, evaluated, flat

P = 0.3


def run(demo: Demo) -> None:
    elements(demo)
    channels(demo)
    monte_carlo(demo)


def elements(demo: Demo) -> None:
    count = 10_000_000
    x = lc.ones(count)
    y = F.dropout(x, P)
    kept = (y != 0).float().mean().item()
    deviation = math.sqrt(P * (1 - P) / count)
    demo.metric("share of elements kept, distance to 1 - p (deviations)", abs(kept - 1 + P) / deviation, at_most=4)
    demo.metric(
        "mean after dropout, distance to the mean before", abs(y.mean().item() - 1), at_most=4 * deviation / (1 - P)
    )
    layer = nn.Dropout(P).eval()
    demo.metric("elements changed in evaluation", (layer(x) != x).float().sum().item(), at_most=0)

    masks = []
    threads = lc.get_num_threads()
    for number in (1, 2, 3):
        lc.set_num_threads(number)
        lc.manual_seed(demo.seed)
        masks.append(F.dropout(x, P))
    lc.set_num_threads(threads)
    differing = sum((mask != masks[0]).float().sum().item() for mask in masks)
    demo.metric("elements that depend on the number of threads", differing, at_most=0)


def channels(demo: Demo) -> None:
    x = lc.rand(8, 16, 12, 12) + 0.5
    whole = F.dropout2d(x, 0.5) != 0
    share = whole.float().mean((2, 3))
    demo.metric("channels neither whole nor gone", ((share != 0) & (share != 1)).float().sum().item(), at_most=0)
    figure = demo.figure("masks", "What is kept (bright) of eight channels, by elements and by channels.", (9.6, 2.6))
    pictures = F.dropout(x[0, :8], 0.5) != 0, F.dropout2d(x[:1, :8], 0.5)[0] != 0
    for name, row, picture in zip(("dropout", "dropout2d"), figure.subplots(2, 8), pictures, strict=True):
        for axes, channel in zip(row, picture.unbind(0), strict=True):
            axes.imshow(channel.numpy(), vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")


def monte_carlo(demo: Demo) -> None:
    """A classifier of the digits 0 to 4 meets 5 to 9: the networks that dropout samples disagree about these."""
    (x, y), (test_x, test_y) = (flat(part) for part in data.digits(8))
    known, other = lc.argwhere(y < 5).squeeze(1), lc.argwhere(test_y >= 5).squeeze(1)
    test_known = lc.argwhere(test_y < 5).squeeze(1)
    model = models.mlp((64, 128, 128, 5), dropout=0.5)
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    for _ in demo.progress(range(demo.pick(30, 100))):
        epoch(model, optimizer, x[known], y[known])
    model.eval()
    demo.metric(
        "test accuracy on known digits", evaluated(model, test_x[test_known], test_y[test_known])[1], at_least=0.95
    )
    model.train()

    def variance(inputs: Tensor) -> np.ndarray:
        """Variance of the class probabilities over sampled networks, added up over classes.    [N]"""
        with lc.no_grad():
            samples = lc.stack([model(inputs).softmax(-1) for _ in range(demo.pick(50, 200))])
        return samples.var(0).sum(-1).numpy()

    inside, outside = variance(test_x[test_known]), variance(test_x[other])
    above = (outside[:, None] > inside).mean() + (outside[:, None] == inside).mean() / 2
    demo.metric("an unknown digit has the larger variance (AUROC)", float(above), at_least=0.8)
    figure = demo.figure("unknown", "Disagreement of sampled networks about digits of the training classes and others.")
    axes = figure.subplots()
    bins = np.linspace(0, max(inside.max(), outside.max()), 30).tolist()
    axes.hist(inside, bins, alpha=0.6, color=BLUE, label="digits 0 to 4, trained on")
    axes.hist(outside, bins, alpha=0.6, color=RED, label="digits 5 to 9, never seen")
    axes.set(xlabel="variance of the class probabilities", ylabel="test digits")
    axes.legend()
