"""Semantic segmentation: the class of every pixel (section 6.4, figure 6.3).

To know what a pixel belongs to, a network has to see far; to draw its outline, it has to see sharply. A U-Net
(Ronneberger et al., 2015) does the first on coarse maps, goes up again by transposed convolutions, and has fine maps
handed over by skip connections; without those, outlines blur. Pyramid pooling (Zhao et al., Pyramid Scene Parsing
Network, CVPR 2017) shows every place the whole image.

Outlines are judged by boundary IoU (Cheng et al., CVPR 2021): only pixels near the edge of the prediction or the truth.

With --data the photographs of a folder of PASCAL VOC's format, with SegmentationClass, take the place of the scenes.
"""

from __future__ import annotations

import math

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data.scenes import SHAPES
from littlecore.nn import functional as F

from .demo import BLUE, ORANGE, RED, Demo
from .fit import fit

TAKES = "photographs as PASCAL VOC has them"
SIZE, PHOTOGRAPH, BATCH = 32, 96, 16
RADIUS = (0.13, 0.28)
PALETTE = ("#E8E8E8", BLUE, ORANGE, "#009E73", RED)


def run(demo: Demo) -> None:
    steps = demo.pick(1000, 6000)
    train, test, classes = load(demo)
    count = len(classes)
    reach(demo, count)
    networks = {"with skips": network(count), "without skips": network(count, skips=False)}
    losses = {name: learn(demo, model, train, steps, name) for name, model in networks.items()}
    compare(demo, test, classes, networks, losses)


def load(demo: Demo) -> tuple[data.Scenes, data.Scenes, tuple[str, ...]]:
    """What to learn from, what to test with, and the classes of its pixels."""
    if demo.data is not None:
        photographs = data.read_photographs(demo.data, masks=True)
        train, test = (part.scenes(PHOTOGRAPH) for part in photographs)
        return train, test, ("ground", *photographs[0].classes)
    train, test = (
        data.scenes(count, SIZE, objects=(1, 3), radius=RADIUS, seed=seed)
        for count, seed in ((demo.pick(2000, 20000), 0), (300, 1))
    )
    return train, test, ("ground", *SHAPES)


def network(classes: int, *, skips: bool = True, pyramid: tuple[int, ...] = (1, 2, 4)) -> models.UNet:
    """[N, 3, H, W] -> scores [N, classes, H, W]"""
    return models.unet(
        in_channels=3, out_channels=classes, widths=(16, 32, 64), skips=skips, pyramid=pyramid, norm=True
    )


def learn(demo: Demo, model: nn.Module, scenes: data.Scenes, steps: int, text: str) -> list[float]:
    images, masks = lc.from_numpy(scenes.images), lc.from_numpy(scenes.masks)

    def loss() -> Tensor:
        rows = lc.randint(0, len(images), (BATCH,))
        return F.cross_entropy(model(images[rows]), masks[rows], ignore_index=data.VOID)

    losses = fit(demo, model, loss, steps, 5e-3, text)
    model.eval()
    return losses


def reach(demo: Demo, classes: int) -> None:
    """How much of the image a pixel in the corner can see: where the gradient of its scores is not zero."""
    for name, pyramid, least in (("without", (), None), ("with", (1, 2, 4), 0.99)):
        x = lc.rand(1, 3, 4 * SIZE, 4 * SIZE).requires_grad_()
        network(classes, pyramid=pyramid).eval()(x)[0, :, 0, 0].sum().backward()
        assert x.grad is not None
        seen = (x.grad.abs().sum(1) > 0).float().mean().item()
        demo.metric(f"share of the image that a corner sees, {name} pyramid pooling", seen, at_least=least)


# ---- how good --------------------------------------------------------------------------------------------------------


def overlaps(predicted: Tensor, true: Tensor) -> list[float]:
    """Intersection over union of all pixels, for each class.    [N, classes, H, W] of 0 and 1, twice"""
    both = (predicted * true).sum((0, 2, 3))
    return (both / (predicted + true - predicted * true).sum((0, 2, 3))).tolist()


