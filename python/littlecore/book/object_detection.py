"""Object detection: what is where (section 6.3, figures 6.1 and 6.2).

A single shot detector (Liu et al., SSD, ECCV 2016) answers everywhere at once: maps of a convolutional network, fine
ones for small objects and coarse ones for large, say at each place whether an object of about their size is centred
there, of what class, and how its box differs from the default. Boxes that say the same are thinned out afterwards.

The measure is mean average precision (Everingham et al., PASCAL VOC, IJCV 2010): the area under the curve of precision
over recall, mean of the classes, where a box counts that overlaps a yet unfound object of its class by half.

Boxes are dear, labels of whole images are cheap: a backbone that has learned to name the one object of many images
needs few scenes with boxes to become a detector.

With --data the photographs of a folder of PASCAL VOC's or COCO's format take the place of the generated scenes.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data.scenes import PAIRS, SHAPES
from littlecore.models.ssd import iou
from littlecore.nn import functional as F

from .demo import BLACK, BLUE, COLOURS, ORANGE, RED, Demo
from .fit import fit

TAKES = "photographs as PASCAL VOC or COCO has them"
SIZE, PHOTOGRAPH, BATCH = 48, 96, 32
SHOWN = 0.3  # the least probability of a box that is drawn
FEW = 100
RADIUS = (0.08, 0.3)
Found = list[tuple[Tensor, Tensor, Tensor]]  # boxes, labels, probabilities of each image


def run(demo: Demo) -> None:
    train, test, classes = load(demo)
    size = train.images.shape[-1]
    model = models.ssd(image_size=size, classes=len(classes), sides=[side * size / SIZE for side in (10, 16, 26)])
    losses = learn(demo, model, train, demo.pick(420, 8000))
    caption = "The detector: maps of three scales, each with a convolution for boxes and classes."
    demo.drawing("detector", caption, model, (1, 3, size, size))
    found = detected(model, test)
    precision(demo, test, found, classes, losses)
    if demo.data is None:
        scales(demo, model, test)
        fine_tuning(demo, test)
    show(demo, test, found, classes)


def load(demo: Demo) -> tuple[data.Scenes, data.Scenes, tuple[str, ...]]:
    """What to learn from, what to test with, and the classes of its objects."""
    if demo.data is not None:
        photographs = data.read_photographs(demo.data)
        train, test = (part.scenes(PHOTOGRAPH) for part in photographs)
        return train, test, photographs[0].classes
    train, test = (
        data.scenes(count, SIZE, radius=RADIUS, seed=seed) for count, seed in ((demo.pick(2000, 20000), 0), (300, 1))
    )
    return train, test, SHAPES


def learn(demo: Demo, model: models.SSD, scenes: data.Scenes, steps: int) -> list[float]:
    images, boxes, shapes = (lc.from_numpy(field) for field in (scenes.images, scenes.boxes, scenes.shapes))

    def loss() -> Tensor:
        rows = lc.randint(0, len(images), (BATCH,))
        scores, predicted = model(images[rows])
        classes, offsets = model.targets(boxes[rows], shapes[rows])
        return model.loss(scores, predicted, classes, offsets)

    return fit(demo, model, loss, steps, 4e-3)


def detected(model: models.SSD, test: data.Scenes) -> Found:
    model.eval()
    with lc.no_grad():
        return model.detect(lc.from_numpy(test.images))


# ---- precision and recall --------------------------------------------------------------------------------------------


def hits(scenes: data.Scenes, found: Found, label: int, overlap: float = 0.5) -> tuple[np.ndarray, int]:
    """Whether each box of a class is right, the likeliest first, and how many objects of the class there are."""
    chances, right, objects = [], [], 0
    for true_boxes, true_labels, (boxes, labels, chance) in zip(scenes.boxes, scenes.shapes, found, strict=True):
        mine, wanted = (labels == label).numpy(), true_boxes[true_labels == label]
        objects += len(wanted)
        shared = iou(lc.from_numpy(boxes.numpy()[mine]), lc.from_numpy(wanted)).numpy()  # [mine, wanted]
        taken = np.zeros(len(wanted), bool)
        for row, p in zip(shared, chance.numpy()[mine], strict=True):
            best = int(row.argmax()) if len(row) else 0
            hit = len(row) > 0 and row[best] >= overlap and not taken[best]
            if hit:
                taken[best] = True
            chances.append(p)
            right.append(hit)
    return np.array(right, bool)[np.argsort(-np.array(chances), kind="stable")], objects


def curve(right: np.ndarray, objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall, and the best precision that is to be had at that recall or more."""
    true = np.cumsum(right)
    precision = true / np.arange(1, len(right) + 1)
    return true / objects, np.maximum.accumulate(precision[::-1])[::-1]


