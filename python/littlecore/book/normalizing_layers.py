"""Normalizing layers: force the mean and the variance of activations to 0 and 1 (section 4.6, figure 4.9).

Batch normalization (Ioffe and Szegedy, ICML 2015) takes them of every channel over the batch, and in a test uses
running averages, which makes it an affine map. Layer normalization (Ba, Kiros, Hinton, 2016) takes them of every sample
over its channels, so that training and test are the same. Batch norm lets a plain network of 20 layers learn at a rate
that kills it without; layer norm alone does not: it cannot undo that deep layers make all samples alike.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, GREEN, RED, Demo
from .training_protocols import flat

LAYERS, WIDTH = 20, 64
SMALL = 1e-12  # an epsilon that cannot be seen


def run(demo: Demo) -> None:
    statistics(demo)
    train_and_test(demo)
    picture(demo)
    deep_network(demo)


def statistics(demo: Demo) -> None:
    """Mean and standard deviation of the result, for inputs far from 0; NumPy takes them in float64."""
    for dtype, name in ((lc.float32, "float32"), (lc.float64, "float64")):
        x = (1e4 + lc.randn(256, 64, dtype=lc.float64)).to(dtype)
        image = (1e4 + lc.randn(32, 8, 6, 6, dtype=lc.float64)).to(dtype)
        results: list[tuple[Tensor, tuple[int, ...]]] = [
            (plain(nn.BatchNorm1d, 64)(x), (0,)),
            (plain(nn.BatchNorm2d, 8)(image), (0, 2, 3)),
            (F.layer_norm(x, (64,), eps=SMALL), (1,)),
            (F.layer_norm(image, (8, 6, 6), eps=SMALL), (1, 2, 3)),
        ]
        arrays = [(y.numpy().astype(np.float64), dims) for y, dims in results]
        mean = max(float(np.abs(y.mean(dims)).max()) for y, dims in arrays)
        deviation = max(float(np.abs(y.std(dims) - 1).max()) for y, dims in arrays)
        demo.metric(f"input mean 10^4, {name}: largest mean", mean, at_most=1e-6)
        demo.metric(f"input mean 10^4, {name}: largest distance of deviation to 1", deviation, at_most=1e-6)


def plain(kind: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], channels: int) -> nn.Module:
    """Batch norm and nothing else: no scale, no shift, no running averages."""
    return kind(channels, eps=SMALL, affine=False, track_running_stats=False)


def train_and_test(demo: Demo) -> None:
    norm = nn.BatchNorm2d(8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    for _ in range(10):
        norm(3 + 2 * lc.randn(16, 8, 5, 5))
    norm.eval()
    x = lc.randn(16, 8, 5, 5)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    affine = x * scale.reshape(8, 1, 1) + shift.reshape(8, 1, 1)
    demo.metric("batch norm in a test, distance to an affine map", (norm(x) - affine).abs().max().item(), at_most=1e-5)

    layer = nn.LayerNorm((8, 5, 5))
    nn.init.normal_(layer.weight)  # one scale and one shift for every channel, row and column
    nn.init.normal_(layer.bias)
    trained = layer(x)
    demo.metric("layer norm, test minus training", (layer.eval()(x) - trained).abs().max().item(), at_most=0)
    alone = lc.cat([layer(sample) for sample in x.split(1)])
    demo.metric("layer norm, batch minus samples one by one", (alone - trained).abs().max().item(), at_most=0)


def picture(demo: Demo) -> None:
    """Activations whose channels differ (columns) and whose samples differ (rows)."""
    samples, channels = 12, 16
    scales = (0.2 + 1.5 * lc.rand(samples, 1)) * (0.2 + 1.5 * lc.rand(channels))
    x = lc.randn(samples, channels) * scales + 1.5 * lc.randn(channels) + 1.5 * lc.randn(samples, 1)
    panels = {
        "input": x,
        "batch norm: every column": plain(nn.BatchNorm1d, channels)(x),
        "layer norm: every row": F.layer_norm(x, (channels,)),
    }
    figure = demo.figure(
        "directions",
        "Activations of 12 samples in 16 channels; batch norm brings every channel to mean 0 and deviation 1, layer "
        "norm every sample. The bars are the means, with a deviation to either side.",
        (9.6, 3.3),
    )
    columns = figure.subplots(2, 6, width_ratios=(8, 1.6) * 3, height_ratios=(6, 1.6))
    for i, (title, values) in enumerate(panels.items()):
        (image, right), (below, corner) = columns[:, 2 * i : 2 * i + 2]
        v = values.numpy()
        image.imshow(v, cmap="coolwarm", vmin=-3, vmax=3, aspect="auto", interpolation="nearest")
        image.set_title(title)
        image.set(xticks=[], yticks=[], ylabel="sample" if i == 0 else "")
        right.errorbar(v.mean(1), range(samples), xerr=v.std(1), fmt=".", markersize=3, linewidth=1, color=BLUE)
        right.set(ylim=(samples - 0.5, -0.5), xlim=(-5, 5), yticks=[], xticks=[0])
        below.errorbar(range(channels), v.mean(0), yerr=v.std(0), fmt=".", markersize=3, linewidth=1, color=RED)
        below.set(xlim=(-0.5, channels - 0.5), ylim=(-5, 5), xticks=[], yticks=[0], xlabel="channel")
        corner.axis("off")
        image.grid(False)


def deep(norm: str) -> nn.Sequential:
    """20 fully connected layers, with the weights that keep the variance through ReLU (He et al., ICCV 2015)."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([64, *[WIDTH] * (LAYERS - 1), 10]):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        kinds: dict[str, list[nn.Module]] = {
            "none": [], "batch norm": [nn.BatchNorm1d(outputs)], "layer norm": [nn.LayerNorm(outputs)]
        }  # fmt: skip
        layers += [linear, *kinds[norm], nn.ReLU()]
    return nn.Sequential(*(layers[:-1] if norm == "none" else layers[:-2]))  # the last layer gives the logits


