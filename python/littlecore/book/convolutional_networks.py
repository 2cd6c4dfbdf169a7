"""Convolutional networks: LeNet and the residual networks (section 5.2, figures 5.2 to 5.5).

A convolution looks at every place with the same small kernel, pooling forgets where exactly something was (LeCun et
al., Gradient-Based Learning Applied to Document Recognition, 1998), and blocks that add to their input can be stacked
as deep as one wants (He et al., Deep Residual Learning, CVPR 2016). What this is worth shows on digits that are moved:
a perceptron must have seen them there.

With `--data FOLDER`, LeNet learns MNIST from its files, or a residual network of 20 layers CIFAR-10, in place of these.
The long form's ten epochs of MNIST leave LeNet wrong about 0.5 % of the test images.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.nn import functional as F
from littlecore.nn.draw import by_shape

from .demo import BLUE, GREEN, GREY, RED, Demo, plain_numbers
from .diagrams import STEP, Column, Part, Repeated, draw_column, finish, height, parameters
from .fit import fit
from .training_protocols import flat

TAKES = "MNIST's IDX files for LeNet, or CIFAR-10's binary files for the residual network of 20 layers"
VARIED = data.RandomAffine(degrees=8, translate=1 / 28, scale=(0.9, 1.1), shear=6)
STAGES = ("input", "conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "fc")


def run(demo: Demo) -> None:
    if demo.data is not None:
        benchmark(demo, demo.data)
        return
    resnet50(demo)
    digits(demo)
    caption = "LeNet: layers with parameters are filled; at the right, the shape behind each."
    demo.drawing("lenet", caption, models.lenet(), (1, 1, 28, 28))


# ---- a large one, on paper -------------------------------------------------------------------------------------------


def resnet50(demo: Demo) -> None:
    """What flows through it: maps get smaller and more, and most parameters lie where they are smallest."""
    table = nn.summary(models.resnet50(), (1, 3, 224, 224), verbose=False)
    demo.metric("parameters of ResNet-50", table.parameters, within=(25_557_032, 25_557_032))
    demo.metric("ResNet-50 forward, GFLOP an image", table.flops / 1e9, within=(8, 8.5))
    rows = {row.path: row for row in table.rows if row.path in STAGES}
    shapes = {"input": (3, 224, 224), **{name: tuple(row.shape)[1:] for name, row in rows.items()}}
    for name, shape in (("layer1", (256, 56, 56)), ("layer4", (2048, 7, 7))):
        demo.metric(f"shape of {name} as in figure 5.5", float(shapes[name] == shape), within=(1, 1))

    figure = demo.figure(
        "resnet50", "ResNet-50 on one image: the numbers between its stages, each stage's FLOPs and parameters.", (9, 4)
    )
    sizes, flops, counts = figure.subplots(1, 3, sharey=True, width_ratios=(1.5, 1, 1))
    names = [name for name in STAGES if name in shapes]
    places = np.arange(len(names))
    values = [float(np.prod(shapes[name])) for name in names]
    sizes.barh(places, [value / 1e3 for value in values], color=BLUE)
    for place, name, value in zip(places, names, values, strict=True):
        sizes.text(value / 1e3 + 10, place, " x ".join(str(n) for n in shapes[name]), va="center", fontsize=9)
    sizes.set(xlabel="numbers behind it (thousands)", xlim=(0, 1350), ylim=(len(names) - 0.4, -0.6))
    sizes.set_yticks(places, names)
    flops.barh(places, [rows[name].flops / 1e9 if name in rows else 0 for name in names], color=GREEN)
    flops.set(xlabel="GFLOP")
    counts.barh(places, [rows[name].parameters / 1e6 if name in rows else 0 for name in names], color=RED)
    counts.set(xlabel="parameters (millions)")
    blocks(demo, {row.path: row for row in table.rows})


def blocks(demo: Demo, rows: dict[str, Any]) -> None:
    """The parts of ResNet-50, from what a forward pass went through."""

    def box(name: str, path: str) -> Part:
        return Part(name, by_shape(*rows[path].shape[1:]), rows[path].parameters)

    def block(path: str, stride: int) -> list[Part]:
        parts = []
        for k, (size, step) in enumerate(((1, 1), (3, stride), (1, 1)), 1):
            parts.append(box(f"Conv {size} x {size}{f', stride {step}' if step > 1 else ''}", f"{path}.conv{k}"))
            parts.append(box("BatchNorm", f"{path}.bn{k}"))
            parts.append(Part("ReLU", parts[-1].shape))
        skip = f"{path}.downsample"
        beside = (
            []
            if skip not in rows
            else [box(f"Conv 1 x 1, stride {stride}", f"{skip}.0"), box("BatchNorm", f"{skip}.1")]
        )
        return [*parts[:-1], Part("+", parts[-1].shape, 0, 8, tuple(beside)), parts[-1]]

    whole = [
        box("Conv 7 x 7, stride 2", "conv1"),
        box("BatchNorm", "bn1"),
        box("ReLU", "relu"),
        box("MaxPool", "maxpool"),
    ]
    column: list[Part | Repeated] = list(whole)
    for stage, count in enumerate((3, 4, 6, 3), 1):
        column.append(box("Downscaling block" if stage > 1 else "Widening block", f"layer{stage}.0"))
        column.append(Repeated((box("Residual block", f"layer{stage}.1"),), count - 1))
    column += [box("AvgPool", "avgpool"), box("Linear", "fc")]
    demo.metric("parameters of ResNet-50's boxes", parameters(column), within=(25_557_032, 25_557_032))

    figure = demo.figure(
        "blocks",
        "A residual block, one that halves the maps and doubles their number, and ResNet-50, which is made of them. "
        "Layers with parameters are filled; beside the arrows, the shape of what flows.",
        (10.4, STEP * (height(column) + 2)),
    )
    panels: tuple[tuple[str, str, Column, float], ...] = (
        ("residual block", by_shape(*rows["layer2.0"].shape[1:]), block("layer2.1", 1), -2),
        ("downscaling block", by_shape(*rows["layer1.2"].shape[1:]), block("layer2.0", 2), -3.5),
        ("ResNet-50", "3 x 224 x 224", column, -2),
    )
    widths = [2.2 - left for *_, left in panels]
    for axes, (name, start, parts, left) in zip(figure.subplots(1, 3, width_ratios=widths), panels, strict=True):
        draw_column(axes, start, parts)
        finish(axes, name, left, 2.2, height(column))


# ---- small ones, on digits -------------------------------------------------------------------------------------------


def moved(x: Tensor, right: int) -> Tensor:
    """Images shifted to the right, or for negative numbers to the left; what comes in is empty.    [N, 1, H, W]"""
    return F.pad(x, (right, -right, 0, 0))


def trained(
    demo: Demo, model: nn.Module, x: Tensor, y: Tensor, epochs: int, rate: float, text: str,
    varied: Callable[[Any, data.SampleRandom], Any] = VARIED, examine: Callable[[], None] = lambda: None,
) -> nn.Module:  # fmt: skip
    """Adam on batches of 48, each image `varied`: a little turned, sheared, scaled and up to a pixel away.

    examine() is called before each epoch.
    """
    for_each = len(y) // 48
    batches: list[Tensor] = []
    pixels, calls = x.numpy(), 0

    def loss() -> Tensor:
        nonlocal calls
        if not batches:
            examine()
            batches.extend(lc.randperm(len(y))[: for_each * 48].split(48))
        rows = batches.pop()
        calls += 1
        images = varied(pixels[rows.numpy()], data.SampleRandom(demo.seed, calls, rows.numpy()))
        return F.cross_entropy(model(lc.from_numpy(np.ascontiguousarray(images))), y[rows])

    fit(demo, model, loss, epochs * for_each, rate, text)
    return model.eval()


def digits(demo: Demo) -> None:
    (x, y), (test_x, test_y) = (flat(part) for part in data.digits(28))
    epochs = demo.pick(25, 60)
    makers: dict[str, tuple[Callable[[], nn.Module], int, float]] = {
        "perceptron": (lambda: models.mlp((784, 128, 10)), epochs, 1e-3),
        "LeNet": (lambda: models.lenet(), epochs, 2e-3),
        "residual network": (lambda: models.SmallResNet(1, in_channels=1), demo.pick(7, 30), 3e-3),
    }
    shifts = range(-7, 8)
    curves, counts = {}, {}
    for name, (make, passes, rate) in makers.items():
        model = make()
        counts[name] = sum(p.numel() for p in model.parameters())
        trained(demo, model, x, y, passes, rate, name)
        with lc.no_grad():
            curves[name] = [(model(moved(test_x, s)).argmax(-1) == test_y).float().mean().item() for s in shifts]
        if name == "LeNet":
            feature_maps(demo, model, test_x[:1])
        demo.metric(f"{name}, parameters", counts[name])
    middle = len(shifts) // 2
    for name, low in (("perceptron", 0.93), ("LeNet", 0.98), ("residual network", 0.97)):
        demo.metric(f"{name}, test accuracy", curves[name][middle], at_least=low)
    for name, gain in (("LeNet", 0.05), ("residual network", 0.1)):
        both = [curves[key][middle - 4] + curves[key][middle + 4] for key in (name, "perceptron")]
        demo.metric(f"4 pixels aside, accuracy gained by {name}", (both[0] - both[1]) / 2, at_least=gain)
    demo.metric("parameters of LeNet", counts["LeNet"], within=(105_506, 105_506))

    figure = demo.figure("moved", "Test digits moved to the side; in training they were moved by a pixel at most.")
    axes = figure.subplots()
    for (name, curve), colour in zip(curves.items(), (GREY, BLUE, RED), strict=True):
        axes.plot(list(shifts), [100 * value for value in curve], "o-", color=colour, label=name)
    axes.set(xlabel="pixels to the right", ylabel="test accuracy (%)", ylim=(0, 102))
    axes.legend()


# ---- larger ones, on data of the user's ------------------------------------------------------------------------------


def crop_and_mirror(images: Any, random: data.SampleRandom) -> Any:
    """Up to 4 pixels aside, and every other one mirrored, as He et al. train on CIFAR."""
    return data.RandomHorizontalFlip()(data.RandomCrop(4)(images, random), random)


def benchmark(demo: Demo, folder: Path) -> None:
    """The test error after each epoch."""
    cifar = (folder / "test_batch.bin").is_file()
    (x, y), (test_x, test_y) = (flat(part) for part in (data.cifar if cifar else data.mnist)(folder))
    name, model = ("ResNet-20", models.resnet20()) if cifar else ("LeNet", models.lenet())
    epochs = demo.pick(1, 30 if cifar else 10)
    errors: list[float] = []

    def examine() -> None:
        model.eval()
        with lc.no_grad():
            answers = lc.cat([model(part).argmax(-1) for part in test_x.split(500)])
        errors.append(100 * (answers != test_y).float().mean().item())
        model.train()

    trained(demo, model, x, y, epochs, 2e-3, name, crop_and_mirror if cifar else VARIED, examine)
    examine()
    demo.metric("images to learn from", len(y))
    demo.metric(f"{name}, test error before training, %", errors[0])
    most = 0.8 if demo.full and not cifar else None
    demo.metric(f"{name}, test error after {epochs} epochs, %", errors[-1], at_most=most)
    figure = demo.figure("benchmark", f"{name}: wrong answers on the test images after each epoch.")
    axes = figure.subplots()
    axes.semilogy(errors, "o-", color=BLUE)
    axes.set(xlabel="epochs", ylabel="test error (%)")
    plain_numbers(axes.yaxis)


def feature_maps(demo: Demo, model: nn.Module, x: Tensor) -> None:
    """What LeNet's layers make of one image."""
    maps = [x]
    with lc.no_grad():
        for layer, size in ((model.conv1, 3), (model.conv2, 2)):
            maps.append(F.relu(F.max_pool2d(layer(maps[-1]), size)))
    demo.metric(
        "shapes of figure 5.2", float([m.shape[1:] for m in maps[1:]] == [(32, 8, 8), (64, 2, 2)]), within=(1, 1)
    )

    figure = demo.figure(
        "feature_maps",
        "A digit in LeNet: the image, the 32 maps behind convolution, pooling and ReLU, and the 64 behind the second.",
        (9.6, 2.9),
    )
    for axes, images, columns in zip(figure.subplots(1, 3, width_ratios=(1, 2, 1)), maps, (1, 8, 8), strict=True):
        values = images[0].numpy() / images.max().item()
        side = values.shape[-1]
        framed = np.pad(values, ((0, 0), (0, 1), (0, 1)), constant_values=np.nan)  # a line between neighbours
        rows = framed.reshape(-1, columns, side + 1, side + 1).transpose(0, 2, 1, 3)
        axes.imshow(rows.reshape(-1, columns * (side + 1))[:-1, :-1])
        axes.set_title(" x ".join(str(n) for n in images.shape[1:]))
        axes.axis("off")
