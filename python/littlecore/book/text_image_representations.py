"""Text-image representations: one space for images and what is said of them (section 6.6, figure 6.4).

CLIP (Radford et al., ICML 2021) has two encoders, a Vision Transformer for images and a GPT for texts, and pulls the
vectors of an image and its caption together and all others of the batch apart. No class is ever named: to classify an
image is to ask which sentence comes closest. So it can tell apart what it has never seen, if it knows the words: here a
quarter of all colours with shapes stand in no training scene. Asked to choose among the seen ones too, it leans to
those (Chao et al., Generalized Zero-Shot Learning, ECCV 2016): that nothing red was ever a disc, it has learned as
well, and is right in a tenth of the scenes at most, so that no bound stands there.

Captions, as people write them, do not always say all there is: "a red disc", "a red shape" or "a disc". Few scenes
teach a Vision Transformer little of shapes; it gets its patches from some convolutions (Xiao et al., Early Convolutions
Help Transformers See Better, NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.data.scenes import COLOURS, PAIRS, SHAPES
from littlecore.models.ssd import half

from .demo import BLUE, GREY, Demo
from .fit import fit

SIZE, BATCH = 32, 32
UNSEEN = tuple((colour, shape) for colour in ("red", "green", "blue") for shape in ("disc", "star"))
SEEN = tuple(pair for pair in PAIRS if pair not in UNSEEN)
WORDS = ("<end>", "<begin>", "a", "shape", *COLOURS, *SHAPES)
LENGTH = 5  # of "<begin> a red disc <end>"


def run(demo: Demo) -> None:
    model = network()
    caption = "The network: one vector from an image, one from a sentence."
    demo.drawing("clip", caption, model, (1, 3, SIZE, SIZE), lc.zeros(1, LENGTH, dtype=lc.int64))
    losses = learn(demo, model)
    zero_shot(demo, model)
    similarity(demo, model, losses)


def network() -> models.CLIP:
    model = models.clip(
        embed_dim=32, image_size=SIZE, patch_size=8, vision_width=64, vision_heads=4, vision_layers=1,
        vocab_size=len(WORDS), text_length=LENGTH, text_width=32, text_heads=2, text_layers=1, end=0,
    )  # fmt: skip
    model.vision_model.embeddings.patch_embedding = nn.Sequential(half(3, 16), half(16, 32), half(32, 64))
    return model


def tokens(captions: list[str]) -> Tensor:
    """[N, LENGTH]; behind <end> comes more of it, which nobody reads."""
    rows = [[WORDS.index(word) for word in ("<begin>", *caption.split())] for caption in captions]
    return lc.tensor([row + [0] * (LENGTH - len(row)) for row in rows])


def caption(pair: tuple[str, str]) -> str:
    return f"a {pair[0]} {pair[1]}"


def scenes(pairs: Sequence[tuple[str, str]], count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Scenes with one object of `pairs`, and which of PAIRS it is.    [count, 3, SIZE, SIZE], [count]"""
    found = data.scenes(count, SIZE, objects=(1, 1), radius=(0.32, 0.45), pairs=pairs, grain=0.02, seed=seed)
    return lc.from_numpy(found.images), lc.from_numpy(found.colours[:, 0] * len(SHAPES) + found.shapes[:, 0])


def learn(demo: Demo, model: models.CLIP, shown: Sequence[tuple[str, str]] = SEEN) -> list[float]:
    images, pairs = scenes(shown, demo.pick(4000, 30000), 0)
    forms = lc.stack([
        tokens([caption(pair) for pair in PAIRS]),
        tokens([f"a {colour} shape" for colour, _ in PAIRS]),
        tokens([f"a {shape}" for _, shape in PAIRS]),
    ])  # fmt: skip
    often = lc.tensor([0.34, 0.16, 0.5])

    def loss() -> Tensor:
        rows, form = lc.randint(0, len(images), (BATCH,)), lc.multinomial(often, BATCH, replacement=True)
        return model.loss(model(images[rows], forms[form, pairs[rows]]))

    losses = fit(demo, model, loss, demo.pick(1100, 15000), 2e-3)
    model.eval()
    return losses


