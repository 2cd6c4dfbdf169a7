"""Training protocols: three sets, overfitting, early stopping, fine-tuning (section 3.6, figure 3.5).

The loss on the training set says how well a model remembers, the loss on a validation set how well it generalizes; the
two part at some epoch. A model trained on one task is a better start for a related one than random weights.

Large models do not follow the rule that more parameters than examples are too many. Beyond the point at which a model
can remember every example its error falls a second time, often below the first minimum: there are many models without
training error then, and the smallest of them is smooth (Belkin et al., Reconciling Modern Machine-Learning Practice and
the Classical Bias-Variance Trade-Off, PNAS 2019).
"""

from __future__ import annotations

from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, GREEN, GREY, RED, Demo, plain_numbers


def flat(part: Any) -> tuple[Tensor, Tensor]:
    """All images [N, 1, 8, 8] of a set, and their classes."""
    every = np.arange(len(part))
    images, labels = part.batch(every, data.SampleRandom(0, 0, every))
    return lc.from_numpy(np.ascontiguousarray(images)), lc.from_numpy(labels)


def epoch(model: nn.Module, optimizer: Any, x: Tensor, y: Tensor, size: int = 50) -> float:
    """One pass over the data in a new order; the mean loss."""
    total = 0.0
    order = lc.randperm(len(y))
    for i in range(0, len(y), size):
        rows = order[i : i + size]
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * len(rows)
    return total / len(y)


