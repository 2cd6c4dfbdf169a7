"""Causal models: one pass predicts every token from those before it (section 3.2, figure 3.1).

The chain rule makes a probability of a sequence out of probabilities of next tokens. A causal model computes all of
them at once; that is a claim about the data flow, which is proved here by changing one token and looking at the bits.
"""

from __future__ import annotations

import math

import littlecore as lc
from littlecore import Tensor, models, optim
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo

SYMBOLS, LENGTH = 8, 32


def transitions() -> Tensor:
    """A source whose next symbol depends on the one before.    [before, next], rows add up to 1"""
    return (1.5 * lc.randn(SYMBOLS, SYMBOLS)).softmax(-1)


def walks(table: Tensor, count: int, length: int) -> Tensor:
    """Sequences of the source, the first symbol uniform.    [count, length]"""
    steps = [lc.randint(0, SYMBOLS, (count,))]
    for _ in range(length - 1):
        steps.append(lc.multinomial(table[steps[-1]], 1).squeeze(1))
    return lc.stack(steps, 1)


def entropy_rate(table: Tensor) -> float:
    """The mean of -log p(next | before) in nats, before being as frequent as it is in the long run."""
    frequency = lc.full((1, SYMBOLS), 1 / SYMBOLS, dtype=lc.float64)
    table = table.double()
    for _ in range(1000):
        frequency = frequency @ table
    return -(frequency.squeeze(0) * (table * table.log()).sum(1)).sum().item()


def run(demo: Demo) -> None:
    model = models.gpt(vocab_size=SYMBOLS, block_size=LENGTH, n_layer=2, n_head=2, n_embd=32, dropout=0.0)
    causality(demo, model)
    table = transitions()
    training(demo, model, table)
    chain_rule(demo, model, walks(table, 16, LENGTH))
    sampling(demo, model, table)


def causality(demo: Demo, model: models.GPT) -> None:
    """Change token t; the logits of every s < t must not change in a single bit."""
    tokens = lc.randint(0, SYMBOLS, (1, LENGTH))
    with lc.no_grad():
        before = model(tokens)
        changed = []
        for t in range(LENGTH):
            other = tokens.clone()
            other[0, t] = (tokens[0, t].item() + 1) % SYMBOLS
            changed.append((model(other) != before).any(-1).squeeze(0))
    depends = lc.stack(changed, 1)  # [output s, input t]
    demo.metric("logits that a later token changes", depends.float().triu(1).sum().item(), at_most=0)
    wanted = LENGTH * (LENGTH + 1) // 2
    demo.metric(
        f"logits that their own or an earlier token changes, of {wanted}", depends.sum().item(), at_least=wanted
    )
    figure = demo.figure("causality", "Which output changes with which input: itself and later ones.", (4.6, 4.2))
    axes = figure.subplots()
    axes.imshow(depends.numpy(), cmap="Blues", vmin=0, vmax=1.3)
    axes.set(xlabel="changed input token", ylabel="output")
    axes.grid(False)


def training(demo: Demo, model: models.GPT, table: Tensor) -> None:
    """The cross-entropy of a good model is the entropy of its source; the perplexity is its exponential."""
    optimizer = optim.AdamW(model.parameters(), lr=3e-3)
    losses, steps = [], demo.pick(400, 2000)
    for step in demo.progress(range(steps)):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / steps)
        tokens = walks(table, 32, LENGTH)
        loss = F.cross_entropy(model(tokens[:, :-1]).reshape(-1, SYMBOLS), tokens[:, 1:].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    unseen = walks(table, 1000, 2 * LENGTH)[:, LENGTH:]  # by now the start is forgotten
    with lc.no_grad():
        test = F.cross_entropy(model(unseen[:, :-1]).reshape(-1, SYMBOLS), unseen[:, 1:].reshape(-1)).item()
    entropy, code = entropy_rate(table), -table[unseen[:, :-1], unseen[:, 1:]].log().mean().item()
    demo.metric("perplexity of the source, by its entropy", math.exp(entropy))
    demo.metric("unseen sequences under the source / by its entropy", math.exp(code - entropy), within=(0.98, 1.02))
    demo.metric("unseen sequences under the model / under the source", math.exp(test - code), within=(0.999, 1.02))
    figure = demo.figure("perplexity", "The model's perplexity comes down to the source's (dashed).")
    axes = figure.subplots()
    axes.plot([math.exp(loss) for loss in losses], color=BLUE)
    axes.axhline(math.exp(entropy), color=GREY, linestyle="--")
    axes.set(xlabel="step", ylabel="perplexity of the batch")


def chain_rule(demo: Demo, model: models.GPT, tokens: Tensor) -> None:
    """log p(x) as a sum over prefixes, one pass each, and as one pass over all."""
    with lc.no_grad():
        parts = []
        for t in range(1, LENGTH):
            parts.append(model(tokens[:, :t])[:, -1].log_softmax(-1).gather(1, tokens[:, t : t + 1]))
        stepwise = lc.cat(parts, 1).sum(1)
        at_once = model(tokens[:, :-1]).log_softmax(-1).gather(2, tokens[:, 1:].unsqueeze(-1)).sum((1, 2))
    distance = ((stepwise - at_once).abs() / at_once.abs()).max().item()
    demo.metric("log p(x) step by step and at once, relative distance", distance, at_most=1e-5)


def sampling(demo: Demo, model: models.GPT, table: Tensor) -> None:
    """Sequences drawn symbol by symbol have the transitions of the source."""
    tokens = lc.randint(0, SYMBOLS, (demo.pick(400, 4000), 1))
    with lc.no_grad():
        while tokens.shape[1] < LENGTH:
            tokens = lc.cat([tokens, lc.multinomial(model(tokens)[:, -1].softmax(-1), 1)], 1)
    pair = (tokens[:, :-1] * SYMBOLS + tokens[:, 1:]).reshape(-1)
    counts = F.one_hot(pair, SYMBOLS**2).float().sum(0).reshape(SYMBOLS, SYMBOLS)
    drawn = counts / counts.sum(1, keepdim=True)
    difference = (drawn - table).abs()
    demo.metric("transition probabilities of samples, mean distance", difference.mean().item(), at_most=0.02)
    figure = demo.figure(
        "transitions", "Each transition's probability in the source and in sampled sequences.", (4.6, 4.2)
    )
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axes.plot(table.numpy().ravel(), drawn.numpy().ravel(), "o", color=RED, markersize=4)
    axes.set(xlabel="probability in the source", ylabel="frequency in samples", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
