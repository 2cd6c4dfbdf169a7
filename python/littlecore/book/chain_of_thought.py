"""Chain of thought: a model that writes down its steps solves more (section 8.1, figure 8.1).

Between reading a question and its answer a model can do only so much, as many steps as it has layers. What it writes
itself it reads again: asked to write the steps first, it can take as many as it needs (Nye et al., Show Your Work:
Scratchpads for Intermediate Computation with Language Models, 2021; Wei et al., Chain-of-Thought Prompting Elicits
Reasoning in Large Language Models, NeurIPS 2022).

Two equal models learn to add three numbers of two digits from equally many examples. One is shown the sum, the other
the sums of the columns, two terms at a time, before it.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, models, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo
from .fit import fit

SIGNS = "0123456789+=>"
QUESTION = len("12+34+56=")
Problems = np.ndarray  # [N, 3], numbers of two digits


def run(demo: Demo) -> None:
    demo.say(f"  an answer alone: {text(example(np.array([[12, 34, 56]]), False)[0])}")
    demo.say(f"  with its steps:  {text(example(np.array([[12, 34, 56]]), True)[0])}")
    random = np.random.default_rng(demo.seed)
    unseen = random.integers(0, 100, (500, 3))
    codes = set(coded(unseen).tolist())
    accuracy, curves = {}, {}
    for name, steps in (("answer alone", False), ("with steps", True)):
        model = models.gpt(
            vocab_size=len(SIGNS), block_size=len(example(unseen[:1], True)[0]), n_layer=2, n_head=4, n_embd=64
        )
        curves[name] = learn(demo, model, name, steps, codes)
        accuracy[name] = solved(model, unseen, steps)
        demo.metric(f"{name}, sums right", accuracy[name].mean())
    alone, stepwise = (found.mean() for found in accuracy.values())
    demo.metric("points gained by writing the steps", 100 * (stepwise - alone), at_least=30)
    draw(demo, curves, accuracy, unseen)


# ---- questions and answers -------------------------------------------------------------------------------------------


def digits(numbers: np.ndarray, count: int) -> np.ndarray:
    """[N] -> [N, count]"""
    return numbers[:, None] // 10 ** np.arange(count)[::-1] % 10


def example(problems: Problems, steps: bool) -> np.ndarray:
    """12+34+56=102, or with the steps of the columns: 12+34+56=06,12,04,09,10>102, without the commas."""
    signs = {sign: np.full((len(problems), 1), SIGNS.index(sign)) for sign in "+=>"}
    a, b, c = problems.T
    parts = [digits(a, 2), signs["+"], digits(b, 2), signs["+"], digits(c, 2), signs["="]]
    if steps:
        units = a % 10 + b % 10
        tens = a // 10 + b // 10
        whole = units + c % 10
        parts += [digits(part, 2) for part in (units, whole, tens, tens + c // 10, tens + c // 10 + whole // 10)]
        parts.append(signs[">"])
    return np.concatenate([*parts, digits(a + b + c, 3)], 1)


def text(tokens: np.ndarray) -> str:
    return "".join(SIGNS[token] for token in tokens)


def coded(problems: Problems) -> np.ndarray:
    """One number for each problem."""
    return problems @ np.array([10_000, 100, 1])


# ---- learning --------------------------------------------------------------------------------------------------------


def learn(demo: Demo, model: models.GPT, name: str, steps: bool, unseen: set[int]) -> list[float]:
    random = np.random.default_rng(demo.seed + 1)  # both models get the same problems
    for key, weight in model.named_parameters():
        if key.endswith(("wte.weight", "wpe.weight", "c_attn.weight")):
            nn.init.normal_(weight, std=0.2)

    def loss() -> Tensor:
        problems = random.integers(0, 100, (64, 3))
        problems = problems[[code not in unseen for code in coded(problems).tolist()]]
        tokens = lc.from_numpy(example(problems, steps))
        logits = model(tokens[:, :-1])[:, QUESTION - 1 :]
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, QUESTION:].flatten())

    return fit(demo, model, loss, demo.pick(700, 6000), 3e-3, name)


def solved(model: models.GPT, problems: Problems, steps: bool) -> np.ndarray:
    """Which sums are right in all three digits, read from what the model writes.    [N]"""
    whole = example(problems, steps)
    written = model.generate(lc.from_numpy(whole[:, :QUESTION]), whole.shape[1] - QUESTION, greedy=True).numpy()
    return (written[:, -3:] == whole[:, -3:]).all(1)


def carries(problems: Problems) -> np.ndarray:
    """What goes over from the units to the tens: 0, 1 or 2.    [N]"""
    return (problems % 10).sum(1) // 10


def draw(demo: Demo, curves: dict[str, list[float]], accuracy: dict[str, np.ndarray], unseen: Problems) -> None:
    figure = demo.figure(
        "steps",
        "Left: loss of each batch, per sign that the model has to write. Right: sums that are right, by what goes over "
        "from the units to the tens.",
        (9.6, 3.4),
    )
    left, right = figure.subplots(1, 2)
    for (name, curve), colour in zip(curves.items(), (RED, BLUE), strict=True):
        left.plot(curve, color=colour, linewidth=0.8, label=name)
    left.set(xlabel="step", ylabel="cross-entropy (nats)", ylim=(0, None))
    left.legend()
    over = carries(unseen)
    for i, ((name, right_ones), colour) in enumerate(zip(accuracy.items(), (RED, BLUE), strict=True)):
        heights = [100 * right_ones[over == k].mean() for k in range(3)]
        right.bar(np.arange(3) + 0.4 * i - 0.2, heights, 0.38, color=colour, label=name)
    right.axhline(100, color=GREY, linestyle=":")
    right.set_xticks(range(3))
    right.set(xlabel="carry", ylabel="right (%)", ylim=(0, 105))
