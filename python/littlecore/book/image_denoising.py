"""Image denoising: a network that maps a degraded image to the clean one (section 6.1).

A denoising autoencoder (Vincent et al., JMLR 2010) in the shape of a U-Net, whose skip connections carry the details
past the bottleneck, cleans digits. An expectation is all that it can give: where the noise has left several images
possible, it shows their mean, which is a blur.

A photograph is cleaned by a stack of convolutions that says what is noise in it (Zhang et al., Beyond a Gaussian
Denoiser, 2017). The target is not even needed clean: noise of mean 0 in the target changes no expectation, so a second
noisy photograph of the same will do (Lehtinen et al., Noise2Noise, ICML 2018). The photograph, which comes with
matplotlib, is a portrait of Grace Hopper (US Navy, public domain): flag and uniform to learn from, the face to clean.

The long form repairs other damage in the same way: the blocks that strong compression leaves, and lost colours. Its
network learns from the white fields of a chess board on the portrait and is shown the black ones.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import cycle

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREY, ORANGE, RED, Demo
from .fit import fit
from .training_protocols import flat

SIZE, MOST = 16, 1.0  # pixels a side, standard deviation of the strongest noise
LEVELS = (0.1, 0.2, 0.4, 0.7, 1.0)
NOISE, PATCH = 0.2, 40  # of the photograph


def run(demo: Demo) -> None:
    photograph(demo)
    if demo.full:
        repairs(demo, 1500)
    (train, _), (test, _) = (flat(part) for part in data.digits(SIZE))
    networks = {name: denoiser(demo, train, name) for name in ("with skips", "without skips")}
    caption = "The U-Net: half the size, half again, and back; skip connections bring the finer maps along."
    demo.drawing("u_net", caption, networks["with skips"], (1, 1, SIZE, SIZE))
    compare(demo, test, networks)
    expectation(demo, test, networks["with skips"])


def psnr(x: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio in decibels; the peak is 1."""
    return -10 * math.log10((x - clean).square().mean().item())


def blurred(x: Tensor, width: float) -> Tensor:
    """The image under a Gaussian, what one would do without learning.    [N, 1, H, W]"""
    away = lc.arange(-4, 5).float()
    kernel = (-(away**2) / (2 * width**2)).exp()
    kernel = kernel / kernel.sum()
    return F.conv2d(x, (kernel.unsqueeze(0) * kernel.unsqueeze(1)).reshape(1, 1, 9, 9), padding=4)


def best_blur(noisy: Tensor, clean: Tensor) -> float:
    """In decibels, of all widths of the Gaussian."""
    return max(psnr(blurred(noisy, width), clean) for width in np.linspace(0.3, 2, 18))


# ---- a photograph ----------------------------------------------------------------------------------------------------


def portrait(channels: int = 1) -> Tensor:
    """[channels, 600, 512] of 0..1"""
    from matplotlib.cbook import get_sample_data

    pixels = data.read_image(get_sample_data("grace_hopper.jpg", asfileobj=False), channels=channels)
    return lc.from_numpy(pixels.astype(np.float32) / 255)


def photograph(demo: Demo) -> None:
    picture = portrait()
    flag, uniform, face = picture[:, :, :144], picture[:, 344:], picture[:, 32:288, 144:400].unsqueeze(0)
    noisy = face + NOISE * lc.randn(*face.shape)
    shown = {"clean": face, "noisy": noisy}
    start = noise_finder()
    for name in ("clean targets", "noisy targets"):
        model = copy.deepcopy(start)
        learn(demo, model, (flag, uniform), name)
        with lc.no_grad():
            shown[name] = noisy - model(noisy)
    quality = {name: psnr(x, face) for name, x in shown.items() if name != "clean"}
    best, reached = best_blur(noisy, face), quality["clean targets"]
    demo.metric(f"face, noise {NOISE}, gain over the noisy image, dB", reached - quality["noisy"], at_least=5)
    demo.metric(f"face, noise {NOISE}, gain over the best blur, dB", reached - best, at_least=1)
    demo.metric(f"face, noise {NOISE}, lost by noisy targets, dB", reached - quality["noisy targets"], at_most=0.3)

    figure = demo.figure(
        "photograph",
        "A part of a photograph that no network has seen: clean, with noise, and what is left of it when the network "
        "has learned from clean targets, or from noisy ones alone.",
        (9.6, 2.7),
    )
    for axes, (name, image) in zip(figure.subplots(1, 4), shown.items(), strict=True):
        axes.imshow(image.squeeze().numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name + (f", {quality[name]:.1f} dB" if name in quality else ""))
        axes.axis("off")


def noise_finder() -> nn.Sequential:
    """What it finds is to be taken from the image.    [N, 1, H, W] -> [N, 1, H, W]"""
    layers: list[nn.Module] = []
    for width in (1, 16, 16, 16):
        layers += [nn.Conv2d(width, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding=1))


def learn(demo: Demo, model: nn.Module, parts: Sequence[Tensor], name: str) -> None:
    """From patches of the parts in turn, always under new noise.    [1, H, W] each"""
    turn = cycle(parts)

    def loss() -> Tensor:
        part = next(turn)
        rows, columns = (lc.randint(0, side - PATCH + 1, (8,)).tolist() for side in part.shape[1:])
        x = lc.stack([part[:, i : i + PATCH, j : j + PATCH] for i, j in zip(rows, columns, strict=True)])
        target = x + NOISE * lc.randn(*x.shape) if name == "noisy targets" else x
        given = x + NOISE * lc.randn(*x.shape)
        return F.mse_loss(given - model(given), target)

    fit(demo, model, loss, demo.pick(1200, 8000), 4e-3, f"photograph, {name}")


