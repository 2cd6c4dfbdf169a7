"""Linear layers: fully connected, convolution, transposed convolution (section 4.2, figures 4.1 to 4.4).

A convolution applies one small affine map at every position, so it moves with its input, and its output depends on a
window only: the receptive field. Transposed convolution is its adjoint: the same weights run from output to input.
Random weights of variance 1 / inputs keep the variance of activations through any number of layers (Glorot and Bengio,
AISTATS 2010).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn
from littlecore.nn import functional as F

from .demo import BLACK, BLUE, GREEN, GREY, RED, Demo

WHOLE = 5  # weights and signals are whole numbers up to this where sums shall be exact


def run(demo: Demo) -> None:
    sizes_and_adjoints(demo)
    matrices(demo)
    translation(demo)
    edges(demo)
    receptive_fields(demo)
    variance(demo)


def whole(*shape: int) -> Tensor:
    return lc.randint(-WHOLE, WHOLE + 1, shape).float()


# ---- sizes, and the transposed convolution ---------------------------------------------------------------------------


def length_after(length: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """(T - K) / S + 1, with padding at both ends and gaps in the kernel."""
    return (length + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def sizes_and_adjoints(demo: Demo) -> None:
    """<conv(x), y> = <x, transposed(y)> for every kernel, stride, padding and dilation."""
    right_sizes = exact = exact_in_space = total = 0
    for kernel, stride, padding, dilation in product(range(1, 8), range(1, 5), range(4), range(1, 4)):
        total += 1
        x, weight = whole(2, 3, 40), whole(4, 3, kernel)
        y = F.conv1d(x, weight, None, stride, padding, dilation)
        right_sizes += y.shape[2] == length_after(40, kernel, stride, padding, dilation)
        z = whole(*y.shape)
        rest = (40 + 2 * padding - dilation * (kernel - 1) - 1) % stride  # what the stride left over at the end
        back = F.conv_transpose1d(z, weight, None, stride, padding, rest, dilation=dilation)
        exact += (y * z).sum().item() == (x * back).sum().item()

        image, filters = whole(1, 2, 24, 24), whole(3, 2, kernel, kernel)
        y = F.conv2d(image, filters, None, stride, padding, dilation)
        z = whole(*y.shape)
        rest = (24 + 2 * padding - dilation * (kernel - 1) - 1) % stride
        back = F.conv_transpose2d(z, filters, None, stride, padding, rest, dilation=dilation)
        exact_in_space += (y * z).sum().item() == (image * back).sum().item()
    demo.metric(f"output lengths as the formula, of {total}", right_sizes, at_least=total)
    demo.metric(f"adjoint exactly, convolution of signals, of {total}", exact, at_least=total)
    demo.metric(f"adjoint exactly, convolution of images, of {total}", exact_in_space, at_least=total)


# ---- as matrices -----------------------------------------------------------------------------------------------------


def matrices(demo: Demo) -> None:
    """A convolution is a fully connected layer with most weights 0 and the others shared."""
    length, weight = 12, lc.tensor([[[1.0, 2.0, 3.0]]])
    kinds: dict[str, Callable[[Tensor], Tensor]] = {
        "kernel 3": lambda x: F.conv1d(x, weight),
        "stride 2": lambda x: F.conv1d(x, weight, stride=2),
        "padding 1": lambda x: F.conv1d(x, weight, padding=1),
        "dilation 2": lambda x: F.conv1d(x, weight, dilation=2),
        "transposed": lambda x: F.conv_transpose1d(x, weight),
        "transposed, stride 2": lambda x: F.conv_transpose1d(x, weight, stride=2),
    }
    x = whole(1, 1, length)
    found = {name: kind(lc.eye(length).unsqueeze(1)).squeeze(1).mT for name, kind in kinds.items()}  # [T', T]
    distances = [(kind(x).flatten() - found[name] @ x.flatten()).abs().max().item() for name, kind in kinds.items()]
    demo.metric("convolutions, distance to products with their matrices", max(distances), at_most=0)
    backward = F.conv_transpose1d(lc.eye(10).unsqueeze(1), weight).squeeze(1)  # [T', T]
    same = lc.equal(backward, found["kernel 3"])
    demo.metric("transposed convolution has the transposed matrix", same, within=(1, 1))

    figure = demo.figure(
        "matrices",
        f"Convolutions of a signal of {length} numbers as matrices: a row for each number that comes out, a column for "
        "each that goes in, one colour for each of the three weights, white where there is none.",
        (9.6, 3.4),
    )
    for axes, (name, matrix) in zip(figure.subplots(1, len(found)), found.items(), strict=True):
        axes.imshow(lc.where(matrix == 0, math.nan, matrix).numpy(), cmap="cividis", vmin=0.5, vmax=3.5)
        rows, columns = matrix.shape
        axes.set(xticks=[], yticks=[], xlabel=f"{columns} in", ylabel=f"{rows} out")
        axes.set_title(name, fontsize=9)
        axes.set_anchor("N")
        axes.spines[:].set_visible(True)
        axes.grid(False)


# ---- what it sees ----------------------------------------------------------------------------------------------------


def translation(demo: Demo) -> None:
    x, weight = lc.randn(1, 3, 64, 64), lc.randn(8, 3, 5, 5)
    y = F.conv2d(x, weight)
    worst = 0.0
    for down, right in ((1, 0), (0, 3), (7, 5), (16, 30)):
        moved = F.conv2d(x.roll((down, right), (2, 3)), weight)
        worst = max(worst, (moved[:, :, down:, right:] - y[:, :, : 60 - down, : 60 - right]).abs().max().item())
    demo.metric("input moved, distance to the output moved", worst, at_most=0)


def edges(demo: Demo) -> None:
    """Two kernels that answer where brightness changes to the side, or downwards, and nowhere else (Sobel, 1968)."""
    to_the_side = lc.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    kernels = lc.stack([to_the_side, to_the_side.mT]).unsqueeze(1)  # [2, 1, 3, 3]
    square = lc.zeros(1, 1, 32, 32)
    square[:, :, 8:24, 8:24] = 1
    answers = F.conv2d(square, kernels, padding=1)[0]
    # Two columns at each side, as long as the square and one pixel more at both ends.
    places = [(answer != 0).sum().item() for answer in answers]
    demo.metric("edges of a square of 16 x 16, places that answer, to the side", places[0], within=(72, 72))
    demo.metric("edges of a square of 16 x 16, places that answer, downwards", places[1], within=(72, 72))
    demo.metric("inside the square, largest answer", answers[:, 9:23, 9:23].abs().max().item(), at_most=0)

    image = lc.from_numpy(data.scenes(1, 96, objects=(3, 3), grain=0.02, seed=5).images).mean(1, keepdim=True)
    side, down = F.conv2d(image, kernels)[0]
    figure = demo.figure(
        "edges",
        "A scene, and what two kernels of 3 x 3 make of it: brighter to the right (orange) or to the left (violet), "
        "brighter below or above, and the length of both.",
        (9.6, 2.7),
    )
    panels = {"image": image[0, 0], "to the side": side, "downwards": down, "both": (side**2 + down**2).sqrt()}
    for axes, (name, values) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        signed = name in ("to the side", "downwards")
        axes.imshow(values.numpy(), **({"cmap": "PuOr_r", "vmin": -2, "vmax": 2} if signed else {"cmap": "gray"}))
        axes.set_title(name)
        axes.axis("off")


Layer = tuple[int, int, int]  # kernel, stride, dilation


def receptive_field(layers: Sequence[Layer]) -> int:
    """Inputs that one output depends on: every layer adds its kernel's reach, in steps of the strides before it."""
    size, step = 1, 1
    for kernel, stride, dilation in layers:
        size += (kernel - 1) * dilation * step
        step *= stride
    return size