def average_precision(right: np.ndarray, objects: int) -> float:
    recall, precision = curve(right, objects)
    return float((np.diff(recall, prepend=0) * precision).sum())


def precision(demo: Demo, test: data.Scenes, found: Found, classes: tuple[str, ...], losses: list[float]) -> None:
    figure = demo.figure(
        "precision", "Left: loss of each batch. Right: precision against recall on unseen scenes.", (9.6, 3.6)
    )
    left, right_axes = figure.subplots(1, 2)
    left.semilogy(losses, color=BLUE, linewidth=0.7)
    left.set(xlabel="step", ylabel="loss for each object")
    average: dict[float, list[float]] = {}
    for overlap in (0.5, 0.75):
        values = average[overlap] = []
        for label, (shape, colour) in enumerate(zip(classes, cycle(COLOURS), strict=False)):
            right, objects = hits(test, found, label, overlap)
            if not objects:
                continue
            values.append(average_precision(right, objects))
            if overlap == 0.5:
                demo.metric(f"average precision, {shape}", values[-1])
                right_axes.plot(*curve(right, objects), color=colour, label=shape)
    for overlap, values in average.items():
        least = 0.85 if overlap == 0.5 and demo.data is None else None
        demo.metric(f"mean average precision at overlap {overlap}", float(np.mean(values)), at_least=least)
    right_axes.set(xlabel="recall", ylabel="precision", ylim=(0, 1.03), xlim=(0, 1.02))
    right_axes.legend(loc="lower left")


# ---- which map sees what ---------------------------------------------------------------------------------------------


def scales(demo: Demo, model: models.SSD, test: data.Scenes) -> None:
    """The side of the objects that each map finds."""
    with lc.no_grad():
        scores, _ = model(lc.from_numpy(test.images))
    boxes, labels = lc.from_numpy(test.boxes), lc.from_numpy(test.shapes)
    overlap = iou(boxes, model.defaults) * (labels >= 0).unsqueeze(-1).float()  # [N, M, P]
    sure = scores.softmax(-1)[..., 1:].amax(-1).unsqueeze(1) * (overlap > 0.3).float()  # [N, M, P]
    there = (labels >= 0).numpy()
    place = sure.argmax(-1).numpy()[there]  # the surest default box on each object
    sides = np.sqrt(np.diff(test.boxes.reshape(*test.boxes.shape[:2], 2, 2), axis=2)[..., 0, :].prod(-1))[there]
    level = np.searchsorted(np.cumsum(model.counts), place, side="right")
    by_level = [sides[level == k] for k in range(len(model.counts))]
    middle = [float(np.median(each)) for each in by_level]
    for count, value in zip(model.counts, middle, strict=True):
        side = round(count**0.5)
        demo.metric(f"median side of objects found on the {side} x {side} map", value)
    demo.metric("least growth from one map to the next", min(np.divide(middle[1:], middle[:-1])), at_least=1.2)

    figure = demo.figure("scales", "Sides of the unseen objects that each of the three maps is surest of.", (6.4, 3.2))
    axes = figure.subplots()
    names = [f"{round(count**0.5)} x {round(count**0.5)} map" for count in model.counts]
    axes.hist(by_level, bins=np.arange(5, 31), stacked=True, color=(BLUE, ORANGE, RED), label=names)
    axes.set(xlabel="side of the object (pixels)", ylabel="objects")
    axes.legend()