def blocky(x: Tensor, coarse: float = 0.05) -> Tensor:
    """The cosine transform of every 8 x 8 pixels, its waves rounded, the shorter the coarser.    [C, H, W]"""
    k = lc.arange(8).float()
    waves = (math.pi / 8 * k.unsqueeze(1) * (k + 0.5)).cos() / 2
    waves[0] = 8**-0.5
    steps = coarse * (1 + k + k.unsqueeze(1))
    blocks = x.unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).transpose(2, 3)  # -> [C, H/8, W/8, 8, 8]
    rounded = (waves @ blocks @ waves.mT / steps).round() * steps
    return (waves.mT @ rounded @ waves).transpose(2, 3).flatten(1, 2).flatten(2, 3)


def fields(picture: Tensor) -> Tensor:
    """Of 64 x 64 pixels, row by row.    [C, 576, 512] -> [72, C, 64, 64]"""
    return picture.unflatten(2, (-1, 64)).unflatten(1, (-1, 64)).permute(1, 3, 0, 2, 4).flatten(0, 1)


def put_together(fields: Tensor) -> Tensor:
    """[72, C, 64, 64] -> [C, 576, 512]"""
    return fields.unflatten(0, (9, 8)).permute(2, 0, 3, 1, 4).flatten(1, 2).flatten(2, 3)


def repairs(demo: Demo, steps: int) -> None:
    true = portrait(3)[:, :576]
    grey = (true * lc.tensor([0.299, 0.587, 0.114]).reshape(3, 1, 1)).sum(0).unsqueeze(0)
    damages = {"blocks of compression": (blocky(grey), grey), "lost colours": (grey, true)}
    white = (lc.arange(9).unsqueeze(1) + lc.arange(8)).flatten() % 2 == 0
    figure = demo.figure(
        "repairs",
        "The portrait damaged, repaired, and as it was. Above blocks of compression, below lost colours; the network "
        "knows every second field of 64 x 64 pixels.",
        (7.2, 5.8),
    )
    for panels, (name, (given, wanted)) in zip(figure.subplots(2, 3), damages.items(), strict=True):
        x, y = fields(given), fields(wanted)
        model = models.unet(out_channels=len(wanted), widths=(16, 32, 64))
        known = white.nonzero().flatten()

        def loss(model: nn.Module = model, x: Tensor = x, y: Tensor = y, known: Tensor = known) -> Tensor:
            rows = known[lc.randint(0, len(known), (8,))]
            i, j = (8 * lc.randint(0, 3, (2,))).tolist()
            given, wanted = (z[rows, :, i : i + 48, j : j + 48] for z in (x, y))
            return F.mse_loss(given + model(given), wanted)

        fit(demo, model, loss, steps, 2e-3, f"repairs, {name}")
        with lc.no_grad():
            repaired = x + model(x)
        gain = psnr(repaired[~white], y[~white]) - psnr(x.expand(y.shape)[~white], y[~white])
        demo.metric(f"portrait, {name}: gain by repair, dB", gain, at_least=0.5)
        for axes, image in zip(panels, (given, put_together(repaired), wanted), strict=True):
            axes.imshow(image.expand((3, -1, -1)).permute(1, 2, 0).clamp(0, 1).numpy())
            axes.axis("off")


# ---- digits ----------------------------------------------------------------------------------------------------------


def denoiser(demo: Demo, images: Tensor, name: str) -> nn.Module:
    """A U-Net that has seen noise of every strength up to MOST, drawn anew for each image."""
    model = models.unet(widths=(16, 32, 64), skips=name == "with skips")

    def loss() -> Tensor:
        x = images[lc.randint(0, len(images), (32,))]
        strength = MOST * lc.rand(32, 1, 1, 1)
        return F.mse_loss(model(x + strength * lc.randn(*x.shape)), x)

    fit(demo, model, loss, demo.pick(600, 8000), 2e-3, name)
    return model


def compare(demo: Demo, clean: Tensor, networks: dict[str, nn.Module]) -> None:
    curves: dict[str, list[float]] = {name: [] for name in ("noisy", "best blur", *networks)}
    for strength in LEVELS:
        noisy = clean + strength * lc.randn(*clean.shape)
        curves["noisy"].append(psnr(noisy, clean))
        curves["best blur"].append(best_blur(noisy, clean))
        with lc.no_grad():
            for name, model in networks.items():
                curves[name].append(psnr(model(noisy), clean))
    for strength, before, blur, after, without in zip(LEVELS, *curves.values(), strict=True):
        least = 5 if strength >= 0.2 else 4
        demo.metric(f"digits, noise {strength}, gain over the noisy image, dB", after - before, at_least=least)
        demo.metric(f"digits, noise {strength}, gain over the best blur, dB", after - blur, at_least=1)
        if strength == LEVELS[0]:
            demo.metric(f"digits, noise {strength}, lost without skip connections, dB", after - without, at_least=0.5)

    figure = demo.figure("levels", "Quality of test digits against the noise: what comes in, and what comes out.")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), (GREY, ORANGE, BLUE, RED), strict=True):
        axes.plot(LEVELS, curve, "o-", color=colour, label=name)
    axes.set(xlabel="standard deviation of the noise", ylabel="peak signal-to-noise ratio (dB)")
    axes.legend()


def expectation(demo: Demo, clean: Tensor, model: nn.Module) -> None:
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