def deep_network(demo: Demo) -> None:
    (x, label), (test_x, test_label) = (flat(part) for part in data.digits(8))
    x, test_x = x.flatten(1), test_x.flatten(1)
    curves: dict[str, list[float]] = {}
    expected: dict[str, dict[str, Any]] = {
        "none": {}, "batch norm": {"at_most": 0.8}, "layer norm": {"at_least": 0.9}
    }  # fmt: skip
    for norm in ("none", "batch norm", "layer norm"):
        model = deep(norm)
        with lc.no_grad():
            hidden = F.normalize(nn.Sequential(*list(model)[:-1])(x[:64]))
            alike = (hidden @ hidden.mT).mean().item()
        demo.metric(f"untrained, mean cosine of samples at layer 19, {norm}", alike, **expected[norm])
        optimizer = optim.SGD(model.parameters(), lr=0.5)
        curves[norm] = []
        for _ in demo.progress(range(demo.pick(250, 2000)), norm):
            chosen = lc.randint(0, len(x), (64,))
            loss = F.cross_entropy(model(x[chosen]), label[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            curves[norm].append(loss.item())
        model.eval()
        with lc.no_grad():
            accuracy = (model(test_x).argmax(-1) == test_label).float().mean().item()
        gates: dict[str, dict[str, Any]] = {"none": {"at_most": 0.2}, "batch norm": {"at_least": 0.9}}
        demo.metric(f"20 layers on digits, test accuracy, {norm}", accuracy, **gates.get(norm, {}))

    figure = demo.figure(
        "twenty_layers",
        "Loss of 20 layers on the digits at learning rate 0.5, means of ten steps; without a norm it diverges.",
    )
    axes = figure.subplots()
    for (norm, losses), colour in zip(curves.items(), (RED, BLUE, GREEN), strict=True):
        axes.plot(np.convolve(losses, np.ones(10) / 10, "valid"), color=colour, label=norm)
    axes.axhline(np.log(10), color="black", linestyle=":", linewidth=1, label="chance")
    axes.set(xlabel="step", ylabel="cross-entropy (nats)", ylim=(0, 5))
    axes.legend()
