"""Token embedding: a table with a row for every token, learned like any weights (section 4.9).

Looking a row up is a product with a one-hot vector that nobody forms; its gradient is added to the row that was used,
once for every use. Here the letters of a play get rows of two numbers, trained to predict the letter that follows
(after Bengio et al., A Neural Probabilistic Language Model, JMLR 3, 2003): letters used alike end up as neighbours.
"""

from __future__ import annotations

import re

import littlecore as lc
from littlecore import Tensor, data, nn, optim
from littlecore.nn import functional as F

from .demo import BLUE, GREY, RED, Demo

LETTERS = " abcdefghijklmnopqrstuvwxyz"
VOWELS = "aeiou"


def run(demo: Demo) -> None:
    lookup(demo)
    letters(demo)


def lookup(demo: Demo) -> None:
    table = lc.randn(1000, 32).requires_grad_()
    tokens = lc.randint(0, 1000, (64, 100))
    y = F.embedding(tokens, table)
    rows = F.one_hot(tokens, 1000).float() @ table
    demo.metric("embedding, distance to one-hot times table", (y - rows).abs().max().item(), at_most=0)

    # Whole numbers, so that sums are exact in any order.
    upstream = lc.randint(-8, 9, (64, 100, 32)).float()
    (gradient,) = lc.autograd.grad((y,), (table,), (upstream,))
    exact = F.one_hot(tokens, 1000).float().reshape(-1, 1000).mT @ upstream.reshape(-1, 32)
    demo.metric("gradient, distance to the sum over uses", (gradient - exact).abs().max().item(), at_most=0)

    noise = lc.randn(64, 100, 32)
    threads, gradients = lc.get_num_threads(), list[Tensor]()
    for count in (1, 2, 4):
        lc.set_num_threads(count)
        gradients += lc.autograd.grad((F.embedding(tokens, table),), (table,), (noise,))
    lc.set_num_threads(threads)
    same = [bool((gradient == gradients[0]).all().item()) for gradient in gradients]
    demo.metric("thread counts (1, 2, 4) with the same bits of the gradient", sum(same), at_least=3)


def pairs(text: str) -> Tensor:
    """How often a letter (row) is followed by another (column), as a share of all pairs.    [27, 27]"""
    plain = re.sub("[^a-z]+", " ", text.lower())
    tokens = lc.from_numpy(data.CharTokenizer(LETTERS).encode(plain))
    counts = lc.zeros(27 * 27).index_add(0, tokens[:-1] * 27 + tokens[1:], lc.ones(len(tokens) - 1))
    return (counts / counts.sum()).reshape(27, 27)


def letters(demo: Demo) -> None:
    share = pairs(data.shakespeare()[:200_000])
    log = share.clamp(min=1e-12).log()
    first = share.sum(1, keepdim=True)
    entropy = -(share * (log - first.log())).sum().item()  # of a letter given the one before: no loss is lower
    alone = -(first * first.log()).sum().item()  # without the one before

    model = nn.Sequential(nn.Embedding(27, 2), nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 27))
    tokens = lc.arange(27)
    optimizer = optim.Adam(model.parameters(), lr=2e-2)
    losses = []
    for _ in demo.progress(range(demo.pick(1000, 10000)), "letters"):
        loss = -(share * model(tokens).log_softmax(-1)).sum()  # all pairs at once
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    demo.metric("cross-entropy of the next letter, letter unknown (nats)", alone)
    demo.metric("cross-entropy, letter known, the table's two numbers", losses[-1])
    demo.metric(
        "share of what the letter tells that two numbers keep", (alone - losses[-1]) / (alone - entropy), at_least=0.8
    )

    table = model[0].weight.detach()
    vowels = [LETTERS.index(c) for c in VOWELS]
    squares = (table.unsqueeze(0) - table.unsqueeze(1)).square().sum(-1) + lc.eye(27) * 1e9
    nearest = squares.argmin(1).tolist()
    demo.metric("vowels whose nearest letter is a vowel, of 5", sum(nearest[v] in vowels for v in vowels), at_least=3)

    figure = demo.figure(
        "letters", "The table's two numbers for every letter (vowels red, _ the space), learned by predicting the "
        "next letter.", (6.0, 5.2)
    )  # fmt: skip
    axes = figure.subplots()
    for letter, (x, y) in zip(LETTERS, table.tolist(), strict=True):
        colour = RED if letter in VOWELS else GREY if letter == " " else BLUE
        axes.plot(x, y, "o", color=colour, markersize=15, alpha=0.15, markeredgewidth=0)
        axes.text(x, y, "_" if letter == " " else letter, color=colour, fontsize=14, ha="center", va="center")
    axes.set(xlabel="first number", ylabel="second number")
