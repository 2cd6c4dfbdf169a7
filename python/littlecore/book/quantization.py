"""Quantization: weights of 8, 4 and 2 bits (section 8.2, figure 8.2).

To produce a token, a language model reads all its weights once; what they take in memory is what it costs. Blocks of 32
neighbouring weights share a scale, and perhaps an offset, and each is a small whole number: llama.cpp's Q8_0, Q5_1,
Q4_1 and Q4_0 (data.quantize_blocks writes the very bytes). Rounding a trained model is enough down to 4 bits. Below,
the model has to know that it will be rounded: quantization-aware training rounds in every forward pass and passes the
gradient straight through, as if it had not (Bengio et al., Estimating or Propagating Gradients Through Stochastic
Neurons, 2013; Jacob et al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, CVPR 2018). The least that is left of a weight is its sign, or nothing: -1, 0 or 1 (Ma et al., The Era of
1-bit LLMs, 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data.ggml_blocks import BYTES
from littlecore.nn import functional as F

from .batches_and_roofline import shortest
from .demo import BLUE, GREEN, GREY, RED, Demo, plain_numbers
from .fit import fit
from .gpt import CONTEXT, windows

Rounding = Callable[[Tensor], Tensor]
BLOCK = 32
KINDS = ("Q8_0", "Q5_1", "Q4_1", "Q4_0")


def run(demo: Demo) -> None:
    blocks(demo)
    text = data.shakespeare()
    tokenizer = data.CharTokenizer.of(text)
    tokens = tokenizer.encode(text)
    train, held_out = (lc.from_numpy(part) for part in np.split(tokens, [len(tokens) * 9 // 10]))
    model = models.gpt(
        vocab_size=tokenizer.vocab_size, block_size=CONTEXT, n_layer=demo.pick(2, 6), n_head=4,
        n_embd=demo.pick(64, 192), dropout=0.0,
    )  # fmt: skip
    learn(demo, model, train, demo.pick(450, 10000), demo.pick(4e-3, 1e-3), "reading")
    curve = formats(demo, model, held_out)
    aware(demo, model, train, held_out, curve)
    one_token(demo)


# ---- blocks ----------------------------------------------------------------------------------------------------------


def blocks(demo: Demo) -> None:
    """What a block costs, and what it loses of Gaussian weights."""
    weights = lc.randn(1000, 256).numpy()
    for kind, size in zip(KINDS, (34, 24, 20, 18), strict=True):
        packed = data.quantize_blocks(weights, kind)
        demo.metric(f"{kind}, bytes for {BLOCK} weights", packed.size / weights.size * BLOCK, within=(size, size))
        error = np.square(data.dequantize_blocks(packed, kind) - weights).mean() ** 0.5
        demo.metric(f"{kind}, error / standard deviation of weights", error, at_most=0.01 if kind == "Q8_0" else 0.1)
        again = data.quantize_blocks(data.dequantize_blocks(packed, kind), kind)
        lost = np.square(data.dequantize_blocks(again, kind) - data.dequantize_blocks(packed, kind)).mean() ** 0.5
        demo.metric(f"{kind}, error of doing it twice / once", lost / error, at_most=0.1)


def whole_blocks(kind: str) -> Rounding:
    """There and back through the bytes."""
    return lambda w: lc.from_numpy(data.dequantize_blocks(data.quantize_blocks(w.numpy(), kind), kind))


def few_bits(bits: int) -> Rounding:
    """As Q4_1, with codes of any number of bits: a scale and an offset for every block, in float16."""

    def rounded(w: Tensor) -> Tensor:
        x = w.unflatten(-1, (-1, BLOCK))  # [..., n] -> [..., blocks, BLOCK]
        least, most = x.amin(-1, keepdim=True), x.amax(-1, keepdim=True)
        scale = ((most - least) / (2**bits - 1)).clamp(min=1e-8)
        codes = ((x - least) / scale).round()
        return (codes * scale.half().float() + least.half().float()).flatten(-2)

    return rounded


def ternary(w: Tensor) -> Tensor:
    """-1, 0 or 1, times one scale for the whole matrix."""
    scale = w.abs().mean() + 1e-8
    return (w / scale).round().clamp(-1, 1) * scale


# ---- rounding a trained model ----------------------------------------------------------------------------------------


def learn(demo: Demo, model: models.GPT, train: Tensor, steps: int, rate: float, text: str) -> None:
    def loss() -> Tensor:
        x, y = windows(train, lc.randint(0, len(train) - CONTEXT, (32,)))
        return F.cross_entropy(model(x).flatten(0, 1), y.flatten())

    fit(demo, model, loss, steps, rate, text)


def perplexity(model: models.GPT, held_out: Tensor) -> float:
    """Among how many characters the model is as unsure as among equally likely ones."""
    x, y = windows(held_out, lc.arange(300) * CONTEXT)
    with lc.no_grad():
        return math.exp(F.cross_entropy(model(x).flatten(0, 1), y.flatten()).item())


def matrices(model: models.GPT) -> dict[str, Tensor]:
    """What is rounded: all but norms and biases."""
    return {name: p for name, p in model.named_parameters() if p.dim() == 2}


def with_rounded(model: models.GPT, rounding: Rounding, measure: Callable[[], float]) -> float:
    """What is measured while the matrices are rounded."""
    kept = {name: p.detach().clone() for name, p in matrices(model).items()}
    with lc.no_grad():
        for p in matrices(model).values():
            p.copy_(rounding(p.detach()))
        found = measure()
        for name, p in matrices(model).items():
            p.copy_(kept[name])
    return found


def formats(demo: Demo, model: models.GPT, held_out: Tensor) -> dict[str, tuple[float, float]]:
    """Bytes and perplexity of every format."""
    weights = sum(p.numel() for p in matrices(model).values())
    others = sum(p.nbytes for p in model.parameters()) - 4 * weights
    ways: dict[str, tuple[Rounding, float]] = {"float32": (lambda w: w, 4), "float16": (lambda w: w.half().float(), 2)}
    ways |= {kind: (whole_blocks(kind), BYTES[kind] / BLOCK) for kind in KINDS}
    ways |= {f"{bits} bits": (few_bits(bits), (4 + 4 * bits) / BLOCK) for bits in (3, 2)}
    found = {}
    for name, (rounding, size) in ways.items():
        found[name] = (others + size * weights, with_rounded(model, rounding, lambda: perplexity(model, held_out)))
    plain = found["float32"][1]
    demo.metric("float32, perplexity on unseen text", plain, at_most=14)
    gates = {"float16": 0.1, "Q8_0": 0.1, "Q5_1": 1.0, "Q4_1": 3.0}
    for name, (size, reached) in list(found.items())[1:]:
        demo.metric(f"{name}, bytes / float32's", size / found["float32"][0])
        demo.metric(f"{name}, perplexity added, %", 100 * (reached / plain - 1), at_most=gates.get(name))
    return found


# ---- training with rounding in mind ----------------------------------------------------------------------------------


class RoundedLinear(nn.Linear):
    """A Linear that multiplies with its rounded weight, and learns as if it did not."""

    rounding: Rounding

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight
        straight_through = weight + (self.rounding(weight.detach()) - weight.detach())
        return F.linear(input, straight_through, self.bias)


def round_inside(model: nn.Module, rounding: Rounding) -> None:
    """Every Linear of the blocks becomes a RoundedLinear of the same weights."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                own = RoundedLinear(child.in_features, child.out_features, child.bias is not None)
                own.weight, own.bias, own.rounding = child.weight, child.bias, rounding
                setattr(module, name, own)


