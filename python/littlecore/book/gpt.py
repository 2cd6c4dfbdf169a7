"""GPT: a Transformer's decoder alone, trained to say what comes next (section 5.3, figure 5.8).

The Generative Pre-trained Transformer (Radford et al., 2018 and 2019) is a stack of causal attention and perceptrons
whose only task is the next token. A small one reads Shakespeare by characters, beside tables that count how often each
character followed the one, two or three before it: what such a table knows, the model has to find out first.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models
from littlecore.nn import functional as F

from .demo import BLUE, COLOURS, Demo
from .fit import fit

CONTEXT = 64


def run(demo: Demo) -> None:
    sizes(demo)
    text = data.shakespeare()
    tokenizer = data.CharTokenizer.of(text)
    tokens = tokenizer.encode(text)
    train, held_out = np.split(tokens, [len(tokens) * 9 // 10])
    model = language(demo, tokenizer, train, held_out)
    cache(demo, model, lc.from_numpy(held_out[: 4 * CONTEXT]).reshape(4, CONTEXT))
    caption = f"GPT-2 small on {CONTEXT} tokens; the framed block repeats. The readout's weight is the embedding's."
    demo.drawing("diagram", caption, models.gpt(), lc.zeros(1, CONTEXT, dtype=lc.int64))


# ---- how large -------------------------------------------------------------------------------------------------------


def parameters(vocabulary: int, context: int, layers: int, width: int) -> int:
    """Embeddings, then a block's 4 matrices of attention and 2 of its perceptron, all with biases, and the norms."""
    block = 12 * width**2 + 13 * width
    return (vocabulary + context) * width + layers * block + 2 * width


def sizes(demo: Demo) -> None:
    small = models.gpt(vocab_size=100, block_size=20, n_layer=3, n_head=2, n_embd=16)
    counted = sum(p.numel() for p in small.parameters())
    demo.metric("a small model's parameters, counted - by formula", counted - parameters(100, 20, 3, 16), within=(0, 0))
    gpt2, gpt3 = parameters(50257, 1024, 12, 768), parameters(50257, 2048, 96, 12288)
    demo.metric("parameters of GPT-2 small", gpt2, within=(124_439_808, 124_439_808))
    demo.metric("parameters of GPT-3, 10^9", gpt3 / 1e9, within=(174, 176))


# ---- Shakespeare -----------------------------------------------------------------------------------------------------


def table_loss(train: np.ndarray, test: np.ndarray, symbols: int, before: int) -> float:
    """Nats a character of a table: how often each follows the `before` last ones, 0.1 added to every count."""

    def keys(tokens: np.ndarray, length: int) -> np.ndarray:
        """Every `length` neighbours as one number."""
        count = len(tokens) - length + 1
        return sum((tokens[i : i + count] * symbols ** (length - 1 - i) for i in range(length)), np.zeros(count, int))

    def counts(length: int) -> np.ndarray:
        found, times = np.unique(keys(train, length), return_counts=True)
        wanted = keys(test, length)
        place = np.searchsorted(found, wanted).clip(max=len(found) - 1)
        return np.where(found[place] == wanted, times[place], 0)

    with_next, context = counts(before + 1), counts(before)[: len(test) - before]
    return float(-np.log((with_next + 0.1) / (context + 0.1 * symbols)).mean())


def windows(tokens: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """CONTEXT tokens from every start, and the token behind each of them.    [N] -> 2 x [N, CONTEXT]"""
    rows = tokens[starts.unsqueeze(1) + lc.arange(CONTEXT + 1)]
    return rows[:, :-1], rows[:, 1:]


def language(demo: Demo, tokenizer: data.CharTokenizer, train: np.ndarray, held_out: np.ndarray) -> models.GPT:
    width, layers = demo.pick((64, 2), (192, 6))
    model = models.gpt(
        vocab_size=tokenizer.vocab_size, block_size=CONTEXT, n_layer=layers, n_head=4, n_embd=width, dropout=0.0
    )
    tokens, steps = lc.from_numpy(train), demo.pick(600, 10000)
    stages = (0, steps // 20, steps // 4)
    samples: dict[int, str] = {}
    losses: list[float] = []

    def loss() -> Tensor:
        if len(losses) in stages:
            samples[len(losses)] = written(model, tokenizer)
        x, y = windows(tokens, lc.randint(0, len(tokens) - CONTEXT, (32,)))
        value = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
        losses.append(value.item())
        return value

    fit(demo, model, loss, steps, demo.pick(4e-3, 1e-3), "reading")
    samples[steps] = written(model, tokenizer)
    x, y = windows(lc.from_numpy(held_out), lc.arange(300) * CONTEXT)
    with lc.no_grad():
        unseen = F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item()
    tables = [table_loss(train, held_out, tokenizer.vocab_size, before) for before in range(4)]
    for before, nats in enumerate(tables):
        demo.metric(f"unseen text, nats a character, table of {before} before", nats)
    demo.metric("unseen text, nats a character, GPT", unseen, at_most=tables[1] - 0.1)

    figure = demo.figure(
        "reading", "Loss of each batch, and what tables of 0 to 3 characters before reach on unseen text (dashed)."
    )
    axes = figure.subplots()
    axes.plot(losses, color=BLUE, linewidth=0.8)
    for before, (nats, colour) in enumerate(zip(tables, COLOURS[1:], strict=False)):
        axes.axhline(nats, color=colour, linestyle="--", linewidth=1.2, label=f"table, {before} before")
    axes.set(xlabel="step", ylabel="cross-entropy (nats a character)")
    axes.legend()
    show_samples(demo, samples)
    return model


def written(model: models.GPT, tokenizer: data.CharTokenizer) -> str:
    """What the model makes of a new line, one character at a time, at a temperature a little below 1."""
    start = lc.from_numpy(tokenizer.encode("\n")).unsqueeze(0)
    return tokenizer.decode(model.generate(start, 3 * CONTEXT, temperature=0.8)[0].tolist())


def show_samples(demo: Demo, samples: dict[int, str]) -> None:
    figure = demo.figure("samples", "What the model writes after some steps of training.", (9.6, 2.3))
    for axes, (steps, text) in zip(figure.subplots(1, len(samples)), samples.items(), strict=True):
        lines = [line[i : i + 26] for line in text.strip("\n").split("\n") for i in range(0, max(1, len(line)), 26)]
        axes.text(0, 1, "\n".join(lines[:16]), family="monospace", fontsize=8, va="top", parse_math=False)
        axes.set_title(f"{steps:,} steps", loc="left")
        axes.axis("off")


# ---- writing with a cache --------------------------------------------------------------------------------------------


def cache(demo: Demo, model: models.GPT, tokens: Tensor) -> None:
    """Keys and values of past tokens never change: keep them, and each new token costs one row, not all again."""
    with lc.no_grad():
        at_once = model(tokens)
        memory = model.make_cache(len(tokens))
        stepwise = lc.cat([model(tokens[:, t : t + 1], memory) for t in range(CONTEXT)], 1)
    demo.metric("logits that differ with a cache, token by token", (at_once != stepwise).sum().item(), at_most=0)
    again, once = CONTEXT * (CONTEXT + 1) / 2, CONTEXT
    demo.metric(f"rows computed for {CONTEXT} tokens, without a cache / with", again / once)
