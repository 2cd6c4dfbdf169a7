"""Self-supervised training: to learn from images that nobody has named (missing bits, bits.5).

Two views of one image, moved and turned at random, should be described alike and everything else differently. Barlow
Twins (Zbontar et al., ICML 2021) asks that each number of the description agree between the views and that different
numbers be uncorrelated: their cross-correlation over a batch is to be the identity. Masked training (He et al., Masked
Autoencoders Are Scalable Vision Learners, CVPR 2022) hides most of an image and asks for it. What was learned is judged
by a linear classifier on the frozen description, taught with few labels, beside the same network untrained.

Twins gain some eleven points from five digits of each class. Masks gain two on average, but from seed to seed between
one less and four more, so that no bound stands beside them. How much is hidden differs from image to image: where it is
always the same part, whole images are strange to the network, and nothing is gained.
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, nn
from littlecore.nn import functional as F

from .demo import BLUE, GREEN, GREY, Demo
from .fit import fit
from .training_protocols import flat

SIZE, PATCH, BATCH, FEATURES = 16, 4, 128, 64
MOVED = data.RandomAffine(degrees=15, translate=0.1, scale=(0.85, 1.15), shear=8)
SIDE = SIZE // PATCH


def run(demo: Demo) -> None:
    train, test = (flat(part) for part in data.digits(SIZE))
    twins = barlow_twins(demo, train[0])
    masked, painter = masked_training(demo, train[0])
    untrained: list[nn.Module] = [encoder() for _ in range(5)]
    encoders = {"random": untrained, "masked": [masked], "twins": [twins]}
    probes(demo, encoders, train, test)
    show(demo, painter, test[0])


def encoder() -> nn.Sequential:
    """[N, 1, 16, 16] -> [N, FEATURES]"""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 16, FEATURES),
    )  # fmt: skip


# ---- twins -----------------------------------------------------------------------------------------------------------


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Of every number of a with every number of b, over the batch.    [N, D], [N, D] -> [D, D]"""
    a, b = ((x - x.mean(0)) / (x.var(0) + 1e-5).sqrt() for x in (a, b))
    return a.mT @ b / len(a)


def barlow_twins(demo: Demo, images: Tensor) -> nn.Module:
    model = encoder()
    projector = nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, 128))
    both = nn.Sequential(model, projector)
    pixels, calls = images.numpy(), 0

    def view(rows: np.ndarray) -> Tensor:
        nonlocal calls
        calls += 1
        moved = MOVED(pixels[rows], data.SampleRandom(0, calls, rows))
        return lc.from_numpy(np.ascontiguousarray(moved))

    def loss() -> Tensor:
        rows = lc.randperm(len(pixels))[:BATCH].numpy()
        c = correlation(both(view(rows)), both(view(rows)))
        wrong = (c - lc.eye(len(c))).square()
        own = wrong.diagonal().sum()
        return own + 0.02 * (wrong.sum() - own)

    losses = fit(demo, both, loss, demo.pick(1200, 8000), 2e-3, "twins")
    demo.metric("twins, loss at the end / at the start", np.mean(losses[-20:]) / losses[0], at_most=0.7)
    return model


# ---- masks -----------------------------------------------------------------------------------------------------------


def hidden(share: Tensor) -> Tensor:
    """0 where a patch is hidden, else 1.    [N, 1, 1, 1]: the part of each image to hide -> [N, 1, SIZE, SIZE]"""
    seen = (lc.rand(len(share), 1, SIDE, SIDE) >= share).float()
    return F.interpolate(seen, scale_factor=PATCH, mode="nearest")


