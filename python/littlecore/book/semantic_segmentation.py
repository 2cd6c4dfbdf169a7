"""Semantic segmentation: the class of every pixel (section 6.4, figure 6.3).

To know what a pixel belongs to, a network has to see far; to draw its outline, it has to see sharply. A U-Net
(Ronneberger et al., 2015) does the first on coarse maps, goes up again by transposed convolutions, and has fine maps
handed over by skip connections; without those, outlines blur. Pyramid pooling (Zhao et al., Pyramid Scene Parsing
Network, CVPR 2017) shows every place the whole image.

Outlines are judged by boundary IoU (Cheng et al., CVPR 2021): only pixels near the edge of the prediction or the truth.
"""

from __future__ import annotations

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data.scenes import SHAPES
from littlecore.nn import functional as F

from .demo import BLUE, ORANGE, RED, Demo
from .fit import fit

SIZE, BATCH = 32, 16
RADIUS = (0.13, 0.28)
CLASSES = ("ground", *SHAPES)
PALETTE = ("#E8E8E8", BLUE, ORANGE, "#009E73", RED)


def run(demo: Demo) -> None:
    steps = demo.pick(700, 6000)
    train, test = (
        data.scenes(count, SIZE, objects=(1, 3), radius=RADIUS, seed=seed)
        for count, seed in ((demo.pick(2000, 20000), 0), (300, 1))
    )
    reach(demo)
    networks = {"with skips": network(), "without skips": network(skips=False)}
    losses = {name: learn(demo, model, train, steps, name) for name, model in networks.items()}
    compare(demo, test, networks, losses)


def network(*, skips: bool = True, pyramid: tuple[int, ...] = (1, 2, 4)) -> models.UNet:
    """[N, 3, SIZE, SIZE] -> scores [N, classes, SIZE, SIZE]"""
    return models.unet(
        in_channels=3, out_channels=len(CLASSES), widths=(16, 32, 64), skips=skips, pyramid=pyramid, norm=True
    )


def learn(demo: Demo, model: nn.Module, scenes: data.Scenes, steps: int, text: str) -> list[float]:
    images, masks = lc.from_numpy(scenes.images), lc.from_numpy(scenes.masks)

    def loss() -> Tensor:
        rows = lc.randint(0, len(images), (BATCH,))
        return F.cross_entropy(model(images[rows]), masks[rows])

    losses = fit(demo, model, loss, steps, 5e-3, text)
    model.eval()
    return losses


def reach(demo: Demo) -> None:
    """How much of the image a pixel in the corner can see: where the gradient of its scores is not zero."""
    for name, pyramid, least in (("without", (), None), ("with", (1, 2, 4), 0.99)):
        x = lc.rand(1, 3, 4 * SIZE, 4 * SIZE).requires_grad_()
        network(pyramid=pyramid).eval()(x)[0, :, 0, 0].sum().backward()
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


def planes(labels: Tensor) -> Tensor:
    """[N, H, W] -> [N, classes, H, W] of 0 and 1"""
    return F.one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2).float()


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def compare(demo: Demo, test: data.Scenes, networks: dict[str, models.UNet], losses: dict[str, list[float]]) -> None:
    images, masks = lc.from_numpy(test.images), lc.from_numpy(test.masks)
    true = planes(masks)
    regions: dict[str, list[float]] = {}
    edges: dict[str, list[float]] = {}
    drawn = {"scene": images, "truth": masks}
    with lc.no_grad():
        for name, model in networks.items():
            drawn[name] = model(images).argmax(1)
            found = planes(drawn[name])
            regions[name] = overlaps(found, true)
            edges[name] = overlaps(boundary(found), boundary(true))
    for label, value in zip(CLASSES, regions["with skips"], strict=True):
        demo.metric(f"with skips, IoU of {label}", value)
    for name in networks:
        demo.metric(f"{name}, mean IoU", mean(regions[name]), at_least=0.9 if name == "with skips" else None)
    sharp, blurred = (mean(edges[name]) for name in networks)
    for name in networks:
        demo.metric(f"{name}, mean boundary IoU", mean(edges[name]))
    demo.metric("boundary IoU gained by skip connections", sharp - blurred, at_least=0.04)

    figure = demo.figure(
        "overlap",
        "Left: loss of each batch. Right: intersection over union on unseen scenes, of all pixels (pale bars) and of "
        "those at outlines (dark).",
        (9.6, 3.6),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    for k, (name, colour) in enumerate(zip(networks, (BLUE, RED), strict=True)):
        left.semilogy(losses[name], color=colour, linewidth=0.7, label=name)
        places = [c + 0.4 * k - 0.2 for c in range(len(CLASSES))]
        right.bar(places, regions[name], 0.36, color=colour, alpha=0.35)
        right.bar(places, edges[name], 0.36, color=colour, alpha=0.6, label=name)
    left.set(xlabel="step", ylabel="cross-entropy (nats)")
    left.legend()
    right.set(ylabel="intersection over union", ylim=(0, 1))
    right.set_xticks(range(len(CLASSES)), CLASSES)
    show(demo, drawn)


def show(demo: Demo, drawn: dict[str, Tensor]) -> None:
    """Scenes, and the classes of their pixels as colours."""
    from matplotlib.colors import ListedColormap

    names = ", ".join(CLASSES[1:])
    figure = demo.figure(
        "scenes", f"Unseen scenes, the true classes of their pixels ({names}), and the networks' answers.", (8.4, 5)
    )
    for panels, (name, images) in zip(figure.subplots(len(drawn), 7), drawn.items(), strict=True):
        for axes, image in zip(panels, images[:7], strict=True):
            if name == "scene":
                axes.imshow(image.permute(1, 2, 0).numpy())
            else:
                axes.imshow(image.numpy(), cmap=ListedColormap(PALETTE), vmin=0, vmax=4, interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            axes.spines[:].set_visible(False)
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center")
