"""Pooling: the maximum or the mean of small windows (section 4.4, figure 4.6).

Max pooling keeps the strongest response and forgets exactly where it was, so that small shifts of the input change
little; its gradient goes to the winner alone. Average pooling is linear, max pooling is not.
"""

from __future__ import annotations

from itertools import product

import numpy as np

import littlecore as lc
from littlecore import Tensor
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo


def pooled(x: np.ndarray, kernel: int, stride: int, padding: int, kind: str, dilation: int = 1) -> np.ndarray:
    """The definition, window by window, of which every `dilation`-th element counts.    [C, T] -> [C, T']"""
    filler, reach = -np.inf if kind == "max" else 0.0, dilation * (kernel - 1) + 1
    x = np.pad(x, ((0, 0), (padding, padding)), constant_values=filler)
    windows = [x[:, i : i + reach : dilation] for i in range(0, x.shape[1] - reach + 1, stride)]
    return np.stack([w.max(1) if kind == "max" else w.sum(1) / kernel for w in windows], 1)


def run(demo: Demo) -> None:
    definition(demo)
    gradient_goes_to_the_winner(demo)
    linearity(demo)
    invariance(demo)


def definition(demo: Demo) -> None:
    x = lc.randint(-9, 10, (4, 37)).float()  # whole numbers with many ties: sums are exact
    wrong = cases = 0
    for kernel, stride, padding in product((1, 2, 3, 4, 8), (1, 2, 3), (0, 1, 2)):
        if padding > kernel // 2:
            continue
        for dilation in (1, 2, 3):
            ours = F.max_pool1d(x.unsqueeze(0), kernel, stride, padding, dilation)[0].numpy()
            wrong += not np.array_equal(ours, pooled(x.numpy(), kernel, stride, padding, "max", dilation))
        ours = F.avg_pool1d(x.unsqueeze(0), kernel, stride, padding)[0].numpy()
        wrong += not np.allclose(ours, pooled(x.numpy(), kernel, stride, padding, "avg"), rtol=1e-6)
        cases += 4
    demo.metric(f"layers unlike the definition, of {cases}", wrong, at_most=0)

    t = np.arange(40)
    x = (lc.from_numpy(t.astype(np.float32)) * 0.35).sin() + 0.4 * lc.randn(40)
    kernel = 4
    highest = F.max_pool1d(x.reshape(1, 1, -1), kernel).flatten().numpy()
    mean = F.avg_pool1d(x.reshape(1, 1, -1), kernel).flatten().numpy()
    figure = demo.figure("pooling", "A signal and its pooling over windows of four: the maximum and the mean.", (8, 3))
    axes = figure.subplots()
    axes.plot(t, x.numpy(), "o-", color=GREY, markersize=4, linewidth=1, label="input")
    axes.hlines(highest, t[::kernel] - 0.4, t[::kernel] + 3.4, color=RED, linewidth=2.5, label="max pooling")
    axes.hlines(mean, t[::kernel] - 0.4, t[::kernel] + 3.4, color=BLUE, linewidth=2.5, label="average pooling")
    axes.set(xlabel="position", ylabel="value", ylim=(None, 2.6))
    axes.legend(loc="upper center", ncols=3)


def gradient_goes_to_the_winner(demo: Demo) -> None:
    x = lc.randn(8, 3, 12, 12).requires_grad_()
    F.max_pool2d(x, 3).sum().backward()
    assert x.grad is not None
    windows = x.grad.reshape(8, 3, 4, 3, 4, 3).permute(0, 1, 2, 4, 3, 5).reshape(-1, 9)
    inputs = x.detach().reshape(8, 3, 4, 3, 4, 3).permute(0, 1, 2, 4, 3, 5).reshape(-1, 9)
    demo.metric(
        "windows whose gradient is not 1 at one place", (windows.square().sum(1) != 1).float().sum().item(), at_most=0
    )
    misses = (windows.argmax(1) != inputs.argmax(1)).float().sum().item()
    demo.metric("windows whose gradient is not at the maximum", misses, at_most=0)


def linearity(demo: Demo) -> None:
    a, b = lc.randn(1, 4, 64), lc.randn(1, 4, 64)

    def defect(kind: str) -> float:
        pool = F.max_pool1d if kind == "max" else F.avg_pool1d
        return (pool(a + b, 4) - pool(a, 4) - pool(b, 4)).abs().max().item()

    demo.metric("average pooling, |f(a + b) - f(a) - f(b)|", defect("avg"), at_most=1e-6)
    demo.metric("max pooling, |f(a + b) - f(a) - f(b)|", defect("max"), at_least=0.1)


def invariance(demo: Demo) -> None:
    """How much of a picture of blobs changes with a shift, before and after max pooling over growing windows."""
    impulses = (lc.rand(64, 1, 64, 64) < 0.003).float()
    weight = lc.from_numpy(np.hanning(9)[1:-1].astype(np.float32))
    images = F.conv2d(impulses, (weight.unsqueeze(0) * weight.unsqueeze(1)).reshape(1, 1, 7, 7), padding=3)

    def change(x: Tensor, shift: int, kernel: int) -> float:
        before, after = (F.max_pool2d(image, kernel, stride=1) for image in (x, lc.roll(x, shift, 3)))
        return ((before - after).square().sum() / before.square().sum()).sqrt().item()

    shifts, kernels = (1, 2, 3, 4), (1, 3, 5, 9)
    table = {kernel: [change(images, shift, kernel) for shift in shifts] for kernel in kernels}
    demo.metric("change with a shift of 1, pooled over 9 x 9 / not pooled", table[9][0] / table[1][0], at_most=0.75)
    figure = demo.figure("invariance", "How much an image of blobs changes when it is shifted, by size of the pooling.")
    axes = figure.subplots()
    for kernel, curve in table.items():
        axes.plot(shifts, curve, "o-", label="not pooled" if kernel == 1 else f"max over {kernel} x {kernel}")
    axes.set(xlabel="shift (pixels)", ylabel="relative change", xticks=shifts, ylim=(0, None))
    axes.legend()