def masked_training(demo: Demo, images: Tensor) -> tuple[nn.Module, nn.Module]:
    """The encoder, and the whole that paints what is hidden."""
    model = encoder()
    painter = nn.Sequential(model, nn.ReLU(), nn.Linear(FEATURES, 256), nn.ReLU(), nn.Linear(256, SIZE * SIZE),
                            nn.Unflatten(1, (1, SIZE, SIZE)))  # fmt: skip

    def loss() -> Tensor:
        x = images[lc.randint(0, len(images), (BATCH,))]
        seen = hidden(0.8 * lc.rand(BATCH, 1, 1, 1))
        return ((painter(x * seen) - x).square() * (1 - seen)).sum() / (1 - seen).sum()

    losses = fit(demo, painter, loss, demo.pick(1500, 15000), 2e-3, "masks")
    spread = (images - images.mean(0)).square().mean().item()
    demo.metric("masks, error of hidden pixels / their variance", np.mean(losses[-50:]) / spread, at_most=0.7)
    return model, painter


def show(demo: Demo, painter: nn.Module, images: Tensor) -> None:
    x = images[:8]
    seen = hidden(lc.full((8, 1, 1, 1), 0.6))
    with lc.no_grad():
        painted = painter(x * seen)
    figure = demo.figure("masked", "Test digits, what is left of them, and what the network makes of that.", (8, 3.2))
    rows = {"digit": x, "seen": x * seen + 0.5 * (1 - seen), "painted": x * seen + painted * (1 - seen)}
    for panels, (name, row) in zip(figure.subplots(3, 8), rows.items(), strict=True):
        panels[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for panel, image in zip(panels, row.squeeze(1), strict=True):
            panel.imshow(image.numpy(), cmap="Greys", vmin=0, vmax=1)
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
            panel.spines[:].set_visible(False)


# ---- what it is worth ------------------------------------------------------------------------------------------------


def features(model: nn.Module, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Descriptions of mean 0 and deviation 1 over the training images."""
    with lc.no_grad():
        a, b = model(train), model(test)
    mean, deviation = a.mean(0), a.std(0) + 1e-6
    return (a - mean) / deviation, (b - mean) / deviation


def probe(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> float:
    """Test accuracy of the best linear map (ridge regression of the classes), from few labels."""
    design = np.hstack([x.double().numpy(), np.ones((len(x), 1))])
    classes = F.one_hot(y, 10).double().numpy()
    weight = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ classes)
    said = np.hstack([test_x.double().numpy(), np.ones((len(test_x), 1))]) @ weight
    return float((said.argmax(1) == test_y.numpy()).mean())


def probes(
    demo: Demo, encoders: dict[str, list[nn.Module]], train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]
) -> None:
    counts, draws = (1, 2, 5, 10, 20), 10
    figure = demo.figure(
        "probes",
        f"Test accuracy of a linear classifier on frozen descriptions, mean of {draws} draws of the named digits; "
        "random: of five networks.",
    )
    axes = figure.subplots()
    by_class = [np.flatnonzero(train[1].numpy() == k) for k in range(10)]
    reached = {}
    for (name, alike), colour in zip(encoders.items(), (GREY, GREEN, BLUE), strict=True):
        described = [features(model, train[0], test[0]) for model in alike]
        curve = []
        for count in counts:
            rows = [np.concatenate([k[d * count :][:count] for k in by_class]) for d in range(min(draws, 140 // count))]
            values = [
                probe(x[r], train[1][r], test_x, test[1]) for x, test_x in described for r in map(lc.from_numpy, rows)
            ]
            curve.append(100 * float(np.mean(values)))
        reached[name] = dict(zip(counts, curve, strict=True))
        axes.semilogx(counts, curve, "o-", color=colour, label=name)
    for name, by_count in reached.items():
        demo.metric(f"{name}, test accuracy from 5 digits of each class, %", by_count[5])
    demo.metric("points gained by twins, 5 of each", reached["twins"][5] - reached["random"][5], at_least=10)
    demo.metric("points gained by masks, 5 of each", reached["masked"][5] - reached["random"][5])
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set(xlabel="named digits of each class", ylabel="test accuracy (%)")
    axes.legend()
