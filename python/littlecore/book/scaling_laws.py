"""The benefits of scale: test loss falls as a power of compute, data and size (3.7, figures 3.6, 3.7, table 3.1).

Kaplan et al. (Scaling Laws for Neural Language Models, arXiv:2001.08361) found L = (x0 / x)^a over many orders of
magnitude, with a = 0.050 for compute, 0.095 for data and 0.076 for parameters of Transformers. Small perceptrons that
predict the next character from the eight before it (Bengio et al., JMLR 2003) show such lines within seconds, over
the few orders that they span; nothing says that the exponents of so different a model and text should be the same.
The lines bend, for no model can go below the entropy of the text: L = E + (x0 / x)^a (Hoffmann et al., Training
Compute-Optimal Large Language Models, NeurIPS 2022). So R^2 reaches 0.98 on all three axes with the floor E alone; the
long form, of eight sizes and ten times the steps, reached 0.989, 0.990 and 0.925 without it, and 0.985 or more with it.
It trains Transformers too, five sizes of GPT on four amounts of text, which takes an hour or more. That has not been
run whole yet, so no bounds stand beside its numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn, optim
from littlecore.nn import functional as F

from . import gpt
from .demo import BLACK, BLUE, COLOURS, GREEN, GREY, RED, Demo
from .fit import fit

CONTEXT, BATCH = 8, 256
PETAFLOPS_DAY = 1e15 * 86400
# FLOPs: the Transformer's as its paper gives them; then 6 for each parameter and token, as the papers give these.
LANDMARKS = {
    "Transformer, big (2017)": 2.3e19,
    "GPT-3 (2020)": 6 * 175e9 * 300e9,
    "Gopher (2021)": 6 * 280e9 * 300e9,
    "Chinchilla (2022)": 6 * 70e9 * 1.4e12,
    "PaLM (2022)": 6 * 540e9 * 780e9,
    "Llama 2 70B (2023)": 6 * 70e9 * 2e12,
}
IMAGENET, MNIST = 1_281_167, 60_000  # training images
# Samples, as LeCun et al., Krizhevsky, Russakovsky et al., Lin et al., Bojar et al., Radford et al., Raffel et al. and
# Schuhmann et al. count them.
DATASETS = {
    "MNIST, digits (1998)": 70_000,
    "CIFAR-10, images (2009)": 60_000,
    "ImageNet, images of 1,000 classes (2012)": IMAGENET + 50_000 + 100_000,
    "MS COCO, images with outlines (2014)": 328_000,
    "WMT, English-German sentences (2014)": 4.5e6,
    "WebText, documents (2019)": 8e6,
    "C4, documents (2019)": 365e6,
    "LAION-5B, images with captions (2022)": 5.85e9,
}
GPTS = ((16, 3), (32, 3), (64, 4), (128, 4), (256, 4))  # width and layers: 10,000 to 3 million parameters


def run(demo: Demo) -> None:
    counting(demo)
    text = data.shakespeare()
    datasets(demo, text)
    tokenizer = data.CharTokenizer.of(text)
    tokens = tokenizer.encode(text)
    if demo.full:
        ladder(demo, lc.from_numpy(tokens), tokenizer.vocab_size, GPTS, (16_000, 64_000, 256_000, 930_000), 1000)
    rows = np.lib.stride_tricks.sliding_window_view(tokens, CONTEXT + 1)
    train, test = rows[: len(rows) * 9 // 10], rows[len(rows) * 9 // 10 :: 10]
    draw_laws(demo, Characters(tokenizer.vocab_size, lc.from_numpy(train.copy()), lc.from_numpy(test.copy())))


def counting(demo: Demo) -> None:
    """A Transformer's forward pass takes 2 FLOPs a parameter and token, and the backward pass twice as many."""
    width, layers, context, vocabulary = 256, 4, 16, 500
    model = models.gpt(vocab_size=vocabulary, block_size=context, n_layer=layers, n_head=4, n_embd=width)
    counted = nn.summary(model, lc.zeros(1, context, dtype=lc.int64), verbose=False).flops
    used = sum(p.numel() for p in model.parameters()) - context * width  # positions are only added
    demo.metric("a GPT's FLOPs, counted / 2 a parameter and token", counted / (2 * used * context), within=(0.99, 1.01))
    demo.metric("training GPT-3 by 6 a parameter and token, 10^23 FLOP", LANDMARKS["GPT-3 (2020)"] / 1e23)


