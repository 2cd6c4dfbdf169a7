"""Generative adversarial networks: a forger and a judge (missing bits, bits.3).

A generator maps noise to samples, a discriminator tells them from real ones, and each learns from the other (Goodfellow
et al., Generative Adversarial Nets, NeurIPS 2014). Eight Gaussians on a ring are the classical test: a generator that
has found one place where the judge is fooled tends to crowd there. Noise on what the judge sees, real and forged alike
and less and less of it, makes the modes overlap at first and keeps the game from being won at once (Sønderby et al.,
Amortised MAP Inference for Image Super-resolution, ICLR 2017).
"""

from __future__ import annotations

import math

import numpy as np

import littlecore as lc
from littlecore import Tensor, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo

MODES, DEVIATION, LATENT, BATCH = 8, 0.1, 8, 256


def run(demo: Demo) -> None:
    generator, discriminator = perceptron(LATENT, 2), perceptron(2, 1)
    samples, scores = play(demo, generator, discriminator)
    covered, near, evenness = judged(list(samples.values())[-1])
    demo.metric("modes covered of 8", covered, at_least=7)
    demo.metric("samples within 4 deviations of a mode", near, at_least=0.8)
    demo.metric("entropy of the modes hit / that of an even choice", evenness, at_least=0.9)
    demo.metric("the judge's accuracy in the last tenth", float(np.mean(scores[-len(scores) // 10 :])), at_most=0.75)
    draw(demo, samples, scores)


def ring(count: int) -> Tensor:
    """Samples of eight Gaussians around the unit circle, scaled by 2.    [count, 2]"""
    angle = 2 * math.pi / MODES * lc.randint(0, MODES, (count,)).float()
    return 2 * lc.stack([angle.cos(), angle.sin()], 1) + DEVIATION * lc.randn(count, 2)


def perceptron(inputs: int, outputs: int, width: int = 96) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )  # fmt: skip


def play(demo: Demo, generator: nn.Module, discriminator: nn.Module) -> tuple[dict[int, Tensor], list[float]]:
    """Samples at six steps, and the share of its inputs that the judge gets right, at every step."""
    steps = demo.pick(4000, 20000)
    rate = 1e-3
    forger = optim.Adam(generator.parameters(), lr=rate, betas=(0.5, 0.99))
    judge = optim.Adam(discriminator.parameters(), lr=rate, betas=(0.5, 0.99))
    moments = [steps * k // 25 for k in (0, 1, 3, 6, 12)]
    fixed = lc.randn(2000, LATENT)
    samples, scores = dict[int, Tensor](), list[float]()
    real, forged = lc.ones(BATCH, 1), lc.zeros(BATCH, 1)
    for step in demo.progress(range(steps), "a game"):
        if step in moments:
            samples[step] = sampled(generator, fixed)
        left = 1 - step / steps
        blur = 0.5 * max(0.0, 2 * left - 1)  # gone at half time
        for player in (forger, judge):
            player.param_groups[0]["lr"] = rate * min(1.0, 2 * left)

        fake = generator(lc.randn(BATCH, LATENT))
        seen = lc.cat([ring(BATCH), fake.detach()])
        answers = discriminator(seen + blur * lc.randn(*seen.shape))
        loss = F.binary_cross_entropy_with_logits(answers, lc.cat([real, forged]))
        judge.zero_grad()
        loss.backward()
        judge.step()
        scores.append(((answers[:BATCH] > 0).float().mean().item() + (answers[BATCH:] < 0).float().mean().item()) / 2)

        answers = discriminator(fake + blur * lc.randn(*fake.shape))
        loss = F.binary_cross_entropy_with_logits(answers, real)  # "call mine real"
        forger.zero_grad()
        loss.backward()
        forger.step()
    samples[steps] = sampled(generator, fixed)
    return samples, scores


def sampled(generator: nn.Module, noise: Tensor) -> Tensor:
    with lc.no_grad():
        return generator(noise)


def judged(samples: Tensor) -> tuple[int, float, float]:
    """How many modes have a fair part of the samples, what share lies near one, how even the modes are hit (0 to 1)."""
    angle = 2 * math.pi / MODES * lc.arange(MODES).float()
    modes = 2 * lc.stack([angle.cos(), angle.sin()], 1)
    distance, which = (samples.unsqueeze(1) - modes).square().sum(-1).sqrt().min(1)
    near = distance < 4 * DEVIATION
    hits = lc.bincount(which[near], minlength=MODES).float() / max(1, int(near.sum().item()))
    entropy = -(hits * (hits + 1e-12).log()).sum().item() / math.log(MODES)
    return int((hits > 0.25 / MODES).sum().item()), near.float().mean().item(), entropy


def draw(demo: Demo, samples: dict[int, Tensor], scores: list[float]) -> None:
    figure = demo.figure(
        "ring", "Real samples (grey), and what the generator makes of the same noise as the game goes on.", (9.6, 2.1)
    )
    real = ring(1000).numpy()
    for axes, (step, points) in zip(figure.subplots(1, len(samples)), samples.items(), strict=True):
        axes.plot(*real.T, ".", color=GREY, markersize=1.5, alpha=0.4)
        axes.plot(*points[:600].numpy().T, ".", color=RED, markersize=1.5, alpha=0.6)
        axes.set(xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[], aspect="equal", title=f"step {step:,}")
    figure = demo.figure(
        "judge", "What the judge gets right, mean of 50 steps: half of it, and it can only guess.", (6.4, 3)
    )
    axes = figure.subplots()
    axes.plot(100 * np.convolve(scores, np.ones(50) / 50, "valid"), color=BLUE)
    axes.axhline(50, color=GREY, linestyle="--", linewidth=1.2)
    axes.set(xlabel="step", ylabel="right answers (%)", ylim=(40, 100))
