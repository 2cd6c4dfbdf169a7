"""The Vision Transformer: an image as a sequence of patches (section 5.3, figure 5.9).

Dosovitskiy et al. (An Image is Worth 16x16 Words, ICLR 2021) cut the image into squares, map each to a vector, put a
class token in front and read the class off what that token has gathered. Which patches it gathered from is followed
back through the layers by attention rollout (Abnar and Zuidema, Quantifying Attention Flow in Transformers, ACL 2020).
"""

from __future__ import annotations

import numpy as np

import littlecore as lc
from littlecore import Tensor, data, models
from littlecore.nn import functional as F

from .demo import BLUE, GREY, Demo, plain_numbers
from .fit import fit
from .transformer import attention_of

SIZE, PATCH = 28, 7
SIDE = SIZE // PATCH  # patches in a row


def run(demo: Demo) -> None:
    patches(demo)
    classification(demo)
    caption = f"The network, on patches of {PATCH} x {PATCH} pixels; cat puts the class token in front of them."
    demo.drawing("diagram", caption, network(), (1, 1, SIZE, SIZE))


def cut(x: Tensor) -> Tensor:
    """The pixels of every patch, row by row.    [N, C, H, W] -> [N, H/P * W/P, C*P*P]"""
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // PATCH, PATCH, w // PATCH, PATCH)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(n, -1, c * PATCH * PATCH)


def patches(demo: Demo) -> None:
    """A convolution whose stride is its kernel is one linear layer on every patch.

    The two add in different orders, so float32 rounds them apart, unless it rounds nothing: with pixels of 8 bits and
    weights of 10, every sum is exact, and they are the same to the bit.
    """
    model = network()
    x = lc.randint(0, 256, (8, 1, SIZE, SIZE)).float() / 256
    weight, bias = model.conv_proj.weight, model.conv_proj.bias
    with lc.no_grad():
        exact = F.linear(cut(x.double()), weight.double().flatten(1), bias.double())
        error = (embedded(model, x).double() - exact).abs().max().item()
        for p in model.conv_proj.parameters():
            p.copy_((p.detach() * 1024).round() / 1024)
        linear = F.linear(cut(x), weight.flatten(1), bias)
        unlike = (embedded(model, x) != linear).sum().item()
    demo.metric("patch embedding as a convolution, error", error, at_most=1e-6)
    demo.metric("numbers unlike a linear layer's on patches, nothing rounded", unlike, at_most=0)


def embedded(model: models.VisionTransformer, x: Tensor) -> Tensor:
    return model.conv_proj(x).flatten(2).mT  # [N, D, 4, 4] -> [N, 16, D]


def network() -> models.VisionTransformer:
    """Four layers of width 64; the readout has two hidden layers with GELU, as in the book's figure."""
    return models.vit(
        image_size=SIZE, patch_size=PATCH, num_layers=4, num_heads=4, hidden_dim=64, mlp_dim=128, num_classes=10,
        in_channels=1, readout="mlp",
    )  # fmt: skip


def images(part: data.ImageDataset, rows: np.ndarray, epoch: int = 0, *, moved: bool = False) -> tuple[Tensor, Tensor]:
    """Some images, of mean 0, and their classes; `moved`: shifted, turned and scaled a little, each epoch anew."""
    random = data.SampleRandom(0, epoch, rows)
    x, y = part.batch(rows, random)
    if moved:
        x = data.RandomAffine(degrees=4, translate=0.04, scale=(0.96, 1.04))(x, random)
    return (lc.from_numpy(np.ascontiguousarray(x)) - 0.3) / 0.35, lc.from_numpy(y)


def classification(demo: Demo) -> None:
    train, test = data.digits(SIZE)
    model = network()
    test_x, test_y = images(test, np.arange(len(test)))
    rows, calls, size = np.arange(len(train)), 0, 48
    for_each = len(train) // size

    def loss() -> Tensor:
        nonlocal rows, calls
        epoch, step = divmod(calls, for_each)
        if step == 0:
            rows = lc.randperm(len(train)).numpy()
        calls += 1
        x, y = images(train, rows[step * size :][:size], epoch, moved=True)
        return F.cross_entropy(model(x), y)

    losses = fit(demo, model, loss, demo.pick(28, 100) * for_each, 2e-3)
    model.eval()
    with lc.no_grad():
        predicted = model(test_x).argmax(-1)
    demo.metric("digits, test accuracy", (predicted == test_y).float().mean().item(), at_least=0.95)

    shown = lc.tensor([int(np.flatnonzero(test_y.numpy() == k)[0]) for k in range(10)])
    gathered = rollout(model, test_x[shown])  # [10, 16]
    demo.metric("class token, share that stems from patches", gathered.sum(-1).mean().item(), within=(0.1, 1))

    figure = demo.figure(
        "training", "The Vision Transformer on handwritten digits: loss of each batch, and the mean of 30.", (6.4, 3.6)
    )
    axes = figure.subplots()
    axes.semilogy(losses, color=GREY, linewidth=0.6)
    axes.semilogy(np.arange(15, len(losses) - 14), np.convolve(losses, np.ones(30) / 30, "valid"), color=BLUE)
    axes.set(xlabel="step", ylabel="cross-entropy (nats)")
    plain_numbers(axes.yaxis)

    figure = demo.figure(
        "rollout",
        "A test image of every class, cut into patches (above), and from which patches the class token gathered, "
        "through all layers (below; darker is more).",
        (10.4, 2.6),
    )
    for k, (above, below) in enumerate(figure.subplots(2, 10).T):
        above.imshow(test_x[shown[k], 0].numpy(), cmap="Greys")
        below.imshow(gathered[k].reshape(SIDE, SIDE).numpy(), cmap="Blues", vmin=0)
        for axes, step in ((above, PATCH), (below, 1)):
            axes.grid(False)
            axes.set(xticks=[], yticks=[])
            for edge in range(1, SIDE):
                axes.axhline(edge * step - 0.5, color=GREY, linewidth=0.4)
                axes.axvline(edge * step - 0.5, color=GREY, linewidth=0.4)


def rollout(model: models.VisionTransformer, x: Tensor) -> Tensor:
    """What part of the class token stems from each patch: layers multiplied, half of each the skip connection.

    [N, 1, H, W] -> [N, patches]
    """
    modules = [block.self_attention for block in model.encoder.layers]
    flow = lc.eye(SIDE**2 + 1)
    for weights in attention_of(modules, lambda: model(x)):
        flow = (weights + lc.eye(SIDE**2 + 1)) / 2 @ flow
    return flow[:, 0, 1:]
