"""PyTorch's own initial weights, the same batches: the losses of 10 training steps beside PyTorch's."""

import sys
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
from littlecore import data, models, nn

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))
import twins  # noqa: E402

STEPS, WITHIN = 10, 1e-5
GPT = {"vocab_size": 65, "block_size": 48, "n_layer": 3, "n_head": 4, "n_embd": 64}
CLIP = {
    "embed_dim": 24, "image_size": 32, "patch_size": 8, "vision_width": 32, "vision_heads": 4, "vision_layers": 2,
    "vocab_size": 30, "text_length": 9, "text_width": 32, "text_heads": 4, "text_layers": 2, "end": 29,
}  # fmt: skip
VIT = {"image_size": 28, "patch_size": 7, "num_layers": 3, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}


def images(random, n):
    """Blobs whose place depends on their class: something to learn."""
    labels = random.integers(0, 10, n)
    x = random.normal(0, 0.3, (n, 1, 28, 28))
    for image, label in zip(x, labels, strict=True):
        image[0, 4 + 2 * label : 9 + 2 * label, 3 + label : 12 + label] += 1
    return x.astype(np.float32), labels


def tokens(random, n):
    sequence = (np.cumsum(random.integers(0, 3, (n, 49)), axis=1) + random.integers(0, 65, (n, 1))) % 65
    return sequence[:, :-1].copy(), sequence[:, 1:].copy()


def points(random, n):
    x = random.standard_normal((n, 50)).astype(np.float32)
    return x, (x[:, :10].sum(1) > 0).astype(np.int64)


def scenes(random, n):
    return data.scenes(n, 32, radius=(0.13, 0.28), seed=int(random.integers(1000)))


def segments(random, n):
    found = scenes(random, n)
    return found.images, found.masks


def objects(random, n):
    """Scenes, and what a detector shall say of them."""
    found = scenes(random, n)
    classes, offsets = detector().targets(lc.from_numpy(found.boxes), lc.from_numpy(found.shapes))
    return found.images, classes.numpy(), offsets.numpy()


def detector():
    """Without batch norm, whose rounding grows in training (see the residual network)."""
    model = models.ssd(image_size=32, classes=4, widths=(8, 12, 16, 24), sides=(10, 16, 26))
    for stage in model.stages:
        stage[1], stage[4] = nn.Identity(), nn.Identity()
    return model


def captions(random, n):
    """Scenes, and sentences of numbers with an end somewhere."""
    tokens = random.integers(0, 29, (n, 9))
    tokens[np.arange(n), random.integers(2, 9, n)] = 29
    return scenes(random, n).images, tokens


def classification(lib, model, x, y):
    scores = model(x)
    return lib.nn.functional.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))


def segmentation(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def detection(lib, model, x, classes, offsets):
    return model.loss(*model(x), classes, offsets)


def contrast(lib, model, x, tokens):
    return model.loss(model(x, tokens))


OBJECTIVES = {"unet": segmentation, "ssd": detection, "clip": contrast}  # the others classify
CASES = {
    "mlp": (models.mlp, twins.MLP, points, lambda o, p: o.Adam(p, lr=1e-2), 64),
    "lenet": (models.lenet, twins.LeNet, images, lambda o, p: o.SGD(p, lr=0.05, momentum=0.9), 32),
    "resnet": (
        lambda: models.resnet20(in_channels=1), twins.ResNet20, images,
        lambda o, p: o.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-4, nesterov=True), 16,
    ),
    "gpt": (
        lambda: models.gpt(**GPT), lambda: twins.GPT(65, 48, 3, 4, 64), tokens,
        lambda o, p: o.AdamW(p, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1), 8,
    ),
    "vit": (
        lambda: models.vit(num_classes=10, in_channels=1, readout="mlp", **VIT),
        lambda: twins.ViT(28, 7, 3, 4, 64, 128),
        images, lambda o, p: o.AdamW(p, lr=1e-3), 16,
    ),
    "unet": (
        lambda: models.unet(in_channels=3, out_channels=5, widths=(8, 12, 16), pyramid=(1, 2)),
        lambda: twins.UNet(3, 5, (8, 12, 16), (1, 2)), segments, lambda o, p: o.Adam(p, lr=1e-3), 8,
    ),
    "ssd": (
        detector, lambda: twins.SSD(4, (8, 12, 16, 24), 3), objects, lambda o, p: o.SGD(p, lr=0.02, momentum=0.9), 16,
    ),
    "clip": (
        lambda: models.clip(**CLIP), lambda: twins.CLIP(24, 32, 8, 32, 30, 9, 4, 2, 29), captions,
        lambda o, p: o.AdamW(p, lr=1e-3), 16,
    ),
}  # fmt: skip


