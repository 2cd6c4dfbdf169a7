"""Quantization: weights of 8 to 2 bits (section 8.2, figure 8.2).

To produce a token, a language model reads all its weights once; what they take in memory is what it costs. Blocks of 32
neighbouring weights share a scale, and perhaps an offset, and each is a small whole number: llama.cpp's Q8_0, Q5_1,
Q4_1 and Q4_0. Its K kinds put 8 or 16 groups into a block of 256, and round the groups' scales, too
(data.quantize_blocks writes the very bytes). Rounding a trained model is enough down to 4 bits. Below, the model has to
know that it will be rounded: quantization-aware training rounds in every forward pass and passes the gradient straight
through, as if it had not (Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013; Jacob et
al., Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference, CVPR 2018). The least
that is left of a weight is its sign, or nothing: -1, 0 or 1 (Ma et al., The Era of 1-bit LLMs, 2024). How much faster
whole numbers are depends on the machine, so no bound stands there.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data.ggml_blocks import BYTES, block_of
from littlecore.nn import functional as F

from .batches_and_roofline import shortest
from .demo import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Demo, plain_numbers
from .fit import fit
from .gpt import CONTEXT, windows

Rounding = Callable[[Tensor], Tensor]
BLOCK = 32
KINDS = ("Q8_0", "Q5_1", "Q4_1", "Q4_0")
K_KINDS = ("Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K")
MIXED = "Q4_K + Q6_K"
MIX = ("wte.weight", "mlp.c_proj.weight")  # what the mixture spends more on; the embedding is the readout, too


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
    bytes_of = dict(zip((*KINDS, *K_KINDS), (34, 24, 20, 18, 26.25, 22, 18, 13.75, 10.5), strict=True))
    for kind, size in bytes_of.items():
        packed = data.quantize_blocks(weights, kind)
        demo.metric(f"{kind}, bytes for {BLOCK} weights", packed.size / weights.size * BLOCK, within=(size, size))
        error = np.square(data.dequantize_blocks(packed, kind) - weights).mean() ** 0.5
        most = 0.35 / 2 ** (int(kind[1]) - 2) if kind in K_KINDS else 0.01 if kind == "Q8_0" else 0.1
        demo.metric(f"{kind}, error / standard deviation of weights", error, at_most=most)
        if kind in KINDS:
            again = data.quantize_blocks(data.dequantize_blocks(packed, kind), kind)
            lost = np.square(data.dequantize_blocks(again, kind) - data.dequantize_blocks(packed, kind)).mean() ** 0.5
            demo.metric(f"{kind}, error of doing it twice / once", lost / error, at_most=0.1)


def whole_blocks(kind: str) -> Rounding:
    """There and back through the bytes; our rows are short, so that a block may hold several, and zeros at the end."""

    def rounded(w: Tensor) -> Tensor:
        row = w.flatten().numpy()
        row = np.pad(row, (0, -len(row) % block_of(kind)))
        back = data.dequantize_blocks(data.quantize_blocks(row, kind), kind)
        return lc.from_numpy(back[: w.numel()]).reshape(w.shape)

    return rounded


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


def with_rounded(model: models.GPT, kind_of: Callable[[str], str], measure: Callable[[], float]) -> float:
    """What is measured while each matrix is rounded to the format that `kind_of` names for it."""
    kept = {name: p.detach().clone() for name, p in matrices(model).items()}
    with lc.no_grad():
        for name, p in matrices(model).items():
            p.copy_(FORMATS[kind_of(name)][0](kept[name]))
        found = measure()
        for name, p in matrices(model).items():
            p.copy_(kept[name])
    return found


FORMATS: dict[str, tuple[Rounding, float]] = {  # and bytes a weight
    "float32": (lambda w: w, 4), "float16": (lambda w: w.half().float(), 2),
    **{kind: (whole_blocks(kind), BYTES[kind] / block_of(kind)) for kind in (*KINDS, *K_KINDS)},
    **{f"{bits} bits": (few_bits(bits), (4 + 4 * bits) / BLOCK) for bits in (3, 2)},
}  # fmt: skip


def formats(demo: Demo, model: models.GPT, held_out: Tensor) -> dict[str, tuple[float, float]]:
    """Bytes and perplexity of every format, and of a mixture."""
    others = sum(p.nbytes for p in model.parameters() if p.dim() != 2)
    ways: dict[str, Callable[[str], str]] = {kind: lambda name, kind=kind: kind for kind in FORMATS}  # type: ignore[misc]
    ways[MIXED] = lambda name: "Q6_K" if name.endswith(MIX) else "Q4_K"
    found = {}
    for way, kind_of in ways.items():
        size = sum(p.numel() * FORMATS[kind_of(name)][1] for name, p in matrices(model).items())
        found[way] = (others + size, with_rounded(model, kind_of, lambda: perplexity(model, held_out)))
    plain = found["float32"][1]
    demo.metric("float32, perplexity on unseen text", plain, at_most=14)
    gates = {"float16": 0.1, "Q8_0": 0.1, "Q6_K": 0.5, "Q5_1": 1.0, "Q5_K": 1.0, "Q4_1": 3.0, "Q4_K": 3.0}
    for name, (size, reached) in list(found.items())[1:]:
        demo.metric(f"{name}, bytes / float32's", size / found["float32"][0])
        demo.metric(f"{name}, perplexity added, %", 100 * (reached / plain - 1), at_most=gates.get(name))
    better = (found["2 bits"][1] - plain) / (found["Q2_K"][1] - plain)
    demo.metric(f"perplexity added by 2 bits in blocks of {BLOCK} / by Q2_K, which are fewer bytes", better, at_least=1)
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
    ways: dict[str, Rounding] = {"2 bits": few_bits(2), "ternary": ternary}
    found: dict[str, tuple[float, float]] = {}  # rounded afterwards, trained so
    for name, rounding in ways.items():
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
        found[name] = rounded, trained
    draw(demo, curve, plain, found)


def copied(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def draw(
    demo: Demo, curve: dict[str, tuple[float, float]], plain: float, found: dict[str, tuple[float, float]]
) -> None:
    figure = demo.figure(
        "formats",
        "Left: perplexity that rounding after training adds to float32's, against the bytes of the model: blocks of 32 "
        "(blue), the K kinds (orange), and a mixture of two of them; 0.01 % stands for less, too. Right: after some "
        "more training, the blocks' matrices in 2 bits or ternary, rounded afterwards or trained so. Dotted: float32.",
        (10.4, 4.2),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1.8, 1))
    simple = [name for name in curve if name not in (*K_KINDS, MIXED, "float32", "float16")]
    for names, colour, away in ((simple, BLUE, (4, 4)), (K_KINDS, ORANGE, (-4, -4)), ((MIXED,), PURPLE, (5, -3))):
        sizes, reached = np.array([curve[name] for name in sorted(names, key=lambda name: curve[name])]).T
        added = (100 * (reached / curve["float32"][1] - 1)).clip(0.01)  # where rounding did good, nothing was added
        left.loglog(sizes / 1000, added, "o-", color=colour)
        for name, x, y in zip(sorted(names, key=lambda name: curve[name]), sizes / 1000, added, strict=True):
            left.annotate(
                name, (x, y), away, textcoords="offset points", fontsize=9, color=colour,
                ha="left" if away[0] > 0 else "right", va="bottom" if away[1] >= 0 else "top",
            )  # fmt: skip
    left.set(xlabel="kilobytes", ylabel="perplexity added (%)")
    left.margins(0.12)
    for axis in (left.xaxis, left.yaxis):
        plain_numbers(axis)
    places = np.arange(len(found))
    for i, (when, colour) in enumerate((("rounded afterwards", RED), ("trained so", GREEN))):
        right.bar(places + 0.4 * i - 0.2, [both[i] for both in found.values()], 0.38, color=colour, label=when)
    right.axhline(plain, color=GREY, linestyle=":", linewidth=1.4)
    right.set_xticks(places, list(found))
    right.set(ylabel="perplexity", ylim=(0.8 * plain, None))
    right.legend(loc="upper left")


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