def boundary(members: Tensor) -> Tensor:
    """The members beside a pixel that is none; the image's edge is no boundary.    [N, classes, H, W]"""
    return members * F.max_pool2d(1 - members, 3, stride=1, padding=1)


def planes(labels: Tensor, masks: Tensor, classes: int) -> Tensor:
    """Which pixels are of each class, none where the mask says that nobody can tell.    -> [N, classes, H, W]"""
    known = lc.where(masks == data.VOID, classes, labels)
    return F.one_hot(known, classes + 1)[..., :classes].permute(0, 3, 1, 2).float()


def mean(values: list[float]) -> float:
    """Of the numbers; a class that is nowhere has none."""
    numbers = [value for value in values if not math.isnan(value)]
    return sum(numbers) / len(numbers)


def compare(
    demo: Demo, test: data.Scenes, classes: tuple[str, ...], networks: dict[str, models.UNet],
    losses: dict[str, list[float]],
) -> None:  # fmt: skip
    images, masks = lc.from_numpy(test.images), lc.from_numpy(test.masks)
    true = planes(masks, masks, len(classes))
    regions: dict[str, list[float]] = {}
    edges: dict[str, list[float]] = {}
    drawn = {"scene": images, "truth": masks}
    with lc.no_grad():
        for name, model in networks.items():
            drawn[name] = model(images).argmax(1)
            found = planes(drawn[name], masks, len(classes))
            regions[name] = overlaps(found, true)
            edges[name] = overlaps(boundary(found), boundary(true))
    for label, value in zip(classes, regions["with skips"], strict=True):
        if not math.isnan(value):
            demo.metric(f"with skips, IoU of {label}", value)
    ours = demo.data is None
    for name in networks:
        least = 0.9 if ours and name == "with skips" else None
        demo.metric(f"{name}, mean IoU", mean(regions[name]), at_least=least)
    sharp, blurred = (mean(edges[name]) for name in networks)
    for name in networks:
        demo.metric(f"{name}, mean boundary IoU", mean(edges[name]))
    demo.metric("boundary IoU gained by skip connections", sharp - blurred, at_least=0.05 if ours else None)

    figure = demo.figure(
        "overlap",
        "Left: loss of each batch. Right: intersection over union on unseen scenes, of all pixels (pale bars) and of "
        "those at outlines (dark).",
        (9.6, 3.6),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    for k, (name, colour) in enumerate(zip(networks, (BLUE, RED), strict=True)):
        left.semilogy(losses[name], color=colour, linewidth=0.7, label=name)
        places = [c + 0.4 * k - 0.2 for c in range(len(classes))]
        right.bar(places, regions[name], 0.36, color=colour, alpha=0.35)
        right.bar(places, edges[name], 0.36, color=colour, alpha=0.6, label=name)
    left.set(xlabel="step", ylabel="cross-entropy (nats)")
    left.legend()
    right.set(ylabel="intersection over union", ylim=(0, 1))
    right.set_xticks(range(len(classes)), classes, rotation=0 if ours else 90)
    show(demo, drawn, classes)


def show(demo: Demo, drawn: dict[str, Tensor], classes: tuple[str, ...]) -> None:
    """Scenes, and the classes of their pixels as colours."""
    from matplotlib.colors import ListedColormap

    names = ", ".join(classes[1:])
    colours = ListedColormap(PALETTE) if len(classes) <= len(PALETTE) else "tab20"
    columns = min(7, len(drawn["truth"]))
    figure = demo.figure(
        "scenes", f"Unseen scenes, the true classes of their pixels ({names}), and the networks' answers.", (8.4, 5)
    )
    for panels, (name, images) in zip(figure.subplots(len(drawn), columns, squeeze=False), drawn.items(), strict=True):
        for axes, image in zip(panels, images[:columns], strict=True):
            if name == "scene":
                axes.imshow(image.permute(1, 2, 0).numpy())
            else:
                axes.imshow(image.numpy(), cmap=colours, vmin=0, vmax=max(4, len(classes) - 1), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center")
