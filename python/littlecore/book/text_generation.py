"""Text generation: drawing the next token, and learning a task from its examples (section 7.1, figure 7.1).

A language model gives every token a probability, and a text is drawn one token at a time: as it is, more daring or more
careful by a temperature, from the k likeliest tokens alone (Fan et al., Hierarchical Neural Story Generation, ACL 2018)
or from the fewest that hold a part p of all probability (Holtzman et al., The Curious Case of Neural Text Degeneration,
ICLR 2020).

What stands in the text before is all that a model knows of its task, and it may be enough: shown some questions with
their answers, it answers the next one alike, without any training (Brown et al., Language Models are Few-Shot Learners,
NeurIPS 2020). Here every text has a secret table of its own that maps four keys to values; a model that has read many
such texts finds out a new one from its examples.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import littlecore as lc
from littlecore import Tensor, models, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo
from .fit import fit

KEYS = VALUES = 4
SHOTS = 8


def run(demo: Demo) -> None:
    sampling(demo)
    few_shot(demo)


# ---- drawing ---------------------------------------------------------------------------------------------------------


def surprise(counts: np.ndarray, probabilities: np.ndarray) -> float:
    """How far the counts are from what the probabilities promise: Pearson's chi-square, as standard deviations.

    By Wilson and Hilferty (1931) the cube root of chi-square is close to Gaussian.    [V], [V]
    """
    if counts[probabilities == 0].any():
        return np.inf
    expected = counts.sum() * probabilities
    rare = expected < 10  # too few for chi-square: together they are one
    if rare.any():
        counts, expected = (np.append(part[~rare], part[rare].sum()) for part in (counts, expected))
        counts, expected = counts[expected > 0], expected[expected > 0]
    free = len(counts) - 1
    chi_square = (np.square(counts - expected) / expected).sum()
    return float(((chi_square / free) ** (1 / 3) - 1 + 2 / (9 * free)) / (2 / (9 * free)) ** 0.5)


def as_is(p: np.ndarray) -> np.ndarray:
    return p


def cooler(p: np.ndarray) -> np.ndarray:
    return p**2 / (p**2).sum()


def five_likeliest(p: np.ndarray) -> np.ndarray:
    kept = np.where(p >= np.sort(p)[-5], p, 0)
    return kept / kept.sum()


def nucleus(p: np.ndarray) -> np.ndarray:
    """The likeliest, one after the other, until they hold 0.8."""
    order = np.argsort(-p)
    kept = np.zeros_like(p)
    for token in order:
        kept[token] = p[token]
        if kept.sum() >= 0.8:
            break
    return kept / kept.sum()


WAYS: dict[str, tuple[dict[str, float], Callable[[np.ndarray], np.ndarray]]] = {
    "as it is": ({}, as_is),
    "temperature 0.5": ({"temperature": 0.5}, cooler),
    "top 5": ({"top_k": 5}, five_likeliest),
    "top 0.8 of probability": ({"top_p": 0.8}, nucleus),
}


def sampling(demo: Demo) -> None:
    """Frequencies of what is drawn are the probabilities, for one token and for two in a row."""
    logits, draws = 1.5 * lc.randn(1, 16), 40_000
    p = logits.double().softmax(-1)[0].numpy()
    panels = demo.figure(
        "sampling", "Probabilities of 16 tokens (bars), and how often each was drawn (dots).", (9.6, 2.4)
    ).subplots(1, len(WAYS), sharey=True)
    for axes, (name, (options, expected)) in zip(panels, WAYS.items(), strict=True):
        drawn = models.sample(models.filtered(logits.expand(draws, -1), **options))  # type: ignore[arg-type]
        counts = np.bincount(drawn.numpy(), minlength=16)
        demo.metric(f"{name}, {draws:,} draws, surprise", surprise(counts, expected(p)), within=(-4, 4))
        order = np.argsort(-p)
        axes.bar(range(16), expected(p)[order], color=GREY)
        axes.plot(range(16), counts[order] / draws, ".", color=BLUE)
        axes.set_title(name)
        axes.set(xlabel="token by rank")
    panels[0].set_ylabel("probability")

    model = models.gpt(vocab_size=5, block_size=4, n_layer=2, n_head=2, n_embd=16)
    nn.init.normal_(model.lm_head.weight, std=0.6)
    start = lc.zeros(draws, 1, dtype=lc.int64)
    with lc.no_grad():
        first = model(start[:1])[0, -1].softmax(-1)  # [5]
        second = model(lc.stack([lc.zeros(5, dtype=lc.int64), lc.arange(5)], 1))[:, -1].softmax(-1)  # [5, 5]
    pairs = model.generate(start, 2)[:, 1:].numpy()
    counts = np.bincount(pairs[:, 0] * 5 + pairs[:, 1], minlength=25)
    p = (first.unsqueeze(1) * second).double().numpy().ravel()
    demo.metric("two tokens of a GPT, surprise", surprise(counts, p / p.sum()), within=(-4, 4))


# ---- learning from what stands before --------------------------------------------------------------------------------


def texts(count: int) -> Tensor:
    """Key, value, key, value, ... after a table that every text has for itself.    [count, 2 (SHOTS + 1)]"""
    tables = lc.randint(KEYS, KEYS + VALUES, (count, KEYS))
    keys = lc.randint(0, KEYS, (count, SHOTS + 1))
    return lc.stack([keys, tables.gather(1, keys)], 2).flatten(1)


def few_shot(demo: Demo) -> None:
    model = models.gpt(vocab_size=KEYS + VALUES, block_size=2 * SHOTS + 2, n_layer=2, n_head=4, n_embd=48, dropout=0.0)
    for name, weight in model.named_parameters():  # so that attention differs from place to place from the start on
        if name.endswith(("wte.weight", "wpe.weight", "c_attn.weight")):
            nn.init.normal_(weight, std=0.3)

    def answers(tokens: Tensor) -> Tensor:
        """Logits of the value behind every key.    [N, 2 (SHOTS + 1)] -> [N, SHOTS + 1, V]"""
        return model(tokens[:, :-1])[:, ::2]

    def loss() -> Tensor:
        tokens = texts(64)
        return F.cross_entropy(answers(tokens).flatten(0, 1), tokens[:, 1::2].flatten())

    losses = fit(demo, model, loss, demo.pick(700, 6000), 3e-3, "reading tables")
    tokens = texts(4000)
    with lc.no_grad():
        right = (answers(tokens).argmax(-1) == tokens[:, 1::2]).numpy()
    keys = tokens[:, ::2].numpy()
    shots = np.arange(SHOTS + 1)
    accuracy = right.mean(0)
    unseen = (1 - 1 / KEYS) ** shots  # the chance that no example had this key; then one can but guess
    best = 1 - unseen + unseen / VALUES
    for n in (0, 1, 2, 4, 8):
        demo.metric(f"{n} examples, accuracy", accuracy[n])
    demo.metric("accuracy with 8 examples - with none", accuracy[-1] - accuracy[0], at_least=0.5)
    demo.metric("largest distance to the best possible", np.abs(accuracy - best).max(), at_most=0.08)
    shown = np.array([[key in row[:n] for n, key in enumerate(row)] for row in keys])
    demo.metric("accuracy where an example had the key", right[shown].mean(), at_least=0.97)

    figure = demo.figure(
        "few_shot",
        "Left: loss of each batch. Right: accuracy against the number of examples that stand before the question.",
        (9.6, 3.4),
    )
    left, axes = figure.subplots(1, 2)
    left.plot(losses, color=BLUE, linewidth=0.8)
    left.set(xlabel="step", ylabel="cross-entropy (nats)", ylim=(0, None))
    axes.plot(shots, 100 * accuracy, "o-", color=BLUE, label="model")
    axes.plot(shots, 100 * best, color=RED, linestyle="--", label="best possible")
    axes.set(xlabel="examples", ylabel="accuracy (%)", ylim=(0, 100))
    axes.legend()