def train(name, runs):
    """Losses [run, step] of the same training in each (library, dtype), from PyTorch's initial weights."""
    make, twin, batch, optimizer, size = CASES[name]
    torch.manual_seed(0)
    state = {k: v.numpy().copy() for k, v in twin().state_dict().items()}
    losses = []
    for lib, dtype in runs:
        model = make() if lib is lc else twin()
        model.load_state_dict({k: v if lib is lc else torch.from_numpy(v.copy()) for k, v in state.items()})
        if dtype == "float64":
            model.double()
        opt, random, steps = optimizer(lib.optim, model.parameters()), np.random.default_rng(0), []
        for _ in range(STEPS):
            fields = [v.astype(dtype) if v.dtype.kind == "f" else v for v in batch(random, size)]
            loss = OBJECTIVES.get(name, classification)(lib, model, *map(lib.from_numpy, fields))
            opt.zero_grad()
            loss.backward()
            opt.step()
            steps.append(loss.item())
        losses.append(steps)
    assert len(set(losses[0])) == STEPS and losses[0][-1] < losses[0][0]
    return np.array(losses)


@pytest.mark.parametrize("name", [name for name in CASES if name != "resnet"])
def test_losses_of_ten_steps(name):
    ours, theirs = train(name, [(lc, "float32"), (torch, "float32")])
    difference = np.abs(ours - theirs)
    print(f"{name}: largest difference {difference.max():.1e}, losses {ours[0]:.4f} to {ours[-1]:.4f}")
    assert difference.max() <= WITHIN, f"step {difference.argmax()}: {ours} and {theirs}"


def test_losses_of_a_residual_network():
    """Batch norm over few samples amplifies float32 rounding: PyTorch's own float32 leaves its float64 by 2e-2.

    So float64 must agree as the others do, and float32 must stay within 3 times PyTorch's distance from it.
    """
    runs = [(lc, "float64"), (torch, "float64"), (lc, "float32"), (torch, "float32")]
    ours_wide, exact, ours, theirs = train("resnet", runs)
    wide, own, peer = (np.abs(x - exact).max() for x in (ours_wide, ours, theirs))
    print(f"resnet: float64 {wide:.1e}; float32 from float64: ours {own:.1e}, PyTorch {peer:.1e}")
    assert wide <= 1e-10
    assert own <= 3 * peer
    assert np.abs(ours - theirs)[:2].max() <= WITHIN  # before the rounding has grown


def test_the_logits_of_resnet50():
    """Random weights and statistics, saved by PyTorch under torchvision's keys; an image of odd size, too."""
    torch.manual_seed(0)
    theirs, ours = twins.ResNet50().eval(), models.resnet50().eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    for side in (224, 97):
        x = torch.randn(1, 3, side, side)
        with torch.no_grad(), lc.no_grad():
            found, wanted = ours(lc.from_numpy(x.numpy())).numpy(), theirs(x).numpy()
            exact = theirs.double()(x.double()).numpy()
            theirs.float()
        scale = np.abs(exact).max()
        own, peer = (np.abs(y - exact).max() / scale for y in (found, wanted))
        print(f"ResNet-50, {side} x {side}, from float64: ours {own:.1e}, PyTorch {peer:.1e}")
        assert np.abs(found - wanted).max() <= 1e-4 * scale