# ---- what it can say -------------------------------------------------------------------------------------------------


def chances(model: models.CLIP, images: Tensor, captions: list[str]) -> Tensor:
    """The probability of every caption for each image.    [N, captions]"""
    with lc.no_grad():
        return model(images, tokens(captions)).softmax(-1)


def zero_shot(demo: Demo, model: models.CLIP) -> None:
    captions = [caption(pair) for pair in PAIRS]
    unseen = lc.tensor([PAIRS.index(pair) for pair in UNSEEN])
    images, true = scenes(SEEN, 300, 1)
    accuracy = (chances(model, images, captions).argmax(-1) == true).float().mean().item()
    demo.metric("seen pairs, told from all 24", accuracy, at_least=0.9)
    images, true = scenes(UNSEEN, 300, 1)
    likely = chances(model, images, captions)
    accuracy = (unseen[likely[:, unseen].argmax(-1)] == true).float().mean().item()
    demo.metric("unseen pairs, told from the 6 unseen", accuracy, at_least=0.9)
    demo.metric("unseen pairs, told from all 24", (likely.argmax(-1) == true).float().mean().item())

    figure = demo.figure(
        "zero_shot",
        "Scenes of pairs that no training scene had, and the five sentences of such pairs that come closest (blue: the "
        "right one).",
        (9.6, 4.4),
    )
    images, true = scenes(UNSEEN, 8, 2)
    captions = [caption(pair) for pair in UNSEEN]
    rows = chances(model, images, captions)
    grid = figure.subplots(4, 4, width_ratios=(1, 2.2, 1, 2.2))
    for k, (picture, bars) in enumerate(grid.reshape(8, 2)):
        picture.imshow(images[k].permute(1, 2, 0).numpy())
        picture.axis("off")
        best = rows[k].argsort(descending=True)[:5]
        colours = [BLUE if PAIRS.index(UNSEEN[i]) == true[k].item() else GREY for i in best.tolist()]
        draw_bars(bars, [captions[i] for i in best.tolist()], rows[k][best].tolist(), colours)


def draw_bars(axes: Any, texts: list[str], values: list[float], colours: list[str]) -> None:
    places = range(len(texts))
    axes.barh(places, values, color=colours, height=0.7)
    axes.set_yticks(places, texts, fontsize=7)
    axes.set(xlim=(0, 1), xticks=[])
    axes.invert_yaxis()
    axes.grid(False)


def similarity(demo: Demo, model: models.CLIP, losses: list[float]) -> None:
    """Every pair's image against every pair's sentence."""
    captions = [caption(pair) for pair in PAIRS]
    images, true = scenes(PAIRS, 600, 3)
    with lc.no_grad():
        texts, vectors = model.encode_text(tokens(captions)), model.encode_image(images)
    images = lc.stack([vectors[true == k].mean(0) for k in range(len(PAIRS))])
    cosine = images @ texts.mT  # [pairs, pairs]
    own = cosine.diagonal().mean().item()
    other = (cosine.sum() - cosine.diagonal().sum()).item() / (len(PAIRS) * (len(PAIRS) - 1))
    demo.metric("cosine of image and own sentence, mean", own)
    demo.metric("cosine of own sentence - of others, mean", own - other, at_least=0.3)

    figure = demo.figure(
        "similarity",
        "Left: loss of each batch. Right: cosine of the mean image of every pair (rows) and every sentence (columns); "
        "pairs that were never seen have a star.",
        (10.4, 5.4),
    )
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
    left.plot(losses, color=BLUE, linewidth=0.6)
    left.set(xlabel="step", ylabel="cross-entropy (nats)")
    picture = right.imshow(cosine.numpy(), cmap="cividis")
    names = [f"{colour} {shape}{' *' if (colour, shape) in UNSEEN else ''}" for colour, shape in PAIRS]
    right.set_yticks(range(len(PAIRS)), names, fontsize=7)
    right.set_xticks(range(len(PAIRS)), names, fontsize=7, rotation=90)
    right.grid(False)
    figure.colorbar(picture, ax=right, shrink=0.8)
