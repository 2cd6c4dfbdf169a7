"""Model merging: models added and subtracted, weight by weight (section 8.4).

What fine-tuning changed in a model, the difference of its weights to those it started from, is a task vector: added to
the model it brings the task, subtracted it takes the task away, and several may be added at once (Ilharco et al.,
Editing Models with Task Arithmetic, ICLR 2023). They get into each other's way where their signs differ: TIES keeps the
largest changes of each, takes a vote on every sign, and averages those that agree (Yadav et al., TIES-Merging:
Resolving Interference When Merging Models, NeurIPS 2023). How much of which model each layer takes can also be searched
for, without any gradient, by mutation and selection (Akiba et al., Evolutionary Optimization of Model Merging Recipes,
Nature Machine Intelligence 2025).

Here a perceptron has learned a little of three tasks, to read digits upright, turned, and in a mirror as a negative,
and is then fine-tuned on each. As in the paper on task arithmetic each task has a readout, learned at first and frozen
ever after; what is merged is the part below.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn, optim
from littlecore.nn import functional as F
from littlecore.nn.utils import parameters_to_vector, vector_to_parameters

from .demo import BLUE, COLOURS, GREY, Demo
from .training_protocols import epoch, evaluated, flat

WIDTH, FEW, KEPT = 1024, 300, 600  # digits for the start, digits to choose among merges with
VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "upright": lambda x: x,
    "turned": lambda x: x.transpose(2, 3).flip(3),
    "negative": lambda x: (1 - x).flip(3),
}
Digits = tuple[Tensor, Tensor]


class Model:
    """The network below, as one vector of weights, and the frozen readouts of the tasks."""

    def __init__(self) -> None:
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU()
        )  # fmt: skip
        self.readouts = nn.ModuleDict({name: nn.Linear(WIDTH, 10) for name in VIEWS})

    def weights(self) -> Tensor:
        return parameters_to_vector(self.body.parameters()).detach()

    def accuracy(self, weights: Tensor, digits: Digits) -> np.ndarray:
        """Of every task, with these weights.    [tasks]"""
        vector_to_parameters(weights, self.body.parameters())
        x, y = digits
        found = [evaluated(nn.Sequential(self.body, self.readouts[k]), VIEWS[k](x), y)[1] for k in VIEWS]
        return np.array(found)

    def per_layer(self, amounts: np.ndarray, vectors: Sequence[Tensor]) -> Tensor:
        """The sum of the vectors, each layer times its own amount.    [layers, vectors] -> [weights]"""
        sizes = [p.numel() for p in self.body.parameters()]  # weight and bias of every layer
        layer = lc.from_numpy(np.repeat(np.arange(len(sizes)) // 2, sizes))
        each = lc.from_numpy(amounts.astype(np.float32))[layer]  # [weights, vectors]
        return (each * lc.stack(vectors, 1)).sum(1)


def run(demo: Demo) -> None:
    (x, y), test = (flat(part) for part in data.digits(8))
    model = Model()
    start(demo, model, (x[:FEW], y[:FEW]))
    base = model.weights()
    alone = model.accuracy(base, test)
    vectors, tuned = [], []
    for k, name in enumerate(VIEWS):
        demo.metric(f"{name}, base", alone[k])
        weights = fine_tune(demo, model, base, name, (x[FEW:-KEPT], y[FEW:-KEPT]))
        tuned.append(model.accuracy(weights, test)[k])
        demo.metric(f"{name}, fine-tuned", tuned[-1], at_least=alone[k] + 0.03)
        vectors.append(weights - base)
    addition(demo, model, base, vectors, np.array(tuned), test)
    subtraction(demo, model, base, vectors, alone, test)
    three(demo, model, base, vectors, np.array(tuned), (x[-KEPT:], y[-KEPT:]), test)


def start(demo: Demo, model: Model, few: Digits) -> None:
    """A little of all three tasks at once."""
    x, y = few
    optimizer = optim.Adam([*model.body.parameters(), *model.readouts.parameters()], lr=1e-3)
    for _ in demo.progress(range(14), "base"):
        rows = lc.randperm(FEW)[:50]
        losses = [F.cross_entropy(model.readouts[k](model.body(VIEWS[k](x[rows]))), y[rows]) for k in VIEWS]
        loss = lc.stack(losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.readouts.requires_grad_(False)


def fine_tune(demo: Demo, model: Model, base: Tensor, name: str, train: Digits) -> Tensor:
    """The weights after some epochs of one task."""
    vector_to_parameters(base, model.body.parameters())
    optimizer = optim.Adam(model.body.parameters(), lr=2e-4)
    epochs = demo.pick(8, 20)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    whole = nn.Sequential(model.body, model.readouts[name])
    for _ in demo.progress(range(epochs), name):
        epoch(whole, optimizer, VIEWS[name](train[0]), train[1])
        schedule.step()
    return model.weights()


# ---- task arithmetic -------------------------------------------------------------------------------------------------


def addition(
    demo: Demo, model: Model, base: Tensor, vectors: Sequence[Tensor], tuned: np.ndarray, test: Digits
) -> None:
    """Two tasks in one model."""
    merged = model.accuracy(base + 0.7 * (vectors[0] + vectors[1]), test)
    for k, name in enumerate(list(VIEWS)[:2]):
        demo.metric(f"{name}, two vectors added / fine-tuned", merged[k] / tuned[k], at_least=0.9)
    cosine = F.cosine_similarity(vectors[0], vectors[1], dim=0).item()
    demo.metric("cosine of the two vectors", cosine, within=(-0.3, 0.3))

    figure = demo.figure(
        "arithmetic",
        "Accuracy of a model with a task vector subtracted (amounts below 0) or added, on its own task (blue) and on "
        "the other two (grey).",
        (9.6, 3.2),
    )
    amounts = np.linspace(-1.5, 1.5, 13)
    for k, (axes, name) in enumerate(zip(figure.subplots(1, 3, sharey=True), VIEWS, strict=True)):
        every = np.array([model.accuracy(base + float(amount) * vectors[k], test) for amount in amounts])
        for j in range(3):
            axes.plot(amounts, 100 * every[:, j], color=BLUE if j == k else GREY)
        axes.set(title=name, xlabel="amount", ylim=(0, 100))
    figure.axes[0].set_ylabel("accuracy (%)")


def subtraction(
    demo: Demo, model: Model, base: Tensor, vectors: Sequence[Tensor], alone: np.ndarray, test: Digits
) -> None:
    """A model that has forgotten one task."""
    amount = demo.pick(1.3, 1.1)  # longer training makes longer vectors
    for k, name in enumerate(VIEWS):
        left = model.accuracy(base - amount * vectors[k], test)
        others = np.delete(left, k) / np.delete(alone, k)
        demo.metric(f"{name}, its vector subtracted", left[k], at_most=0.5)
        demo.metric(f"{name} subtracted, the other tasks / before, mean", others.mean(), at_least=0.8)


# ---- three at once ---------------------------------------------------------------------------------------------------


def ties(vectors: Sequence[Tensor], keep: float = 0.3) -> Tensor:
    """Trim each vector to its largest `keep`, elect the sign of more weight, average what has that sign."""
    trimmed = []
    for vector in vectors:
        smallest, _ = vector.abs().topk(int(keep * len(vector)))
        trimmed.append(lc.where(vector.abs() >= smallest[-1], vector, 0.0))
    every = lc.stack(trimmed)  # [vectors, weights]
    agree = every.sign() == every.sum(0).sign()
    return lc.where(agree, every, 0.0).sum(0) / agree.sum(0).clamp(min=1).float()


def evolve(demo: Demo, quality: Callable[[np.ndarray], float], first: np.ndarray, trials: int) -> list[np.ndarray]:
    """Keep a mutant if it is no worse, and dare larger steps while that goes well (Rechenberg's 1/5 rule, 1973)."""
    random = np.random.default_rng(demo.seed)
    best, value, step = first, quality(first), 0.15
    path = [best]
    for _ in demo.progress(range(trials), "evolution"):
        mutant = best + step * random.standard_normal(best.shape)
        found = quality(mutant)
        better = found >= value
        step *= 1.5 if better else 1.5**-0.25
        if better:
            best, value = mutant, found
        path.append(best)
    return path


def three(
    demo: Demo, model: Model, base: Tensor, vectors: Sequence[Tensor], tuned: np.ndarray, kept: Digits, test: Digits
) -> None:
    """Ways to merge all three, each with its amount chosen on digits that no training saw."""

    def chosen(direction: Tensor) -> Tensor:
        """base + the best amount of the direction."""
        candidates = [base + amount * direction for amount in (0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0, 2.5)]
        return max(candidates, key=lambda weights: model.accuracy(weights, kept).mean())

    mean = lc.stack(vectors).mean(0)
    uniform = np.full((2, len(vectors)), 1 / len(vectors))
    path = evolve(
        demo,
        lambda amounts: model.accuracy(base + model.per_layer(amounts, vectors), kept).mean(),
        uniform,
        demo.pick(150, 1000),
    )
    merges = {
        "uniform": base + mean,
        "best amount": chosen(mean),
        "TIES": chosen(ties(vectors)),
        "evolved": base + model.per_layer(path[-1], vectors),
    }
    found = {name: model.accuracy(weights, test) for name, weights in merges.items()}
    demo.metric("three tasks, base, mean accuracy", model.accuracy(base, test).mean())
    demo.metric("three tasks, fine-tuned models, mean accuracy", tuned.mean())
    for name, reached in found.items():
        demo.metric(f"three tasks, {name}, mean accuracy", reached.mean())
    demo.metric("points by which the evolved merge beats the uniform one",
                100 * (found["evolved"] - found["uniform"]).mean(), at_least=1)  # fmt: skip
    demo.metric("points by which TIES beats the uniform merge", 100 * (found["TIES"] - found["uniform"]).mean(),
                at_least=0.5)  # fmt: skip

    figure = demo.figure(
        "three",
        "Left: accuracy of merged models on the three tasks; a line marks the model fine-tuned on that task alone. "
        "Right: how much the evolved merge takes of each task vector in each layer.",
        (9.6, 3.4),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1.6, 1))
    places = np.arange(3)
    for i, ((name, reached), colour) in enumerate(zip(found.items(), (GREY, *COLOURS), strict=False)):
        left.bar(places + 0.2 * (i - 1.5), 100 * reached, 0.18, color=colour, label=name)
    for k, value in enumerate(tuned):
        left.plot([k - 0.4, k + 0.4], [100 * value] * 2, color="black", linewidth=1.2)
    left.set_xticks(places, list(VIEWS))
    left.set(ylabel="accuracy (%)", ylim=(50, 100))
    left.legend(ncols=4, loc="upper center", fontsize=8)
    for k, name in enumerate(VIEWS):
        right.plot([1, 2], path[-1][:, k], "o-", color=COLOURS[k], label=name)
    right.axhline(1 / 3, color=GREY, linestyle=":")
    right.set_xticks([1, 2])
    right.set(xlabel="layer", ylabel="amount")
    right.legend()
