"""Image generation: from noise to an image, a little less noise at a time (section 7.2, figure 7.2).

Denoising diffusion (Ho et al., Denoising Diffusion Probabilistic Models, NeurIPS 2020) adds a little Gaussian noise to
a sample again and again, until nothing of it is left: x_t = sqrt(1 - beta_t) x_(t-1) + sqrt(beta_t) noise. A network
learns to go back, that is, to say which noise is in x_t; then what starts as noise alone ends as a new sample. The
network for digits, a U-Net, is told the class, but not always: it learns the digits as a whole too, and to go further
from these towards a class than the class itself asks is to paint it more clearly, with less variety (Ho and Salimans,
Classifier-Free Diffusion Guidance, 2022).

Asked for a class without guidance, 88 % of the digits are read as what they should be, a little less than the 90 % that
one would like; with it, 99 %.

The digits are 16 x 16, in the long form 28 x 28; a classifier that never saw a painted one says what it reads in them.
The long form is guided by words too: a network that was never told what its scenes show follows at each step the
gradient of the match that CLIP (section 6.6) sees between the image and a sentence (Nichol et al., GLIDE, ICML 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models, nn
from littlecore.autograd import enable_grad
from littlecore.data.scenes import PAIRS
from littlecore.nn import functional as F

from . import text_image_representations as words
from .demo import BLUE, GREY, Demo
from .fit import fit
from .training_protocols import evaluated, flat

STEPS = 100
BETA = lc.linspace(1e-4, 0.02, STEPS) * (1000 / STEPS)  # of 1,000 steps in the paper: fewer and larger ones
KEPT = (1 - BETA).log().cumsum(0).exp()  # of the sample's variance after each step

Predict = Callable[[Tensor, Tensor], Tensor]  # x [N, ...] and the steps [N] -> the noise in x


def run(demo: Demo) -> None:
    densities(demo)
    digits(demo)
    if demo.full:
        scenes_of_sentences(demo, 48, 20000)


# ---- there and back --------------------------------------------------------------------------------------------------


def noised(x: Tensor, step: Tensor, noise: Tensor) -> Tensor:
    """x after `step` + 1 steps of noise, at once.    [N, ...], [N], [N, ...]"""
    kept = KEPT[step].reshape(-1, *(1,) * (x.dim() - 1))
    return kept.sqrt() * x + (1 - kept).sqrt() * noise


def denoising_loss(predict: Predict, x: Tensor) -> Tensor:
    """How much of the noise at a random step the network misses."""
    step, noise = lc.randint(0, STEPS, (len(x),)), lc.randn(*x.shape)
    return F.mse_loss(predict(noised(x, step, noise), step), noise)


def denoised(predict: Predict, x: Tensor) -> Iterator[Tensor]:
    """x_T, which is noise alone, then x_(T-1), ..., x_0."""
    yield x
    for t in reversed(range(STEPS)):
        beta, kept = BETA[t].item(), KEPT[t].item()
        with lc.no_grad():
            x = (x - beta / math.sqrt(1 - kept) * predict(x, lc.full((len(x),), t))) / math.sqrt(1 - beta)
        if t:
            x = x + math.sqrt(beta) * lc.randn(*x.shape)
        yield x


# ---- densities of one and two numbers --------------------------------------------------------------------------------


def mixture(n: int) -> Tensor:
    centre = lc.tensor([-1.2, 0.2, 1.3])[lc.multinomial(lc.tensor([0.3, 0.5, 0.2]), n, replacement=True)]
    return (centre + 0.15 * lc.randn(n)).unsqueeze(1)


def ramp(n: int) -> Tensor:
    return 3 * lc.rand(n, 1).sqrt() - 2


def two_discs(n: int) -> Tensor:
    side = lc.randint(0, 2, (n,)).float() * 2 - 1
    angle, radius = 2 * math.pi * lc.rand(n), 0.6 * lc.rand(n).sqrt()
    return lc.stack([0.9 * side + radius * angle.cos(), 0.9 * side + radius * angle.sin()], 1)


def disc_grid(n: int) -> Tensor:
    angle, radius = 2 * math.pi * lc.rand(n), 0.25 * lc.rand(n).sqrt()
    return lc.randint(-1, 2, (n, 2)).float() * 1.1 + radius.unsqueeze(1) * lc.stack([angle.cos(), angle.sin()], 1)


def spiral(n: int) -> Tensor:
    turn = lc.rand(n).sqrt()
    angle = 3 * math.pi * turn
    return 1.8 * turn.unsqueeze(1) * lc.stack([angle.cos(), angle.sin()], 1) + 0.05 * lc.randn(n, 2)


DENSITIES = (mixture, ramp, two_discs, disc_grid, spiral)


class Perceptron(nn.Module):
    """Sines and cosines of x let it be as fine as the densities are (Tancik et al., Fourier Features Let Networks Learn
    High Frequency Functions, NeurIPS 2020).    [N, D], int64 [N] -> [N, D]"""

    def __init__(self, dim: int, width: int = 96) -> None:
        super().__init__()
        self.register_buffer("times", models.sinusoidal_encoding(STEPS, 32))
        self.layers = nn.Sequential(
            nn.Linear(9 * dim + 32, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width),
            nn.ReLU(), nn.Linear(width, dim),
        )  # fmt: skip

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        waves = [wave for k in range(4) for wave in ((2**k * x).sin(), (2**k * x).cos())]
        return self.layers(lc.cat([x, *waves, self.times[step]], 1))


def wasserstein(a: Tensor, b: Tensor) -> float:
    """How far mass has to go on average to make one sample of a line the other.    [N], [k N]"""
    every = len(b) // len(a)
    return (a.sort()[0] - b.sort()[0][every // 2 :: every]).abs().mean().item()


def discrepancy(a: Tensor, b: Tensor, width: float = 0.2) -> float:
    """Maximum mean discrepancy, squared and unbiased, under a Gaussian kernel (Gretton et al., JMLR 2012).

    [N, D], [N, D]
    """

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        away = x.square().sum(1).unsqueeze(1) + y.square().sum(1) - 2 * x @ y.mT
        return (-away / (2 * width**2)).exp()

    n = len(a)
    own = sum((kernel(z, z).sum().item() - n) / (n * (n - 1)) for z in (a, b))
    return own - 2 * kernel(a, b).mean().item()


def densities(demo: Demo) -> None:
    figure = demo.figure(
        "densities",
        "Samples made from noise (blue) of two densities on a line, beside true ones (grey), and of three in the "
        "plane, whose true samples lie above.",
        (9.6, 4.2),
    )
    panels = figure.subplots(2, len(DENSITIES))
    for column, draw in zip(panels.T, DENSITIES, strict=True):
        model = Perceptron(draw(1).shape[1])
        name = draw.__name__.replace("_", " ")
        fit(demo, model, lambda: denoising_loss(model, draw(256)), demo.pick(2500, 20000), 3e-3, name)  # noqa: B023
        if draw in (mixture, ramp):
            true = draw(200_000)
            *_, made = denoised(model, lc.randn(10_000, 1))
            demo.metric(f"{name}, Wasserstein distance to the truth", wasserstein(made[:, 0], true[:, 0]), at_most=0.03)
            demo.metric(f"{name}, that of as many true samples", wasserstein(draw(10_000)[:, 0], true[:, 0]))
            bins = np.linspace(-2.2, 2.2, 61).tolist()
            column[0].hist(true[:, 0].numpy(), bins, color=GREY)
            column[1].hist(made[:, 0].numpy(), bins, color=BLUE)
        else:
            true = draw(3000)
            *_, made = denoised(model, lc.randn(3000, 2))
            gauss = true.mean(0) + true.std(0) * lc.randn(*true.shape)
            part = discrepancy(made, true) / discrepancy(gauss, true)
            demo.metric(f"{name}, discrepancy / that of a Gaussian", part, at_most=0.05)
            for axes, points, colour in zip(column, (true, made), (GREY, BLUE), strict=True):
                axes.plot(*points[:1500].mT.numpy(), ".", color=colour, markersize=1.5)
                axes.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
        column[0].set_title(name)
        for axes in column:
            axes.set(xticks=[], yticks=[])


# ---- digits ----------------------------------------------------------------------------------------------------------


def guided(model: models.DenoisingUNet, label: Tensor, strength: float) -> Predict:
    """From what the noise would be in any digit towards what it is in this class: 0 any, 1 this, above 1 beyond it."""

    def predict(x: Tensor, step: Tensor) -> Tensor:
        if strength == 1:
            return model(x, step, label)
        anything, this = model(x, step), model(x, step, label)
        return anything + strength * (this - anything)

    return predict


def digits(demo: Demo) -> None:
    (x, y), (test_x, test_y) = (flat(part) for part in data.digits(demo.pick(16, 28)))
    judge = classifier(demo, x, y, test_x, test_y)
    model = models.denoising_unet(widths=demo.pick((16, 32, 64), (32, 64, 128)), steps=STEPS, classes=10, groups=4)

    def loss() -> Tensor:
        rows = lc.randint(0, len(x), (32,))
        label = lc.where(lc.rand(32) < 0.15, 10, y[rows])
        return denoising_loss(lambda x, step: model(x, step, label), 2 * x[rows] - 1)

    losses = fit(demo, model, loss, demo.pick(500, 20000), 2e-3, "digits")
    demo.metric("digits, squared error of the noise, last 100 batches", float(np.mean(losses[-100:])), at_most=0.15)
    label = lc.arange(100) % 10
    for strength in (1, 2):
        path = list(denoised(guided(model, label, strength), lc.randn(100, *x.shape[1:])))
        made = (path[-1].clamp(-1, 1) + 1) / 2
        right = (judge(made).argmax(-1) == label).float().mean().item()
        demo.metric(
            f"guidance {strength}, digits read as they were asked for", right, at_least=0.8 if strength == 1 else 0.9
        )
        demo.metric(f"guidance {strength}, spread within a class / of true digits", spread(made, label) / spread(x, y))
    strip(demo, path)


def classifier(demo: Demo, x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> nn.Module:
    places = (x.shape[-1] // 4) ** 2
    judge = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * places, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip

    def loss() -> Tensor:
        rows = lc.randint(0, len(x), (64,))
        return F.cross_entropy(judge(x[rows] + 0.1 * lc.randn(64, *x.shape[1:])), y[rows])

    fit(demo, judge, loss, 500, 3e-3, "classifier")
    demo.metric("classifier on test digits", evaluated(judge, test_x, test_y)[1], at_least=0.95)
    return judge


def spread(x: Tensor, label: Tensor) -> float:
    """Variance of a pixel within its class."""
    every = [(x[label == k] - x[label == k].mean(0)).square().mean().item() for k in range(10)]
    return float(np.mean(every))


def strip(demo: Demo, path: list[Tensor]) -> None:
    """The first twenty digits of a batch on their way."""
    columns = 11
    shown = [path[round(k)][:20] for k in np.linspace(0, STEPS, columns)]
    figure = demo.figure("strip", "Twenty digits, two of each class, from noise (left) to an image (right).", (5.5, 10))
    picture = lc.cat([F.pad(x, (1, 1, 1, 1), value=-1.0) for x in shown], 3).flatten(0, 2)  # [rows * H, columns * W]
    axes = figure.subplots()
    axes.imshow(picture.numpy(), cmap="Greys", vmin=-1.5, vmax=1.5)
    middle = (np.arange(columns) + 0.5) * (path[0].shape[-1] + 2)
    axes.set_xticks(middle, [str(round(STEPS - k)) for k in np.linspace(0, STEPS, columns)], fontsize=8)
    axes.set(xlabel="steps of noise left", yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)


# ---- scenes of a sentence --------------------------------------------------------------------------------------------


def towards(clip: models.CLIP, model: models.DenoisingUNet, sentences: Tensor, strength: float) -> Predict:
    """Noise that leaves an image nearer to its sentence: `strength` is the length of the turn, in the noise's own."""

    def predict(x: Tensor, step: Tensor) -> Tensor:
        with enable_grad():
            x = x.detach().requires_grad_()
            noise = model(x, step)
            kept = KEPT[step].reshape(-1, 1, 1, 1)
            clean = ((x - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)
            (clip.encode_image((clean + 1) / 2) * sentences).sum().backward()
        assert x.grad is not None
        turn, noise = F.normalize(x.grad.flatten(1), dim=1).reshape(x.shape), noise.detach()
        return noise - strength * noise.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1) * turn

    return predict