# ---- a backbone that has learned something else ----------------------------------------------------------------------


def fine_tuning(demo: Demo, test: data.Scenes) -> None:
    """FEW scenes with boxes, for a detector that starts from nothing and for one that could name objects before."""
    few = data.scenes(FEW, SIZE, radius=RADIUS, seed=2)
    named = models.ssd(image_size=SIZE, classes=len(SHAPES))
    accuracy = learn_names(demo, named)
    demo.metric("objects named by the backbone before it saw a box", accuracy)
    losses, average = {}, {}
    for name in ("from scratch", "fine-tuned"):
        model = models.ssd(image_size=SIZE, classes=len(SHAPES))
        if name == "fine-tuned":
            model.stages.load_state_dict(named.stages.state_dict())
        losses[name] = learn(demo, model, few, demo.pick(180, 1000))
        found = detected(model, test)
        average[name] = float(np.mean([average_precision(*hits(test, found, k)) for k in range(len(SHAPES))]))
        demo.metric(f"mean average precision of {FEW} scenes, {name}", average[name])
    gain = average["fine-tuned"] - average["from scratch"]
    demo.metric("gained by a backbone that could name objects", gain, at_least=0.05)

    figure = demo.figure(
        "fine_tuning",
        f"Loss of detectors that learn from {FEW} scenes, and their mean average precision on unseen ones. The one "
        "that starts from nothing learns its scenes by heart.",
    )
    axes = figure.subplots()
    for (name, values), colour in zip(losses.items(), (RED, BLUE), strict=True):
        axes.semilogy(values, color=colour, linewidth=0.8, label=f"{name}: {average[name]:.2f}")
    axes.set(xlabel="step", ylabel="loss for each object")
    axes.legend()


def learn_names(demo: Demo, model: models.SSD) -> float:
    """Which of PAIRS the only object is; the share of unseen scenes whose object is named right."""
    (images, labels), (unseen, true) = (
        (lc.from_numpy(s.images), lc.from_numpy(s.colours[:, 0] * len(SHAPES) + s.shapes[:, 0]))
        for s in (data.scenes(n, SIZE, objects=(1, 1), radius=RADIUS, seed=k) for n, k in ((2500, 3), (300, 4)))
    )
    names = nn.Sequential(*model.stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, len(PAIRS)))

    def loss() -> Tensor:
        rows = lc.randint(0, len(images), (BATCH,))
        return F.cross_entropy(names(images[rows]), labels[rows])

    fit(demo, names, loss, demo.pick(400, 3000), 4e-3)
    names.eval()
    with lc.no_grad():
        return (names(unseen).argmax(-1) == true).float().mean().item()


# ---- what it looks like ----------------------------------------------------------------------------------------------


def show(demo: Demo, test: data.Scenes, found: Found, classes: tuple[str, ...]) -> None:
    size = test.images.shape[-1]
    figure = demo.figure(
        "scenes",
        f"Unseen scenes with the boxes of probability {SHOWN} or more, the likelier where two classes claim a place.",
        (9.6, 5),
    )
    for panel, image, (boxes, labels, chance) in zip(figure.subplots(2, 4).flat, test.images, found, strict=False):
        panel.imshow(image.transpose(1, 2, 0), extent=(0, size, size, 0))
        panel.axis("off")
        chances, shared = chance.numpy(), iou(boxes, boxes).numpy()
        for k, (box, label) in enumerate(zip(boxes.tolist(), labels.tolist(), strict=True)):
            if chances[k] >= SHOWN and not (shared[k] > 0.5)[chances > chances[k]].any():
                draw_box(panel, box, f"{classes[label]} {chances[k]:.2f}")


def draw_box(axes: Any, box: list[float], text: str) -> None:
    from matplotlib.patches import Rectangle

    left, top, right, bottom = box
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=BLACK, linewidth=1.2))
    axes.text(left, top - 0.6, text, fontsize=7, bbox={"color": "white", "alpha": 0.7, "pad": 0.8})
