"""The Transformer: an encoder reads a sequence, a decoder writes another one token by token (section 5.3, figure 5.7).

It was made to translate (Vaswani et al., Attention Is All You Need, NeurIPS 2017), and sequences of integers are the
smallest languages there are. One model learns to copy, to reverse and to sort, as the first token says; another learns
to add. Cross-attention, the weights with which each output looks at the inputs, shows how they do it.

With `--data FOLDER` it translates what programs say into German, as the catalogues of gettext below the folder have it,
/usr/share/locale for one, and is measured by chrF (Popović, WMT 2015): how many runs of up to six letters are right.
After the quick form's 400 steps that is 16 %, less than the 28 % of the English itself, which shares names and letters
with the German; the long form takes an hour or more and has not been run whole yet, so no bound stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.nn import functional as F

from .demo import BLACK, BLUE, Demo
from .diagrams import STEP, Column, Part, Repeated, draw_column, finish, height, layer, parameters
from .fit import fit

TAKES = "catalogues of gettext: de/LC_MESSAGES/*.mo"
SYMBOLS, LENGTH = 16, 6  # of the sequences to rewrite
TASKS = ("copy", "reverse", "sort")  # tokens SYMBOLS, SYMBOLS + 1, SYMBOLS + 2
DIGITS, PLUS = 3, 10
Pairs = tuple[Tensor, Tensor]


def run(demo: Demo) -> None:
    if demo.data is not None:
        translation(demo, demo.data)
        return
    rewriting(demo)
    addition(demo)
    diagram(demo)


# ---- how it is built -------------------------------------------------------------------------------------------------


def diagram(demo: Demo) -> None:
    """The paper's base model, with layer norm first as in the book's figure 5.6; S words are read, T are written."""
    model = models.transformer(37_000, 37_000)
    encoder, decoder = model.transformer.encoder, model.transformer.decoder
    read, write = encoder.layers[0], decoder.layers[0]

    def feed_forward(block: Any, norm: nn.Module, shape: str, hidden: str) -> tuple[Part, ...]:
        parts = [layer("LayerNorm", norm), layer("Linear", block.linear1), Part("ReLU"), layer("Linear", block.linear2)]
        shapes = (shape, hidden, hidden, shape)
        return (*(replace(p, shape=s) for p, s in zip(parts, shapes, strict=True)), Part("+", shape, skip=4))

    def attention(name: str, norm: nn.Module, module: nn.Module, shape: str) -> tuple[Part, ...]:
        parts = (layer("LayerNorm", norm), layer(name, module), Part("+", skip=2))
        return tuple(replace(part, shape=shape) for part in parts)

    s, t = f"S x {model.dim}", f"T x {model.dim}"
    reader: Column = [
        replace(layer("Embedding", model.source_embedding), shape=s), Part("+ positions", s),
        Repeated((
            *attention("Self-attention", read.norm1, read.self_attn, s), *feed_forward(read, read.norm2, s, "S x 2048"),
        ), len(encoder.layers)),
        replace(layer("LayerNorm", encoder.norm), shape=s),
    ]  # fmt: skip
    writer: Column = [
        replace(layer("Embedding", model.target_embedding), shape=t), Part("+ positions", t),
        Repeated((
            *attention("Causal attention", write.norm1, write.self_attn, t),
            *attention("Cross-attention", write.norm2, write.multihead_attn, t),
            *feed_forward(write, write.norm3, t, "T x 2048"),
        ), len(decoder.layers)),
        replace(layer("LayerNorm", decoder.norm), shape=t), replace(layer("Linear", model.readout), shape="T x 37000"),
    ]  # fmt: skip
    counted = sum(p.numel() for p in model.parameters())
    drawn = parameters(reader) + parameters(writer)
    demo.metric("the paper's base model, parameters in the diagram", drawn, within=(counted, counted))
    figure = demo.figure(
        "diagram",
        "The Transformer that translates: the encoder (left) reads, the decoder (right) writes and looks at what the "
        "encoder made of all that it read. Layers with parameters are filled, the framed blocks repeat.",
        (7.2, STEP * (height(writer) + 2)),
    )
    axes, apart = figure.subplots(), 5.6
    draw_column(axes, "S tokens", reader)
    places = draw_column(axes, "T tokens", writer, apart, 1)
    top, across = height(reader) - 0.24, places["Cross-attention"]
    axes.plot((0, apart / 2, apart / 2), (top, top, across), color=BLACK, linewidth=1.1)
    arrow = {"arrowstyle": "->", "color": BLACK, "linewidth": 1.1}
    axes.annotate("", (apart - 1, across), (apart / 2, across), arrowprops=arrow)
    finish(axes, "", -2.2, apart + 2.2, height(writer))


# ---- what both share -------------------------------------------------------------------------------------------------


def behind(begin: int, target: Tensor) -> Tensor:
    """What the decoder is given: at every step the token before the one to be written.    [N, T] -> [N, T]"""
    return lc.cat([lc.full((len(target), 1), begin, dtype=lc.int64), target[:, :-1]], 1)


def trained(
    demo: Demo, draw: Callable[[int], Pairs], vocabulary: int, steps: int, text: str
) -> tuple[models.TransformerSeq2Seq, list[float]]:
    """A Transformer that has learned `draw`'s targets from its sources; token `vocabulary` begins a target."""
    model = models.transformer(vocabulary, vocabulary + 1, dim=48, heads=4, layers=2, hidden=96, dropout=0.0)

    def loss() -> Tensor:
        source, target = draw(64)
        return F.cross_entropy(model(source, behind(vocabulary, target)).flatten(0, 1), target.flatten())

    return model, fit(demo, model, loss, steps, 2e-3, text, warmup=steps // 10)


def exact(model: models.TransformerSeq2Seq, source: Tensor, target: Tensor, begin: int) -> Tensor:
    """Whether the model writes the target without any mistake.    [N]"""
    written = model.generate(source, begin, -1, target.shape[1])
    return (written[:, 1:] == target).all(-1)


def attention_of(modules: Iterable[nn.Module], call: Callable[[], object]) -> list[Tensor]:
    """The weights of MultiheadAttention `modules` during call(), mean of their heads.    each [N, T, S]"""
    weights: list[Tensor] = []

    def look(module: Any, args: tuple[Any, ...], kwargs: Any, output: Any) -> None:
        weights.append(module.forward(*args, need_weights=True)[1])

    hooks = [module.register_forward_hook(look, with_kwargs=True) for module in modules]
    with lc.no_grad():
        call()
    for hook in hooks:
        hook.remove()
    return weights


def cross_attention(model: models.TransformerSeq2Seq, source: Tensor, target: Tensor, begin: int) -> list[Tensor]:
    """How much every output looks at every input, in each layer of the decoder.    each [N, T, S]"""
    modules = [layer.multihead_attn for layer in model.transformer.decoder.layers]
    return attention_of(modules, lambda: model(source, behind(begin, target)))


def heat_map(axes: Any, weights: Tensor, sources: list[str], targets: list[str], title: str) -> None:
    axes.imshow(weights.numpy(), vmin=0, cmap="Blues")
    axes.set_xticks(range(len(sources)), sources)
    axes.set_yticks(range(len(targets)), targets)
    axes.tick_params(length=0)
    axes.xaxis.tick_top()
    axes.set_title(title)
    axes.grid(False)


# ---- copy, reverse, sort ---------------------------------------------------------------------------------------------


def rewritten(count: int) -> Pairs:
    """A task and a sequence, and what the task makes of it.    [count, 1 + LENGTH], [count, LENGTH]"""
    sequence, task = lc.randint(0, SYMBOLS, (count, LENGTH)), lc.randint(0, len(TASKS), (count, 1))
    target = lc.where(task == 0, sequence, lc.where(task == 1, sequence.flip(1), sequence.sort(1)[0]))
    return lc.cat([SYMBOLS + task, sequence], 1), target


def rewriting(demo: Demo) -> None:
    begin = SYMBOLS + len(TASKS)
    model, _ = trained(demo, rewritten, begin, demo.pick(800, 5000), "copy, reverse, sort")
    source, target = rewritten(1500)
    right = exact(model, source, target, begin)
    for k, task in enumerate(TASKS):
        accuracy = right[source[:, 0] == SYMBOLS + k].float().mean().item()
        demo.metric(f"{task}, new sequences without a mistake", accuracy, at_least=0.99)

    figure = demo.figure(
        "rewriting",
        "One Transformer, three tasks: what each output (row) looks at in the same input (columns). The first column "
        "is the token that names the task. The decoder's last layer, mean of its heads.",
        (10.4, 3.8),
    )
    sequence = lc.tensor([[7, 2, 15, 0, 9, 4]])
    targets = (sequence, sequence.flip(1), sequence.sort(1)[0])
    for k, (axes, task, wanted) in enumerate(zip(figure.subplots(1, 3), TASKS, targets, strict=True)):
        asked = lc.cat([lc.tensor([[SYMBOLS + k]]), sequence], 1)
        weights = cross_attention(model, asked, wanted, begin)[-1].squeeze(0)
        columns, rows = ([str(token) for token in part.flatten().tolist()] for part in (sequence, wanted))
        heat_map(axes, weights, ["•", *columns], rows, task)


# ---- addition --------------------------------------------------------------------------------------------------------


def additions(count: int) -> Pairs:
    """Two numbers with a plus between them, and their sum, units first as on paper.    [count, 7], [count, 4]"""
    a, b = lc.randint(0, 10, (2, count, DIGITS)).unbind(0)
    place = lc.tensor([10**k for k in range(DIGITS + 1)])
    total = ((a + b) * place[:DIGITS].flip(0)).sum(1, keepdim=True)
    return lc.cat([a, lc.full((count, 1), PLUS, dtype=lc.int64), b], 1), total // place % 10


def addition(demo: Demo) -> None:
    begin = PLUS + 1
    steps = demo.pick(1500, 6000)
    model, losses = trained(demo, additions, begin, steps, "addition")
    source, target = additions(2000)
    right = exact(model, source, target, begin)
    demo.metric("additions seen in training, share of all", 64 * steps / 100**DIGITS, at_most=0.5)
    demo.metric("addition, sums without a mistake", right.float().mean().item(), at_least=0.99)
    a, b = source[:, :DIGITS], source[:, DIGITS + 1 :]
    carries = (a + b)[:, 1:] >= 9
    chained = carries.all(1)  # every place but the first has, or may pass on, a carry
    demo.metric("addition, sums with carries through all places", right[chained].float().mean().item(), at_least=0.97)

    figure = demo.figure(
        "addition",
        "Learning to add, units first. Left: loss. Right: what each digit of the sum (row) looks at in the two "
        "numbers (columns): its own place in both, and the place below, whose carry it needs. Mean over 2,000 sums, "
        "all layers and heads.",
        (9.6, 4.0),
    )
    left, right_axes = figure.subplots(1, 2, width_ratios=(1, 1.3))
    left.semilogy(losses, color=BLUE)
    left.set(xlabel="step", ylabel="cross-entropy (nats)")
    weights = lc.stack(cross_attention(model, source, target, begin)).mean((0, 1))
    heat_map(right_axes, weights, ["100", "10", "1", "+", "100", "10", "1"], ["1", "10", "100", "1000"], "")


# ---- German ----------------------------------------------------------------------------------------------------------

LONGEST, ORDERS = 48, 6  # characters of a sentence; runs of 1 to ORDERS letters are compared


def sentences(folder: Path) -> list[tuple[str, str]]:
    """Short ones without codes, whose German is not the English; the marks of their keys ("_Open") left out."""
    pairs = [(a.replace("_", ""), b.replace("_", "")) for a, b in data.read_catalogues(folder, "de")]
    return [
        (a, b) for a, b in dict(pairs).items()
        if a != b and max(len(a), len(b)) <= LONGEST and not set(a + b) & set("%\n<{$")
    ]  # fmt: skip


def rows(tokenizer: data.BytePairTokenizer, texts: Sequence[str]) -> Tensor:
    """Tokens, <end>, and padding up to the longest.    [N, T]"""
    end, padding = tokenizer.vocab_size, tokenizer.vocab_size + 1
    encoded = [tokenizer.encode(text) for text in texts]
    found = np.full((len(texts), 1 + max(map(len, encoded))), padding)
    for row, tokens in zip(found, encoded, strict=True):
        row[: len(tokens)], row[len(tokens)] = tokens, end
    return lc.from_numpy(found)


def chrf(written: Sequence[str], true: Sequence[str]) -> float:
    """The F-score of runs of letters, in which recall counts twice as much as precision, in percent."""
    shares = []
    for order in range(1, ORDERS + 1):
        counts = np.zeros(3)  # right, written, wanted
        for pair in zip(written, true, strict=True):
            letters = ("".join(text.split()) for text in pair)
            a, b = (Counter(x[i : i + order] for i in range(len(x) - order + 1)) for x in letters)
            counts += ((a & b).total(), a.total(), b.total())
        shares.append(counts[0] / np.maximum(counts[1:], 1))
    precision, recall = np.mean(shares, 0)
    return float(100 * 5 * precision * recall / max(4 * precision + recall, 1e-9))


def translation(demo: Demo, folder: Path) -> None:
    pairs = sentences(folder)
    order = np.random.default_rng(0).permutation(len(pairs))
    held_out = min(500, len(pairs) // 5)
    test, train = ([pairs[i] for i in part] for part in (order[:held_out], order[held_out:]))
    tokenizer = data.BytePairTokenizer.train("\n".join(text for pair in train for text in pair), demo.pick(600, 2000))
    end, padding, begin = (tokenizer.vocab_size + k for k in range(3))
    source, target = (rows(tokenizer, texts) for texts in zip(*train, strict=True))
    width, layers = demo.pick((64, 1), (192, 3))
    model = models.transformer(begin, begin + 1, dim=width, heads=4, layers=layers, hidden=4 * width, padding=padding)

    def loss() -> Tensor:
        chosen = lc.randint(0, len(source), (64,))
        x, y = source[chosen], target[chosen]
        x, y = (z[:, : int((z != padding).sum(1).max().item())] for z in (x, y))
        return F.cross_entropy(model(x, behind(begin, y)).flatten(0, 1), y.flatten(), ignore_index=padding)

    losses = fit(demo, model, loss, demo.pick(400, 12000), demo.pick(3e-3, 1e-3), "German", warmup=demo.pick(40, 600))
    model.eval()
    english, german = (list(texts) for texts in zip(*test, strict=True))
    written = []
    for part in rows(tokenizer, english).split(100):
        tokens = model.generate(part, begin, end, LONGEST)[:, 1:].tolist()
        written += [tokenizer.decode(row[: row.index(end)] if end in row else row) for row in tokens]
    copied, reached = chrf(english, german), chrf(written, german)
    demo.metric("sentences to learn from", len(train))
    demo.metric("chrF of the English itself, %", copied)
    demo.metric("chrF of the translation, %", reached)
    right = [a == b for a, b in zip(written, german, strict=True)]
    demo.metric("sentences without a mistake, %", 100 * float(np.mean(right)))
    for a, b, c in list(zip(english, written, german, strict=True))[:8]:
        demo.say(f"  {a}  ->  {b}" + ("" if b == c else f"  (asked for: {c})"))
    figure = demo.figure("translation", "Learning to translate: loss of each batch.")
    axes = figure.subplots()
    axes.semilogy(losses, color=BLUE, linewidth=0.6)
    axes.set(xlabel="step", ylabel="cross-entropy (nats a token)")
