"""Image denoising: a network that maps a degraded image to the clean one (section 6.1).

A denoising autoencoder (Vincent et al., JMLR 2010) in the shape of a U-Net, whose skip connections carry the details
past the bottleneck. Its target is not even needed clean: noise of mean 0 in the target changes no expectation, so a
second noisy photograph of the same will do (Lehtinen et al., Noise2Noise, ICML 2018). And an expectation is all that it
can give: where the noise has left several images possible, it shows their mean, which is a blur.
"""

from __future__ import annotations

import math

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREY, ORANGE, RED, Demo
from .fit import fit
from .training_protocols import flat

SIZE, MOST = 16, 1.0  # pixels a side, standard deviation of the strongest noise
LEVELS = (0.1, 0.2, 0.4, 0.7, 1.0)


def run(demo: Demo) -> None:
    (train, _), (test, _) = (flat(part) for part in data.digits(SIZE))
    networks: dict[str, nn.Module] = {}
    for name in ("clean targets", "noisy targets"):
        networks[name] = denoiser(demo, train, name)
    without = denoiser(demo, train, "without skips", skips=False)
    compare(demo, test, networks, without)
    expectation(demo, train, test, networks["clean targets"])


def denoiser(demo: Demo, images: Tensor, name: str, *, skips: bool = True) -> nn.Module:
    """A U-Net that has seen noise of every strength up to MOST, drawn anew for each image."""
    model = models.unet(widths=(16, 32, 64), skips=skips)

    def loss() -> Tensor:
        x = images[lc.randint(0, len(images), (32,))]
        strength = MOST * lc.rand(32, 1, 1, 1)
        target = x + strength * lc.randn(*x.shape) if name == "noisy targets" else x
        return F.mse_loss(model(x + strength * lc.randn(*x.shape)), target)

    fit(demo, model, loss, demo.pick(700, 8000), 2e-3, name)
    return model


def psnr(x: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels; the peak is 1."""
    return -10 * math.log10((x - clean).square().mean().item())


def blurred(x: Tensor, width: float) -> Tensor:
    """The image under a Gaussian, what one would do without learning.    [N, 1, H, W]"""
    away = lc.arange(-4, 5).float()
    kernel = (-(away**2) / (2 * width**2)).exp()
    kernel = kernel / kernel.sum()
    return F.conv2d(x, (kernel.unsqueeze(0) * kernel.unsqueeze(1)).reshape(1, 1, 9, 9), padding=4)


def compare(demo: Demo, clean: Tensor, networks: dict[str, nn.Module], without: nn.Module) -> None:
    curves: dict[str, list[float]] = {"noisy": [], "best blur": [], **{name: [] for name in networks}}
    for strength in LEVELS:
        noisy = clean + strength * lc.randn(*clean.shape)
        curves["noisy"].append(psnr(noisy, clean))
        curves["best blur"].append(max(psnr(blurred(noisy, width), clean) for width in np.linspace(0.3, 2, 18)))
        with lc.no_grad():
            for name, model in networks.items():
                curves[name].append(psnr(model(noisy), clean))
            if strength == LEVELS[0]:
                lost = curves["clean targets"][-1] - psnr(without(noisy), clean)
    for strength, before, blur, after in zip(LEVELS, *list(curves.values())[:3], strict=True):
        demo.metric(
            f"noise {strength}, gain over the noisy image, dB", after - before, at_least=5 if strength >= 0.2 else 4
        )
        demo.metric(f"noise {strength}, gain over the best blur, dB", after - blur, at_least=1)
    gap = np.subtract(curves["clean targets"], curves["noisy targets"])
    for strength, lost_there in zip(LEVELS, gap, strict=True):  # less and less with longer training
        demo.metric(f"noise {strength}, lost by noisy targets, dB", lost_there, at_most=1 if strength >= 0.4 else None)
    demo.metric(f"lost without skip connections at noise {LEVELS[0]}, dB", lost, at_least=0.5)

    figure = demo.figure("levels", "Quality of test images against the noise: what comes in, and what comes out.")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), (GREY, ORANGE, BLUE, RED), strict=True):
        axes.plot(LEVELS, curve, "o-", color=colour, label=name)
    axes.set(xlabel="standard deviation of the noise", ylabel="peak signal-to-noise ratio (dB)")
    axes.legend()


def expectation(demo: Demo, train: Tensor, clean: Tensor, model: nn.Module) -> None:
    """The more noise, the more images are possible, and the less the network dares."""
    shown = clean[:6]
    noise = lc.randn(*shown.shape)
    rows = [shown]
    deviation = []
    with lc.no_grad():
        for strength in (0.2, 0.5, 1.0):
            rows += [shown + strength * noise, model(shown + strength * noise)]
            every = model(clean + strength * lc.randn(*clean.shape))
            deviation.append((every - every.mean(0)).square().mean().sqrt().item())
    own = (clean - clean.mean(0)).square().mean().sqrt().item()
    for strength, value in zip((0.2, 0.5, 1.0), deviation, strict=True):
        demo.metric(f"noise {strength}, spread of the outputs / of the clean images", value / own)
    demo.metric("spread at noise 1 / at noise 0.2", deviation[2] / deviation[0], at_most=0.98)

    names = ["clean", "noise 0.2", "denoised", "noise 0.5", "denoised", "noise 1", "denoised"]
    figure = demo.figure(
        "images",
        "Test digits, with more and more noise, and what the network makes of them: more and more a blur.",
        (6.4, 7),
    )
    for panels, name, images in zip(figure.subplots(len(rows), 6), names, rows, strict=True):
        for axes, image in zip(panels, images.squeeze(1).numpy(), strict=True):
            axes.imshow(image, cmap="Greys", vmin=0, vmax=1)
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center")