def reach(layers: Sequence[Layer], length: int = 256) -> np.ndarray:
    """The gradient of one output, in the middle, by every input, for kernels of ones."""
    x = lc.zeros(1, 1, length).requires_grad_()
    y = x
    for kernel, stride, dilation in layers:
        y = F.conv1d(y, lc.ones(1, 1, kernel) / kernel, None, stride, 0, dilation)
    (gradient,) = lc.autograd.grad((y[0, 0, y.shape[2] // 2],), (x,))
    return gradient.flatten().numpy()


def receptive_fields(demo: Demo) -> None:
    stacks: dict[str, list[Layer]] = {
        "kernel 3": [(3, 1, 1)] * 5,
        "kernel 7": [(7, 1, 1)] * 5,
        "kernel 4, stride 2": [(4, 2, 1)] * 5,
        "kernel 3, dilation 1, 2, 4, ...": [(3, 1, 2**i) for i in range(5)],
    }
    right = total = 0
    measured: dict[str, list[int]] = {}
    for name, layers in stacks.items():
        measured[name] = [int((reach(layers[:d]) > 0).sum()) for d in range(1, 6)]
        right += sum(m == receptive_field(layers[:d]) for d, m in enumerate(measured[name], 1))
        total += 5
    demo.metric(f"receptive fields as the formula, of {total}", right, at_least=total)

    figure = demo.figure(
        "receptive_field",
        "Left: inputs that an output depends on, measured (dots) and by the formula (lines). Right: how much it "
        "depends on each, after five layers that average.",
        (9.6, 3.6),
    )
    left, right_axes = figure.subplots(1, 2)
    for (name, layers), colour in zip(stacks.items(), (BLUE, RED, GREEN, BLACK), strict=True):
        depths = range(1, 6)
        left.plot(depths, [receptive_field(layers[:d]) for d in depths], color=colour, linewidth=1)
        left.plot(depths, measured[name], "o", color=colour, markersize=4)
        gradient = reach(layers)
        seen = np.flatnonzero(gradient)
        offset = np.arange(len(gradient)) - (seen[0] + seen[-1]) / 2
        near = abs(offset) <= 50
        right_axes.step(offset[near], gradient[near], where="mid", color=colour, linewidth=1.4, label=name)
    left.set(xlabel="layers", ylabel="receptive field", xticks=range(1, 6))
    right_axes.set(xlabel="input, from the middle", ylabel="gradient")
    figure.legend(*right_axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)


# ---- the variance of the initial weights -----------------------------------------------------------------------------


def variance(demo: Demo) -> None:
    """50 layers of 1024 units, with weights of three variances."""
    depth, width = 50, 1024
    kept: dict[str, list[float]] = {}
    with lc.no_grad():
        for factor in (0.5, 1.0, 2.0):
            name = {0.5: "half of it", 1.0: "variance 1 / inputs", 2.0: "twice"}[factor]
            x = lc.randn(256, width)
            start = x.square().mean().item()
            kept[name] = [1.0]
            for _ in demo.progress(range(depth), name):
                layer = nn.Linear(width, width, bias=False)
                nn.init.normal_(layer.weight, 0.0, (factor / width) ** 0.5)
                x = layer(x)
                kept[name].append(x.square().mean().item() / start)
    right = kept["variance 1 / inputs"]
    demo.metric("variance 1 / inputs, least variance in 50 layers / first", min(right), at_least=0.8)
    demo.metric("variance 1 / inputs, largest variance in 50 layers / first", max(right), at_most=1.2)
    demo.metric("half of it, after 50 layers", kept["half of it"][-1], at_most=1e-13)
    demo.metric("twice, after 50 layers", kept["twice"][-1], at_least=1e13)

    figure = demo.figure("variance", "Variance of activations through 50 fully connected layers of random weights.")
    axes = figure.subplots()
    for (name, values), colour in zip(kept.items(), (RED, BLUE, GREEN), strict=True):
        axes.semilogy(values, color=colour, label=name)
    axes.axhline(1, color=GREY, linestyle=":", linewidth=1)
    axes.set(xlabel="layer", ylabel="variance / that of the input")
    axes.legend()
