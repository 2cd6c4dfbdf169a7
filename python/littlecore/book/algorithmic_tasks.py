"""A GPT that computes: what comes next has one answer, and it takes some steps to find (section 5.3).

Whether an architecture can calculate, remember and plan shows on sequences made for it. Fleuret's picoclvr
(https://fleuret.org/git/picoclvr) has several, of which four are below: sums, stacks to push on and to pop from,
assignments to variables, and mazes (data.algorithmic_tasks). Each is read left to right, and of each the
model is asked for those tokens that follow from the others; a sequence counts if all of them are right.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data import algorithmic_tasks as tasks
from littlecore.nn import functional as F

from .demo import BLUE, COLOURS, GREY, RED, Demo
from .fit import fit

TESTS, BATCH = 1000, 64


class Setting(NamedTuple):
    """A task, a model and its training; `spread`: deviation of the first weights of embeddings and attention."""

    task: data.AlgorithmicTask
    layers: int
    width: int
    steps: int
    rate: float
    spread: float
    right: float  # the least share of sequences


def quick() -> list[Setting]:
    return [
        Setting(tasks.addition(2), 2, 64, 700, 4e-3, 0.05, 0.95),
        Setting(tasks.stack(8), 2, 64, 800, 4e-3, 0.2, 0.75),
        Setting(tasks.expr(2, variables=3), 2, 64, 900, 4e-3, 0.02, 0.8),
        Setting(tasks.maze(4, 4), 2, 64, 500, 4e-3, 0.1, 0.5),
    ]


def full() -> list[Setting]:
    larger = (tasks.addition(5), tasks.stack(20), tasks.expr(4), tasks.maze(6, 6))
    return [Setting(task, 4, 128, 20_000, 1e-3, 0.05, 0.9) for task in larger]


def run(demo: Demo) -> None:
    learned: dict[str, tuple[Setting, models.GPT, list[float], np.ndarray]] = {}
    for setting in demo.pick(quick(), full()):
        task = setting.task
        tests = task.draw(np.random.default_rng(demo.seed + 1), TESTS)
        demo.say(f"  for example: {task.text(tests[0][0])}")
        model, losses = trained(demo, setting, tests[0])
        right = answers(model, tests[0]) == tests[0][:, 1:]
        asked = tests[1][:, 1:]
        demo.metric(f"{task.name}, tokens right, of those asked for", right[asked].mean())
        exact = (right | ~asked).all(1)
        demo.metric(f"{task.name}, new sequences without a mistake", exact.mean(), at_least=setting.right)
        learned[task.name] = setting, model, losses, exact
    draw(demo, {name: (losses, exact.mean()) for name, (_, _, losses, exact) in learned.items()})
    setting, model, _, _ = learned["maze"]
    show_mazes(demo, setting.task, model)


def trained(demo: Demo, setting: Setting, tests: np.ndarray) -> tuple[models.GPT, list[float]]:
    """A model that has learned the tokens asked for, on sequences that are none of the tests."""
    task, random = setting.task, np.random.default_rng(demo.seed)
    length = tests.shape[1]
    model = models.gpt(
        vocab_size=len(task.alphabet), block_size=length, n_layer=setting.layers, n_head=4, n_embd=setting.width
    )
    for name, weight in model.named_parameters():
        if name.endswith(("wte.weight", "wpe.weight", "c_attn.weight")):
            nn.init.normal_(weight, std=setting.spread)
    key = random.integers(1, 2**62, length)  # a sequence as one number, modulo 2^64
    held_out = tests @ key

    def loss() -> Tensor:
        tokens, asked = task.draw(random, BATCH)
        new = ~np.isin(tokens @ key, held_out)
        x, counts = lc.from_numpy(tokens[new]), lc.from_numpy(asked[new, 1:].astype(np.float32))
        each = F.cross_entropy(model(x[:, :-1]).flatten(0, 1), x[:, 1:].flatten(), reduction="none")
        return (each * counts.flatten()).sum() / counts.sum()

    return model, fit(demo, model, loss, setting.steps, setting.rate, task.name, warmup=setting.steps // 20)


def answers(model: models.GPT, tokens: np.ndarray) -> np.ndarray:
    """What the model would write in every place but the first.    [N, T] -> [N, T - 1]

    All at once: where every answer before a place is right, it is what step by step would have found, too.
    """
    with lc.no_grad():
        return np.asarray(model(lc.from_numpy(tokens[:, :-1])).argmax(-1).numpy())


# ---- figures ---------------------------------------------------------------------------------------------------------


def draw(demo: Demo, learned: dict[str, tuple[list[float], float]]) -> None:
    figure = demo.figure(
        "learning",
        "Left: loss of the tokens asked for, mean of 20 batches, against the part of the training. Right: sequences, "
        "none of them seen before, in which the model gets all of them right.",
        (9.6, 3.4),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    for (name, (losses, _)), colour in zip(learned.items(), COLOURS, strict=False):
        mean = np.convolve(losses, np.ones(20) / 20, "valid") if len(losses) >= 20 else np.array(losses)
        left.semilogy(100 * np.linspace(0, 1, len(mean)), mean, color=colour, label=name)
    left.set(xlabel="steps (%)", ylabel="cross-entropy (nats)")
    left.legend()
    right.barh(list(learned), [100 * share for _, share in learned.values()], color=COLOURS[: len(learned)])
    right.invert_yaxis()
    right.set(xlabel="without a mistake (%)", xlim=(0, 100))


def show_mazes(demo: Demo, task: data.AlgorithmicTask, model: models.GPT, count: int = 8) -> None:
    """What the model draws by itself into some new mazes."""
    tokens, _ = task.draw(np.random.default_rng(demo.seed + 2), count)
    size = tokens.shape[1] // 2
    drawn = model.generate(lc.from_numpy(tokens[:, :size]), size, greedy=True).numpy()[:, size:]
    side = round(size**0.5)
    figure = demo.figure(
        "mazes",
        "New mazes (walls grey), and the way from start to goal that the model draws: blue where it is the one that it "
        "should draw, else red.",
        (1.3 * count, 1.6),
    )
    for axes, cells, wanted in zip(figure.subplots(1, count), drawn, tokens[:, size:], strict=True):
        show_maze(axes, task.alphabet, cells.reshape(side, side), wanted.reshape(side, side))


def show_maze(axes: Any, alphabet: str, drawn: np.ndarray, wanted: np.ndarray) -> None:
    wall, path = alphabet.index("#"), alphabet.index("*")
    axes.imshow(wanted == wall, cmap="Greys", vmin=0, vmax=2)
    y, x = np.nonzero(drawn == path)
    axes.plot(x, y, "o", color=BLUE if (drawn == wanted).all() else RED, markersize=7)
    for sign in "SG":
        (row,), (column,) = np.nonzero(wanted == alphabet.index(sign))
        axes.text(column, row, sign, ha="center", va="center")
    axes.set(xticks=np.arange(len(wanted) + 1) - 0.5, yticks=np.arange(len(wanted) + 1) - 0.5)
    axes.tick_params(labelbottom=False, labelleft=False, length=0)
    axes.grid(color=GREY, alpha=0.5)