def evaluated(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Loss and accuracy."""
    with lc.no_grad():
        scores = model(x)
        return F.cross_entropy(scores, y).item(), (scores.argmax(-1) == y).float().mean().item()


def run(demo: Demo) -> None:
    train, test = (flat(part) for part in data.digits(8))
    overfitting(demo, train, test)
    fine_tuning(demo, train, test)
    double_descent(demo, train, test)


def overfitting(demo: Demo, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    """500 digits, a tenth of them with a wrong label, as in data gathered by hand."""
    x, y = train[0][:500], train[1][:500].clone()
    wrong = lc.rand(500) < 0.1
    y = lc.where(wrong, (y + 1 + lc.randint(0, 9, (500,))) % 10, y)
    held_x, held_y = train[0][500:900], train[1][500:900]
    model = models.mlp((64, 256, 256, 10))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    losses, validation = [], []
    for _ in demo.progress(range(demo.pick(90, 400))):
        losses.append(epoch(model, optimizer, x, y))
        validation.append(evaluated(model, held_x, held_y))
    held = [loss for loss, _ in validation]
    best = int(np.argmin(held))
    demo.metric("epoch of the least validation loss", best + 1, within=(2, len(held) - 1))
    demo.metric("validation loss at the end / least", held[-1] / held[best], at_least=1.2)
    smooth = np.convolve(losses, np.ones(5) / 5, "valid")
    falling = float(np.mean(np.diff(smooth) < 1e-4))
    demo.metric("share of epochs in which the smoothed train loss falls", falling, at_least=0.95)
    demo.metric("test accuracy at the end", evaluated(model, *test)[1])

    figure = demo.figure("overfitting", "Train loss keeps falling; validation loss has its minimum (dotted) early.")
    axes = figure.subplots()
    axes.semilogy(range(1, len(held) + 1), losses, color=BLUE, label="train")
    axes.semilogy(range(1, len(held) + 1), held, color=RED, label="validation")
    axes.axvline(best + 1, color=GREY, linestyle=":")
    axes.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    plain_numbers(axes.yaxis)
    axes.legend()


def network() -> nn.Sequential:
    """[N, 1, 8, 8] -> [N, 10]"""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def fine_tuning(demo: Demo, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    """Learn from 900 digits, then from a few of another source, whose images lie a pixel further to the right."""

    def shifted(x: Tensor) -> Tensor:
        return lc.roll(x, 1, 3)

    pretrained = network()
    optimizer = optim.Adam(pretrained.parameters(), lr=1e-3)
    for _ in demo.progress(range(15), "pretraining"):
        epoch(pretrained, optimizer, train[0][:900], train[1][:900])
    test_x, test_y = shifted(test[0]), test[1]
    demo.metric("pretrained, test accuracy at home", evaluated(pretrained, *test)[1], at_least=0.9)
    demo.metric("pretrained, test accuracy at the other source", evaluated(pretrained, test_x, test_y)[1], at_most=0.7)

    pool_x, pool_y = shifted(train[0][900:]), train[1][900:]
    counts, trials = (1, 2, 5, 10), demo.pick(3, 5)
    accuracy: dict[str, list[float]] = {"from scratch": [], "fine-tuned": []}
    for count in demo.progress(counts, "fine-tuning"):
        for name, curve in accuracy.items():
            reached = []
            for trial in range(trials):
                rows = lc.cat([lc.argwhere(pool_y == k).squeeze(1)[trial * count :][:count] for k in range(10)])
                model = network()
                if name == "fine-tuned":
                    model.load_state_dict(pretrained.state_dict())
                optimizer = optim.Adam(model.parameters(), lr=1e-3)
                for _ in range(30):
                    epoch(model, optimizer, pool_x[rows], pool_y[rows], 25)
                reached.append(evaluated(model, test_x, test_y)[1])
            curve.append(float(np.mean(reached)))
    scratch, tuned = accuracy.values()
    for i, count in enumerate(counts):
        gain = 100 * (tuned[i] - scratch[i])
        demo.metric(f"points gained by fine-tuning, {count} a class", gain, at_least=5 if count == 10 else None)

    figure = demo.figure("fine_tuning", f"Few digits of the other source, mean of {trials} draws of them.")
    axes = figure.subplots()
    for (name, curve), colour in zip(accuracy.items(), (BLUE, GREEN), strict=True):
        axes.semilogx(counts, [100 * a for a in curve], "o-", color=colour, label=name)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set(xlabel="examples of each class", ylabel="test accuracy (%)")
    axes.legend()


def double_descent(demo: Demo, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> None:
    """Least squares on random features, the solution of least norm where there are many; a tenth of labels is wrong."""
    examples, draws = 200, demo.pick(5, 20)
    counts = [5, 10, 20, 40, 70, 100, 130, 160, 180, 190, 200, 210, 220, 250, 300, 400, 600, 1000, 2000]
    x, y = train[0][:examples].flatten(1), train[1][:examples].numpy()
    test_x, test_y = test[0].flatten(1), np.eye(10)[test[1].numpy()]
    errors = np.zeros((2, draws, len(counts)))  # of training and test
    for draw in demo.progress(range(draws), "double descent"):
        labels = np.eye(10)[np.where(lc.rand(examples).numpy() < 0.1, (y + 1) % 10, y)]
        direction = lc.randn(64, counts[-1]) / 8
        seen, unseen = ((F.relu((part - 0.3) @ direction)).double().numpy() for part in (x, test_x))
        for k, count in enumerate(counts):
            weight = np.linalg.lstsq(seen[:, :count], labels, rcond=None)[0]
            errors[0, draw, k] = np.square(seen[:, :count] @ weight - labels).mean()
            errors[1, draw, k] = np.square(unseen[:, :count] @ weight - test_y).mean()
    fitted, found = np.median(errors, 1)
    peak, few = counts.index(examples), min(found[: counts.index(examples)])
    remembered = fitted[counts.index(400)] / fitted[counts.index(100)]
    demo.metric("training error, 400 features / 100", remembered, at_most=1e-6)
    demo.metric("features at the largest test error", counts[int(found.argmax())], within=(190, 210))
    demo.metric(f"test error, {examples} features / least of fewer", found[peak] / few, at_least=3)
    demo.metric(f"test error, {counts[-1]} features / least of fewer than {examples}", found[-1] / few, at_most=1)

    figure = demo.figure(
        "double_descent",
        f"{examples} digits, a tenth of them with a wrong label: error against the number of random features that a "
        f"linear model sees, medians of {draws} draws. Dotted: as many features as digits.",
    )
    axes = figure.subplots()
    axes.loglog(counts, fitted.clip(1e-4), color=BLUE, label="train")
    axes.loglog(counts, found, color=RED, label="test")
    axes.axvline(examples, color=GREY, linestyle=":")
    axes.set(xlabel="features", ylabel="mean squared error", ylim=(1e-3, None))
    axes.legend()