def scenes_of_sentences(demo: Demo, count: int, steps: int) -> None:
    """One CLIP guides, another, which learned apart from it, says what it sees."""
    clips = [words.network() for _ in range(2)]
    for clip in clips:
        words.learn(demo, clip, PAIRS)
    images, _ = words.scenes(PAIRS, demo.pick(2000, 30000), 5)
    model = models.denoising_unet(in_channels=3, widths=(16, 32, 64), steps=STEPS, groups=4)
    fit(demo, model, lambda: denoising_loss(model, 2 * images[lc.randint(0, len(images), (32,))] - 1), steps, 2e-3,
        "scenes")  # fmt: skip
    for network in (model, *clips):
        network.requires_grad_(False)

    asked, sentences = lc.arange(count) % len(PAIRS), words.tokens([words.caption(pair) for pair in PAIRS])
    vectors = [clip.encode_text(sentences)[asked] for clip in clips]
    shown, matches = [], []
    for strength in (0.0, 0.3):
        *_, made = denoised(towards(clips[0], model, vectors[0], strength), lc.randn(count, *images.shape[1:]))
        made = (made.clamp(-1, 1) + 1) / 2
        match = [
            (clip.encode_image(made) * texts).sum(1).mean().item() for clip, texts in zip(clips, vectors, strict=True)
        ]
        right = (clips[1](made, sentences).argmax(-1) == asked).float().mean().item()
        demo.metric(f"guidance by words {strength}, another reads what was asked for, of 24", right)
        demo.metric(f"guidance by words {strength}, cosine that the guide sees", match[0])
        demo.metric(f"guidance by words {strength}, cosine that another sees", match[1])
        shown.append(made[:8])
        matches.append(match[1])
    demo.metric("gain of that by the words", matches[1] - matches[0], at_least=0.2)
    draw_scenes(demo, shown)


def draw_scenes(demo: Demo, rows: list[Tensor]) -> None:
    figure = demo.figure("scenes", "Scenes made from noise: as it comes (above), guided by the sentences.", (9.6, 3))
    for panels, images in zip(figure.subplots(2, 8), rows, strict=True):
        for axes, image, pair in zip(panels, images, PAIRS, strict=False):
            axes.imshow(image.permute(1, 2, 0).numpy())
            axes.axis("off")
            if images is rows[1]:
                axes.set_title(f"{pair[0]} {pair[1]}", fontsize=8)
