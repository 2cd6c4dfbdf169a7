"""Losses: cross-entropy, the contrastive loss, and a term that keeps weights small (section 3.1).

The cross-entropy of logits is -log softmax(logits)[class]; taken apart it overflows, taken together it is exact. The
triplet loss (Schroff et al., FaceNet, CVPR 2015) asks only that a sample be nearer to one of its class than to another.
Weight decay adds a multiple of |w|^2 and so trades the error on the training set for a model that moves less.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, COLOURS, RED, Demo
from .training_protocols import flat


def run(demo: Demo) -> None:
    cross_entropy(demo)
    (images, labels), (test_images, test_labels) = (flat(part) for part in data.digits(8))
    images, test_images = images.flatten(1), test_images.flatten(1)
    triplets(demo, images, labels, test_images, test_labels)
    weight_decay(demo, images[:100], labels[:100], test_images, test_labels)


# ---- cross-entropy ---------------------------------------------------------------------------------------------------


def cross_entropy(demo: Demo) -> None:
    worst = 0.0
    for scale in (1.0, 10.0, 100.0, 1e4):
        logits, classes = (lc.rand(1000, 10) * 2 - 1) * scale, lc.randint(0, 10, (1000,))
        losses = F.cross_entropy(logits, classes, reduction="none").numpy()
        z = logits.numpy().astype(np.float64)
        top = z.max(1, keepdims=True)
        exact = np.log(np.exp(z - top).sum(1)) + top[:, 0] - z[np.arange(1000), classes.numpy()]
        spacing = np.spacing(np.maximum(np.abs(exact), 1.0).astype(np.float32))
        worst = max(worst, float((np.abs(losses - exact) / spacing).max()))
    demo.metric("cross-entropy, logits up to 10^4, error in float32 spacings", worst, at_most=2)

    logits, classes = lc.randn(64, 10).requires_grad_(), lc.randint(0, 10, (64,))
    F.cross_entropy(logits, classes, reduction="sum").backward()
    assert logits.grad is not None
    formula = logits.detach().softmax(-1) - F.one_hot(classes, 10).float()
    demo.metric("its gradient, distance to softmax - one-hot", (logits.grad - formula).abs().max().item(), at_most=1e-6)


# ---- contrastive loss ------------------------------------------------------------------------------------------------


def nearest_neighbour_accuracy(train: Tensor, classes: Tensor, test: Tensor, truth: Tensor) -> float:
    squares = test.square().sum(1, keepdim=True) - 2 * test @ train.mT + train.square().sum(1)
    return (classes[squares.argmin(1)] == truth).float().mean().item()


def triplets(demo: Demo, images: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> None:
    """An embedding of the digits in the plane, trained on triplets (anchor, same class, other class)."""
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 2))
    optimizer = optim.Adam(model.parameters(), lr=2e-3)
    by_class = [lc.argwhere(labels == k).squeeze(1) for k in range(10)]
    pictures, accuracies = [], []

    def look() -> None:
        with lc.no_grad():
            embedded = model(test)
            accuracies.append(nearest_neighbour_accuracy(model(images), labels, embedded, truth))
            pictures.append(embedded.numpy())

    look()
    for _ in demo.progress(range(demo.pick(400, 3000)), "triplets"):
        anchor = lc.randint(0, len(labels), (256,))
        kinds = labels[anchor].tolist()
        others = [(kind + 1 + other) % 10 for kind, other in zip(kinds, lc.randint(0, 9, (256,)).tolist(), strict=True)]
        same, other = (lc.stack([_one_of(by_class[k]) for k in wanted]) for wanted in (kinds, others))
        loss = F.triplet_margin_loss(model(images[anchor]), model(images[same]), model(images[other]), margin=1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    look()
    before, after = accuracies
    demo.metric("nearest neighbour in the plane, test accuracy before", before)
    demo.metric("nearest neighbour in the plane, test accuracy after", after, at_least=before + 0.1)

    figure = demo.figure(
        "triplets", "Test digits in the plane of the embedding, before and after training on triplets.", (9.0, 4.0)
    )
    for i, axes in enumerate(figure.subplots(1, 2)):
        points = pictures[i]
        for kind in range(10):
            of_kind = points[truth.numpy() == kind]
            centre = np.median(of_kind, axis=0)
            axes.plot(of_kind[:, 0], of_kind[:, 1], ".", color=COLOURS[kind % len(COLOURS)], markersize=4, alpha=0.7)
            axes.annotate(str(kind), centre, ha="center", va="center", fontsize=14, fontweight="bold")
        axes.set_title(f"{('before', 'after')[i]}: accuracy {accuracies[i]:.1%}")
        axes.set(xlabel="first coordinate", ylabel="second coordinate")


def _one_of(rows: Tensor) -> Tensor:
    return rows[lc.randint(0, len(rows), (1,)).item()]


# ---- engineering the loss --------------------------------------------------------------------------------------------


def weight_decay(demo: Demo, images: Tensor, labels: Tensor, test: Tensor, truth: Tensor) -> None:
    """Softmax regression on 100 digits under stronger and stronger decay."""
    decays = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
    norms, train_losses, test_losses = [], [], []
    for decay in demo.progress(decays, "weight decay"):
        weight = lc.zeros(10, 64).requires_grad_()
        optimizer = optim.SGD([weight], lr=0.5, momentum=0.9)
        for _ in range(300):
            loss = F.cross_entropy(images @ weight.mT, labels) + decay * weight.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with lc.no_grad():
            norms.append(weight.square().sum().sqrt().item())
            train_losses.append(F.cross_entropy(images @ weight.mT, labels).item())
            test_losses.append(F.cross_entropy(test @ weight.mT, truth).item())
    gaps = [b - a for a, b in zip(train_losses, test_losses, strict=True)]
    steps = len(decays) - 1
    demo.metric(f"steps of more decay that shrink |w|, of {steps}", int(sum(np.diff(norms) < 0)), at_least=steps)
    rises = int(sum(np.diff(train_losses) > 0))
    demo.metric(f"steps that raise the train loss, of {steps}", rises, at_least=steps)
    demo.metric(f"steps that shrink the gap to the test loss, of {steps}", int(sum(np.diff(gaps) < 0)), at_least=steps)

    figure = demo.figure("weight_decay", "Softmax regression on 100 digits under stronger decay.", (9.0, 3.4))
    left, right = figure.subplots(1, 2)
    left.plot(norms, "o-")
    right.semilogy(train_losses, "o-", color=BLUE, label="train")
    right.semilogy(test_losses, "o-", color=RED, label="test")
    right.legend()
    for axes, label in ((left, "|w|"), (right, "cross-entropy (nats)")):
        axes.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
        axes.set(xlabel="weight decay", ylabel=label)
