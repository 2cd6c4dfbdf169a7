"""Autoencoders: through a narrow place and back (missing bits, bits.2).

An autoencoder maps an image to a few numbers and those back to the image; what two numbers can say of a digit, two
principal components cannot (Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science
2006). A variational autoencoder (Kingma and Welling, Auto-Encoding Variational Bayes, ICLR 2014) maps it to a Gaussian,
and keeps those close to the standard one; then whatever the standard Gaussian gives is a code for some image. Its loss
is a bound of the image's negative log-likelihood: what the image costs given its code, and what the code costs.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn
from littlecore.nn import functional as F

from .demo import BLUE, COLOURS, GREY, RED, Demo
from .fit import fit
from .training_protocols import flat

SIZE, BATCH = 16, 64
PIXELS = SIZE * SIZE


def run(demo: Demo) -> None:
    (train, _), (test, labels) = (flat(part) for part in data.digits(SIZE))
    train, test = train.flatten(1), test.flatten(1)
    plane(demo, train, test, labels)
    variational(demo, train, test)


def perceptron(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.GELU()]
    return nn.Sequential(*layers[:-1])


# ---- two numbers for an image ----------------------------------------------------------------------------------------


class Autoencoder(nn.Module):
    """[N, PIXELS] -> [N, PIXELS], through `codes` numbers."""

    def __init__(self, codes: int) -> None:
        super().__init__()
        self.encoder, self.decoder = perceptron(PIXELS, 128, 64, codes), perceptron(codes, 64, 128, PIXELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x)).sigmoid()


def principal_components(train: Tensor, x: Tensor, count: int) -> Tensor:
    """x, projected to the directions in which the training images differ most."""
    mean = train.mean(0).numpy()
    directions = np.linalg.svd(train.numpy() - mean, full_matrices=False)[2][:count]
    return lc.from_numpy(mean + (x.numpy() - mean) @ directions.T @ directions)


def plane(demo: Demo, train: Tensor, test: Tensor, labels: Tensor) -> None:
    model = Autoencoder(2)

    def loss() -> Tensor:
        x = train[lc.randint(0, len(train), (BATCH,))]
        return F.mse_loss(model(x), x)

    fit(demo, model, loss, demo.pick(2500, 20000), 2e-3, "autoencoder")
    with lc.no_grad():
        codes, rebuilt = model.encoder(test), model(test)
    linear = principal_components(train, test, 2)
    ours, theirs = F.mse_loss(rebuilt, test).item(), F.mse_loss(linear, test).item()
    demo.metric("variance of a pixel", (test - train.mean(0)).square().mean().item())
    demo.metric("squared error, two principal components", theirs)
    demo.metric("squared error, autoencoder with two numbers", ours)
    demo.metric("squared error, autoencoder / principal components", ours / theirs, at_most=0.8)

    figure = demo.figure(
        "plane",
        "Left: test digits as the two numbers that the autoencoder keeps of each. Right: test digits, rebuilt from two "
        "numbers by the autoencoder, and from two principal components.",
        (9.6, 4),
    )
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    for digit in range(10):
        points = codes[labels == digit].numpy()
        axes.scatter(*points.T, s=0)  # limits for the text
        for x, y in points:
            axes.text(x, y, str(digit), color=(*COLOURS, GREY, "#806000", "#404080")[digit], fontsize=7)
    axes.set(xlabel="first number", ylabel="second number")
    shown = [int((labels == digit).long().argmax().item()) for digit in range(8)]
    rows = {"digit": test, "rebuilt": rebuilt, "linear": linear}
    for panels, (name, images) in zip(right.subplots(3, 8), rows.items(), strict=True):
        panels[0].set_ylabel(name)
        for panel, k in zip(panels, shown, strict=True):
            picture(panel, images[k])


def picture(axes: Any, image: Tensor) -> None:
    axes.imshow(image.reshape(SIZE, SIZE).numpy(), cmap="Greys", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    axes.spines[:].set_visible(False)


# ---- a variational autoencoder ---------------------------------------------------------------------------------------


class VariationalAutoencoder(nn.Module):
    """A Gaussian of codes for each image, and a probability of ink for each pixel given the code."""

    def __init__(self, codes: int = 8) -> None:
        super().__init__()
        self.codes = codes
        self.encoder, self.decoder = perceptron(PIXELS, 128, 128, 2 * codes), perceptron(codes, 128, 128, PIXELS)

    def bound(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Nats for the image given its code, and for the code: KL(N(mean, s) | N(0, 1)).    [N, PIXELS] -> 2 x [N]"""
        mean, log_variance = self.encoder(x).chunk(2, -1)
        code = mean + (log_variance / 2).exp() * lc.randn(*mean.shape)
        image = F.binary_cross_entropy_with_logits(self.decoder(code), x, reduction="none").sum(-1)
        return image, (mean.square() + log_variance.exp() - log_variance - 1).sum(-1) / 2


def ink(images: Tensor) -> Tensor:
    """Black or white, as likely as the pixel is dark."""
    return (lc.rand(*images.shape) < images).float()


def variational(demo: Demo, train: Tensor, test: Tensor) -> None:
    model, parts = VariationalAutoencoder(), []

    def loss() -> Tensor:
        image, code = model.bound(ink(train[lc.randint(0, len(train), (BATCH,))]))
        parts.append((image.mean().item(), code.mean().item()))
        return (image + code).mean()

    losses = fit(demo, model, loss, demo.pick(3000, 30000), 2e-3, "variational autoencoder")
    drawn = ink(test)
    with lc.no_grad():
        image, code = (part.mean().item() for part in model.bound(drawn))
        made = model.decoder(lc.randn(1000, model.codes)).sigmoid()
    dark = train.mean(0).clamp(1e-3, 1 - 1e-3)
    alone = -(drawn * dark.log() + (1 - drawn) * (1 - dark).log()).sum(-1).mean().item()
    demo.metric("nats for a test image, each pixel by itself", alone)
    demo.metric("nats for a test image, bound of the variational autoencoder", image + code, at_most=alone - 10)
    demo.metric("of these for the code", code, within=(2, 40))
    early, late = np.mean(losses[:10]), np.mean(losses[-100:])
    demo.metric("training bound at the end / at the start", late / early, at_most=0.7)
    distance = lc.stack([(train - x).square().sum(-1).min() for x in made[:300]]).sqrt()
    others = lc.stack([(train - x).square().sum(-1).min() for x in test[:300]]).sqrt()
    ratio = distance.mean().item() / others.mean().item()
    demo.metric("new image to nearest training one / test image to nearest", ratio, at_most=1.3)

    figure = demo.figure(
        "samples",
        "Left: what an image costs while learning, and the part of its code. Right: digits made from Gaussian numbers.",
        (9.6, 4),
    )
    left, right = figure.subfigures(1, 2)
    axes = left.subplots()
    window = np.ones(20) / 20
    total, codes = np.array(losses), np.array(parts)[:, 1]
    axes.plot(np.convolve(total, window, "valid"), color=BLUE, linewidth=0.9, label="image and code")
    axes.plot(np.convolve(codes, window, "valid"), color=RED, linewidth=0.9, label="code")
    axes.set(xlabel="step", ylabel="nats", ylim=(0, None))
    axes.legend()
    for panel, image_made in zip(right.subplots(8, 8).flat, made, strict=False):
        picture(panel, image_made)