def aware(
    demo: Demo, model: models.GPT, train: Tensor, held_out: Tensor, curve: dict[str, tuple[float, float]]
) -> None:
    """The matrices of the blocks in 2 bits or ternary; the embedding, which is the readout too, stays as it is."""
    start = copied(model)
    steps, rate = demo.pick(120, 2000), demo.pick(2e-3, 5e-4)
    learn(demo, model, train, steps, rate, "without rounding")
    plain, end = perplexity(model, held_out), copied(model)
    demo.metric("trained on, float32, perplexity", plain)
    ways: dict[str, tuple[Rounding, float]] = {"2 bits": (few_bits(2), 12 / BLOCK), "ternary": (ternary, 54 / 256)}
    found: dict[str, tuple[float, float, float]] = {}  # kilobytes, rounded afterwards, trained so
    inside = sum(p.numel() for p in model.transformer["h"].parameters() if p.dim() == 2)
    for name, (rounding, size) in ways.items():
        round_inside(model.transformer["h"], rounding)
        model.load_state_dict(end)
        rounded = perplexity(model, held_out)
        model.load_state_dict(start)
        learn(demo, model, train, steps, rate, f"with {name} inside")
        trained = perplexity(model, held_out)
        demo.metric(f"trained on, then rounded to {name}", rounded)
        demo.metric(f"trained on with {name} inside", trained, at_most=rounded - 0.1)
        avoided = (rounded - trained) / (rounded - plain)
        demo.metric(f"part of rounding's harm that this avoids, {name}", avoided, at_least=0.5)
        found[name] = (curve["float32"][0] - (4 - size) * inside) / 1000, rounded, trained
    draw(demo, curve, plain, found)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def draw(
    demo: Demo, curve: dict[str, tuple[float, float]], plain: float, found: dict[str, tuple[float, float, float]]
) -> None:
    figure = demo.figure(
        "formats",
        "Perplexity on unseen text against the bytes of the model: rounded after training to each format (blue), and "
        "its blocks alone in 2 bits or ternary after some more training without (red) and with the rounding inside "
        "(green). Dotted: float32, before (blue) and after (grey) that training.",
        (6.4, 4.4),
    )
    axes = figure.subplots()
    ordered = dict(sorted(curve.items(), key=lambda item: item[1]))
    sizes, reached = np.array(list(ordered.values())).T
    axes.axhline(curve["float32"][1], color=BLUE, linestyle=":", linewidth=1)
    axes.axhline(plain, color=GREY, linestyle=":", linewidth=1)
    axes.semilogx(sizes / 1000, reached, "o-", color=BLUE)
    for name, x, y in zip(ordered, sizes / 1000, reached, strict=True):
        axes.annotate(name, (x, y), (3, 7), textcoords="offset points", rotation=40, fontsize=9)
    for (name, (size, rounded, trained)), marker in zip(found.items(), "s^", strict=True):
        for value, colour, when in ((rounded, RED, "rounded afterwards"), (trained, GREEN, "trained so")):
            axes.plot(size, value, marker, color=colour, label=f"{name}, {when}")
    axes.set(xlabel="kilobytes", ylabel="perplexity")
    axes.legend(loc="upper right")
    plain_numbers(axes.xaxis)


# ---- what it saves ---------------------------------------------------------------------------------------------------


def one_token(demo: Demo) -> None:
    """A layer of one input, as for one token: all the time goes into reading the weights."""
    layer, x = nn.Linear(2048, 2048), lc.randn(1, 2048)
    layers = {bits: nn.QuantizedLinear.from_float(layer, bits) for bits in (8, 4)}
    with lc.no_grad():
        actions: dict[str, Callable[[], object]] = {"float32": lambda: layer(x)}
        actions |= {f"{bits} bits": lambda own=own: own(x) for bits, own in layers.items()}  # type: ignore[misc]
        seconds = shortest(actions, range(50))
    for bits in (8, 4):  # no gate: other programs on the machine decide it too
        time = seconds[f"{bits} bits"] / seconds["float32"]
        demo.metric(f"batch of 1, weights in {bits} bits, time / float32's", time)
