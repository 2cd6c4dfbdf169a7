"""Image classification with data augmentation (section 6.2).

Where images are few, more can be made of them: an image moved, turned, scaled, darkened or paled a little is another
image of the same class. The network cannot learn 500 digits by heart if it never sees one of them twice. What may be
changed depends on the classes, and has to be known: a photograph of a cat may be mirrored, a digit may not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo, plain_numbers
from .fit import fit
from .training_protocols import evaluated, flat

BATCH = 50
Transform = Callable[[Any, data.SampleRandom], Any]
MOVED = data.RandomAffine(degrees=10, translate=0.08, scale=(0.9, 1.1), shear=5)
SHADED = data.ColorJitter(brightness=0.3, contrast=0.3)
WAYS: dict[str, tuple[Transform, ...]] = {
    "as they are": (),
    "moved, turned, scaled, shaded": (MOVED, SHADED),
    "mirrored": (data.RandomHorizontalFlip(),),
}


def run(demo: Demo) -> None:
    train, test = (flat(part) for part in data.digits())
    images, labels = train[0].numpy(), train[1]
    counts = (100, 200, 500)
    unseen = (lc.cat([train[0][500:], test[0]]), lc.cat([train[1][500:], test[1]]))
    errors: dict[str, list[float]] = {name: [] for name in WAYS}
    gaps: list[float] = []
    for name, way in WAYS.items():
        for count in counts if name != "mirrored" else counts[-1:]:
            steps = demo.pick(400, 3000)
            model = classifier(demo, images[:count], labels[:count], way, steps, f"{name}, {count}")
            loss, accuracy = evaluated(model, *unseen)
            own_loss, own = evaluated(model, train[0][:count], labels[:count])
            errors[name].append(1 - accuracy)
        gaps.append(loss - own_loss)
        demo.metric(f"{count} digits {name}: training accuracy", own)
        demo.metric(f"{count} digits {name}: test accuracy", accuracy)
    plain, changed, mirrored = (values[-1] for values in errors.values())
    demo.metric("gap of test and training loss, changed / as they are", gaps[1] / gaps[0], at_most=0.8)
    demo.metric("test errors, changed / as they are", changed / plain, at_most=0.8)
    demo.metric("test errors, mirrored / as they are", mirrored / plain, at_least=1)

    figure = demo.figure(
        "errors", f"Errors on {len(unseen[1]):,} unseen digits against the number of those to learn from."
    )
    axes = figure.subplots()
    for (name, curve), colour in zip(errors.items(), (GREY, BLUE, RED), strict=True):
        axes.loglog(counts[-len(curve) :], [100 * value for value in curve], "o-", color=colour, label=name)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xticks([], minor=True)
    plain_numbers(axes.yaxis)
    axes.set(xlabel="training images", ylabel="test error (%)")
    axes.legend()
    show_augmentation(demo, images)


def augmented(images: np.ndarray, rows: np.ndarray, epoch: int, way: tuple[Transform, ...]) -> Tensor:
    """Images [rows] under the transforms, each with random numbers of its own, new in every epoch."""
    x, random = images[rows], data.SampleRandom(0, epoch, rows)
    for transform in way:
        x = transform(x, random)
    return lc.from_numpy(np.ascontiguousarray(x))


def classifier(
    demo: Demo, images: np.ndarray, labels: Tensor, way: tuple[Transform, ...], steps: int, text: str
) -> nn.Module:
    """A LeNet that has seen the images for `steps` batches; `way` changes them each time anew."""
    model = models.lenet()
    order, calls = np.arange(0), 0

    def loss() -> Tensor:
        nonlocal order, calls
        epoch, step = divmod(calls, len(images) // BATCH)
        if step == 0:
            order = lc.randperm(len(images)).numpy()
        calls += 1
        rows = order[step * BATCH :][:BATCH]
        return F.cross_entropy(model(augmented(images, rows, epoch, way)), labels[lc.from_numpy(rows)])

    fit(demo, model, loss, steps, 2e-3, text)
    return model


def show_augmentation(demo: Demo, images: np.ndarray) -> None:
    figure = demo.figure(
        "augmentation", "Five digits (left) and what the network is shown instead in nine epochs.", (9, 4.6)
    )
    rows = np.arange(10, 15)
    columns = [augmented(images, rows, epoch, (MOVED, SHADED) if epoch else ()) for epoch in range(10)]
    for row, panels in enumerate(figure.subplots(5, 10)):
        for axes, column in zip(panels, columns, strict=True):
            axes.imshow(column[row, 0].numpy(), cmap="Greys", vmin=0, vmax=1)
            axes.axis("off")