class Characters:
    """Windows of a text: CONTEXT characters and the one to predict."""

    def __init__(self, symbols: int, train: Tensor, test: Tensor) -> None:
        self.symbols, self.train, self.test = symbols, train, test

    def loss(self, model: nn.Module, windows: Tensor) -> Tensor:
        return F.cross_entropy(model(windows[:, :CONTEXT]), windows[:, CONTEXT])

    def test_loss(self, model: nn.Module) -> float:
        with lc.no_grad():
            return self.loss(model, self.test).item()


class Predictor(nn.Module):
    """A perceptron on one-hot characters, one kind for each place: a row of the embedding.    [N, CONTEXT] -> [N, V]"""

    def __init__(self, symbols: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(CONTEXT * symbols, width)
        self.hidden, self.readout = nn.Linear(width, width), nn.Linear(width, symbols)
        self.places = lc.arange(CONTEXT) * symbols
        nn.init.normal_(self.embedding.weight, 0.0, CONTEXT**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.embedding(x + self.places).sum(1))  # [N, CONTEXT, width] -> [N, width]
        return self.readout(F.gelu(self.hidden(x)))

    @property
    def used(self) -> int:
        """Multiplications for a sample: of the embedding, only CONTEXT rows."""
        return CONTEXT * self.embedding.weight.shape[1] + self.hidden.weight.numel() + self.readout.weight.numel()


# ---- three sweeps ----------------------------------------------------------------------------------------------------


def sizes_and_compute(demo: Demo, text: Characters) -> tuple[dict[int, float], dict[int, tuple[Any, Any]]]:
    """For models of growing width: the test loss at the end, and the loss along the way against FLOPs spent.

    There is more text than they see, so the loss of every new batch is a test loss.
    """
    steps = demo.pick(2000, 20000)
    sizes, curves = {}, {}
    for width in demo.pick((3, 6, 12, 24, 48, 96), (3, 6, 12, 24, 48, 96, 192, 384)):
        model = Predictor(text.symbols, width)
        losses = fit(
            demo, model, lambda m=model: text.loss(m, text.train[lc.randint(0, len(text.train), (BATCH,))]),  # type: ignore[misc]
            steps, 1e-2 * min(1.0, (24 / width) ** 0.5), f"width {width}",
        )  # fmt: skip
        count = sum(p.numel() for p in model.parameters())
        sizes[count] = text.test_loss(model)
        window = 50
        spent = 6 * model.used * BATCH * np.arange(window, steps + 1) / PETAFLOPS_DAY
        curves[count] = (spent, np.convolve(losses, np.ones(window) / window, "valid"))
    return sizes, curves


def amounts(demo: Demo, text: Characters) -> dict[int, float]:
    """For growing parts of the text: the least test loss on the way, before the model learns its part by heart."""
    found = {}
    order = lc.randperm(len(text.train))
    for count in demo.progress([4**k * 1000 for k in range(5)], "data"):
        part, model = text.train[order[:count]], Predictor(text.symbols, 64)
        optimizer = optim.Adam(model.parameters(), lr=3e-3)
        best = float("inf")
        for step in range(min(demo.pick(1500, 15000), 100 + count // 20)):
            optimizer.zero_grad()
            text.loss(model, part[lc.randint(0, count, (BATCH,))]).backward()
            optimizer.step()
            if step % 50 == 49:
                best = min(best, text.test_loss(model))
        found[count] = best
    return found


def power_law(x: Any, y: Any, floor: float = 0.0) -> tuple[float, float, float]:
    """The exponent a and the x0 of y = floor + (x0 / x)^a by least squares of logarithms, and R^2."""
    x, y = np.log(x), np.log(np.asarray(y) - floor)
    slope, offset = np.polyfit(x, y, 1)
    return -slope, float(np.exp(-offset / slope)), float(np.corrcoef(x, y)[0, 1] ** 2)


def best_floor(x: Any, y: Any) -> float:
    """The E with which L - E is nearest to a power law."""
    floors = np.linspace(0, np.min(y) - 0.05, 200)
    return float(max(floors, key=lambda floor: power_law(x, y, floor)[2]))


def frontier(curves: dict[int, tuple[Any, Any]]) -> tuple[Any, Any]:
    """The least loss that any of the models has reached with that much compute."""
    first = min(spent[0] for spent, _ in curves.values())
    last = max(spent[-1] for spent, _ in curves.values())
    at = np.geomspace(3 * first, last, 40)
    reached = [np.interp(at, spent, loss, left=np.inf, right=np.inf) for spent, loss in curves.values()]
    return at, np.minimum.accumulate(np.min(reached, axis=0))


def draw_laws(demo: Demo, text: Characters) -> None:
    sizes, curves = sizes_and_compute(demo, text)
    parts = amounts(demo, text)
    laws = {
        "compute (PFLOP/s-days)": (frontier(curves), 0.050),
        "data (characters)": ((list(parts), list(parts.values())), 0.095),
        "parameters": ((list(sizes), list(sizes.values())), 0.076),
    }
    figure = demo.figure(
        "laws",
        "Test loss against compute, data and parameters; power laws without a floor (dashed) and with one (green). "
        "Left: each thin line is a model in training; the envelope of all is the least loss for that much compute.",
        (10.4, 3.6),
    )
    panels = figure.subplots(1, 3, sharey=True)
    for (spent, loss), colour in zip(curves.values(), COLOURS * 2, strict=False):
        panels[0].plot(spent, loss, color=colour, linewidth=0.8)
    for axes, (name, ((x, y), of_transformers)) in zip(panels, laws.items(), strict=True):
        word, floor = name.split()[0], best_floor(x, y)
        for low, colour, dashes in ((0.0, RED, "--"), (floor, GREEN, "-")):
            exponent, x0, quality = power_law(x, y, low)
            text_of_law = f"$(x_0/x)^{{{exponent:.3f}}}$" if low == 0 else f"${low:.2f} + (x_0/x)^{{{exponent:.2f}}}$"
            axes.loglog(x, low + (x0 / np.asarray(x)) ** exponent, dashes, color=colour, label=text_of_law)
            if low == 0:
                demo.metric(f"{word}, exponent (Kaplan et al.: {of_transformers:.3f})", exponent, within=(0.02, 0.25))
            least = 0.9 if low == 0 else 0.98
            demo.metric(f"{word}, R^2 {'with' if low else 'without'} a floor", quality, at_least=least)
        axes.loglog(x, y, "-" if word == "compute" else "o", color=BLACK if word == "compute" else BLUE)
        axes.set(xlabel=name)
        axes.legend()
    panels[1].set(xlim=(5e2, 1e6))
    panels[2].set(xlim=(1e3, 2e5))
    panels[0].set(ylabel="test loss (nats a character)")
    panels[0].set_yticks([2, 2.5, 3, 3.5, 4], ["2", "2.5", "3", "3.5", "4"])
    panels[0].set_yticks([], minor=True)
    landmarks(demo, 6 * BATCH * demo.pick(2000, 20000) * Predictor(text.symbols, 96).used)


# ---- Transformers ----------------------------------------------------------------------------------------------------


def ladder(
    demo: Demo, tokens: Tensor, symbols: int, sizes: Sequence[tuple[int, int]], amounts: Sequence[int], steps: int
) -> dict[tuple[int, int], float]:
    """The least loss on the last tenth of the text of every size of GPT on every amount of it, by (parameters, amount).

    It sees its part some twenty times at most, for it knows a small one by heart long before `steps`.
    """
    train, unseen = tokens[: len(tokens) * 9 // 10], tokens[len(tokens) * 9 // 10 :]
    found = {}
    for width, layers in sizes:
        for amount in amounts:
            model = models.gpt(vocab_size=symbols, block_size=gpt.CONTEXT, n_layer=layers, n_head=4, n_embd=width)
            rounds = min(steps, 50 + 20 * amount // (32 * gpt.CONTEXT))
            rate = 4e-3 * min(1.0, (32 / width) ** 0.5)
            text = f"GPT of width {width}, {amount:,} characters"
            count = sum(p.numel() for p in model.parameters())
            found[count, amount] = least_loss(demo, model, train[:amount], unseen, rounds, rate, text)
    draw_ladder(demo, found)
    return found


def least_loss(
    demo: Demo, model: nn.Module, train: Tensor, unseen: Tensor, steps: int, rate: float, text: str
) -> float:
    """On unseen text, of every 50th step of training and the last."""
    x, y = gpt.windows(unseen, lc.arange(200) * gpt.CONTEXT)
    calls, tests = itertools.count(), list[float]()

    def loss(x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    def test() -> None:
        with lc.no_grad():
            tests.append(loss(x, y).item())

    def batch() -> Tensor:
        if next(calls) % 50 == 0:
            test()
        return loss(*gpt.windows(train, lc.randint(0, len(train) - gpt.CONTEXT, (32,))))

    fit(demo, model, batch, steps, rate, text, warmup=steps // 20)
    test()
    return min(tests)


def draw_ladder(demo: Demo, found: dict[tuple[int, int], float]) -> None:
    figure = demo.figure(
        "ladder", "GPTs: test loss against parameters and against characters learned from.", (9.6, 3.6)
    )
    panels = figure.subplots(1, 2, sharey=True)
    names = ("parameters", "characters")
    for axis, (axes, name) in enumerate(zip(panels, names, strict=True)):
        other = names[1 - axis]
        for value, colour in zip(sorted({key[1 - axis] for key in found}), COLOURS, strict=False):
            line = sorted((key[axis], loss) for key, loss in found.items() if key[1 - axis] == value)
            axes.loglog(*zip(*line, strict=True), "o-", color=colour, label=f"{value:,} {other}")
        x, y = zip(*line, strict=True)
        exponent, _, quality = power_law(x, y)
        demo.metric(f"GPTs, exponent of {name} at the most {other}", exponent)
        demo.metric(f"GPTs, R^2 of {name} at the most {other}, without a floor", quality)
        axes.set(xlabel=name)
        axes.legend(fontsize=8)
    panels[0].set(ylabel="test loss (nats a character)")
    panels[0].set_yticks([1.5, 2, 2.5, 3], ["1.5", "2", "2.5", "3"])
    panels[0].set_yticks([], minor=True)


# ---- what others have trained, and on what ---------------------------------------------------------------------------


def trained(model: nn.Module, example: Any, samples: float) -> float:
    """FLOPs of as many samples forth and back."""
    return 3 * nn.summary(model, example, verbose=False).flops * samples


def landmarks(demo: Demo, ours: float) -> None:
    language = models.gpt(vocab_size=65, block_size=gpt.CONTEXT, n_layer=6, n_head=4, n_embd=192)
    own = {
        "width 96 of above": ours,
        "LeNet, 10 epochs of MNIST": trained(models.lenet(), (1, 1, 28, 28), 10 * MNIST),
        "GPT of section 5.3, long form": trained(language, lc.zeros(1, gpt.CONTEXT, dtype=lc.int64), 32 * 10_000),
        "AlexNet, 90 epochs of ImageNet": trained(models.alexnet(), (1, 3, 224, 224), 90 * IMAGENET),
        "ResNet-50, 120 epochs of ImageNet": trained(models.resnet50(), (1, 3, 224, 224), 120 * IMAGENET),
    }
    demo.metric("GPT-3's training in ours, powers of ten", float(np.log10(LANDMARKS["GPT-3 (2020)"] / ours)))
    caption = (
        "FLOPs of training. Red: models of this library, three times those of the forward pass, which are counted, for "
        "every sample; the epochs of AlexNet and ResNet are their papers'. Grey: from papers."
    )
    bars(demo, "landmarks", caption, "FLOP", own, LANDMARKS, (1e9, 1e28))


def datasets(demo: Demo, text: str) -> None:
    own: dict[str, float] = {
        "digits, 8 x 8 (comes with this library)": sum(map(len, data.digits())),
        "Shakespeare's lines (comes with this library)": text.count("\n"),
    }
    bars(demo, "datasets", "Samples of known data sets, and of two that come with this library (red).", "samples", own,
         DATASETS, (1e2, 1e12))  # fmt: skip


def bars(
    demo: Demo, name: str, caption: str, unit: str, own: dict[str, float], known: dict[str, float],
    limits: tuple[float, float],
) -> None:  # fmt: skip
    """A table with a bar of logarithmic length beside each number."""
    rows = sorted({**own, **known}.items(), key=lambda row: row[1])
    figure = demo.figure(name, caption, (8.4, 0.8 + 0.28 * len(rows)))
    axes = figure.subplots()
    axes.barh(range(len(rows)), [value for _, value in rows], color=[RED if key in own else GREY for key, _ in rows])
    for k, (key, value) in enumerate(rows):
        demo.say(f"  {key:<48} {value:>12,.0f} {unit}" if value < 1e9 else f"  {key:<48} {value:>12.3g} {unit}")
        axes.text(1.3 * value, k, _in_powers(value), va="center", fontsize=9)
    axes.set_yticks(range(len(rows)), [key for key, _ in rows])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel=unit, xlim=limits)


def _in_powers(value: float) -> str:
    """Large numbers as 3.15 x 10^23, for matplotlib's math."""
    mantissa, _, power = f"{value:.2e}".partition("e")
    return f"{value:,.0f}" if value < 1e7 else rf"${mantissa} \times 10^{{{int(power)}}}$"
