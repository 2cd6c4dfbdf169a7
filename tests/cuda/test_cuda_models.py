"""A training step of every family of models on a device: the CPU's losses, and its parameters afterwards."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import models, nn, optim
from littlecore.data.idx import MNIST_FILES, write_idx
from littlecore.train.state import pack, unpack

RNG = np.random.default_rng(0)


def image(*shape: int) -> lc.Tensor:
    return lc.tensor(RNG.normal(0, 1, shape)).float()


def tokens(*shape: int) -> lc.Tensor:
    return lc.tensor(RNG.integers(1, 11, shape))


def classes(model: nn.Module, x: lc.Tensor, t: lc.Tensor) -> lc.Tensor:
    y = model(x)
    return F.cross_entropy(y.reshape(-1, y.shape[-1]), t.reshape(-1))


def boxes(model: models.SSD, x: lc.Tensor, t: lc.Tensor) -> lc.Tensor:
    scores, offsets = model(x)
    return F.smooth_l1_loss(offsets, lc.zeros_like(offsets)) + F.cross_entropy(scores.flatten(0, 1), t)


def narrowed(model: nn.Module, by: int) -> nn.Module:
    """The model with a `by`-th of its inner widths: an emulated GPU has no time for 100 million weights."""
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for name, m in list(model.named_modules()):
        parent, _, key = name.rpartition(".")
        if isinstance(m, nn.Conv2d):
            inner = m.in_channels if m is convolutions[0] else m.in_channels // by
            new = nn.Conv2d(inner, m.out_channels // by, m.kernel_size, m.stride, m.padding)
        elif isinstance(m, nn.BatchNorm2d):
            new = nn.BatchNorm2d(m.num_features // by)
        elif isinstance(m, nn.Linear):
            new = nn.Linear(m.in_features // by, m.out_features if m is linears[-1] else m.out_features // by)
        else:
            continue
        setattr(model.get_submodule(parent), key, new)
    return model


MAKE = {
    "mlp": (lambda: models.mlp((5, 7, 3), dropout=0.2), classes, image(4, 5), tokens(4) % 3),
    "lenet": (lambda: models.lenet(), classes, image(1, 1, 28, 28), tokens(1) % 3),
    "alexnet": (lambda: narrowed(models.alexnet(3), 64), classes, image(1, 3, 63, 63), tokens(1) % 3),
    "vgg": (lambda: narrowed(models.vgg("vgg11", 3, batch_norm=True), 64), classes, image(2, 3, 32, 32), tokens(2) % 3),
    "dqn": (
        lambda: narrowed(models.dqn(3, size="small"), 8),
        lambda model, x, t: F.smooth_l1_loss(model(x).gather(1, t), lc.ones_like(t).float()),
        image(1, 4, 84, 84),
        tokens(1, 1) % 3,
    ),
    "resnet": (lambda: models.SmallResNet(1, 3), classes, image(2, 3, 8, 8), tokens(2) % 3),
    "gpt": (
        lambda: models.gpt(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8, dropout=0.1),
        classes,
        tokens(2, 7),
        tokens(2, 7),
    ),
    "llama": (
        lambda: models.llama(vocab_size=11, block_size=8, width=8, layers=1, heads=2, kv_heads=1, hidden=12),
        classes,
        tokens(2, 7),
        tokens(2, 7),
    ),
    "bert": (
        lambda: models.bert(vocab_size=11, length=8, width=8, layers=1, heads=2, hidden=12),
        lambda model, x: model(x)[0].square().mean(),
        tokens(2, 7),
    ),
    "vit": (
        lambda: models.vit(
            image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=12, num_classes=3
        ),
        classes,
        image(2, 3, 8, 8),
        tokens(2) % 3,
    ),
    "clip": (
        lambda: models.clip(
            embed_dim=6, image_size=8, patch_size=4, vision_width=8, vision_heads=2, vision_layers=1, vocab_size=12,
            text_length=5, text_width=8, text_heads=2, text_layers=1, end=11,
        ),
        lambda model, x, t: model.loss(model(x, t)),
        image(2, 3, 8, 8),
        tokens(2, 5),
    ),
    "transformer": (
        lambda: models.transformer(11, 11, dim=8, heads=2, layers=1, hidden=12, max_length=9, dropout=0.0, padding=1),
        lambda model, x, t: F.cross_entropy(model(x, t).flatten(0, 1), t.flatten()),
        tokens(2, 6),
        tokens(2, 5),
    ),
    "whisper": (
        lambda: models.whisper(
            vocab_size=12, mels=3, audio_length=8, text_length=6, width=8, heads=2, encoder_layers=1, decoder_layers=1
        ),
        lambda model, x, t: F.cross_entropy(model(x, t).flatten(0, 1), t.flatten()),
        image(2, 3, 10),
        tokens(2, 5),
    ),
    "unet": (
        lambda: models.unet(widths=(3, 6), norm=True, pyramid=(1, 2)),
        lambda model, x, t: F.mse_loss(model(x), t),
        image(1, 1, 8, 8),
        image(1, 1, 8, 8),
    ),
    "denoising_unet": (
        lambda: models.denoising_unet(widths=(4, 8), steps=9, groups=2),
        lambda model, x, t: F.mse_loss(model(x, lc.arange(2, device=x.device)), t),
        image(2, 1, 8, 8),
        image(2, 1, 8, 8),
    ),
    "ssd": (
        lambda: models.ssd(image_size=16, classes=2, widths=(4, 6, 8), sides=(6.0, 9.0)),
        boxes,
        image(1, 3, 16, 16),
        tokens(20) % 3,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MAKE)
def test_a_training_step(name):
    make, loss_of, *batch = MAKE[name]
    results = []
    for device in ("cpu", "cuda"):
        lc.manual_seed(3)
        model = make().to(device)
        step = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        losses = []
        for _ in range(2):
            loss = loss_of(model, *(x.to(device) for x in batch))
            step.zero_grad()
            loss.backward()
            step.step()
            losses.append(loss.item())
        results.append((losses, {key: value.cpu().numpy() for key, value in model.state_dict().items()}))
    (losses, here), (losses_there, there) = results
    np.testing.assert_allclose(losses_there, losses, rtol=1e-5)
    for key, value in here.items():
        np.testing.assert_allclose(there[key], value, rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", ["gpt", "llama"])
def test_the_same_text(name):
    results = []
    for device in ("cpu", "cuda"):
        lc.manual_seed(5)
        model = MAKE[name][0]().to(device).eval()
        with lc.no_grad():
            results.append(
                [t.tolist() for t in model.stream(tokens_of(device), 4, temperature=0.9, top_k=5, top_p=0.9)]
            )
    assert results[0] == results[1]


def tokens_of(device: str) -> lc.Tensor:
    return lc.tensor([[1, 2, 3], [4, 5, 6]], device=device)


PROGRAMS: dict[str, tuple[int, list[str]]] = {  # the side of its images, its settings
    "gpt": (0, ["steps=2", "context=8", "layers=1", "heads=2", "width=8", "sample=0"]),
    "lenet": (28, []),
    "mlp": (6, ["hidden=5,4"]),
    "resnet": (6, []),  # of less, batch_norm has two elements and blows up every rounding
    "vit": (8, ["layers=1", "heads=2", "width=8", "clip_norm=1"]),
}


def write_images(root: Path, side: int) -> Path:
    root.mkdir()
    for part, count in (("train", 4), ("test", 2)):
        write_idx(root / MNIST_FILES[part, "images"], RNG.integers(0, 256, (count, side, side), dtype=np.uint8))
        write_idx(root / MNIST_FILES[part, "labels"], np.arange(count, dtype=np.uint8))
    return root


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_trains_there(name, tmp_path, capsys):
    from littlecore.cli import main

    side, settings = PROGRAMS[name]
    data = write_images(tmp_path / "images", side) if side else tmp_path / "text.txt"
    if not side:
        data.write_text("to be or not to be, that is the question. " * 20)
    settings = [*settings, "batch_size=2", "workers=0", *(["validation=0.5"] if side else [])]
    rows = []
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        arguments = ["train", name, "--data", str(data), "--epochs", "1", "--device", device, "--out", str(out)]
        assert main([*arguments, *(a for s in settings for a in ("--set", s))]) == 0
        capsys.readouterr()
        (row,) = csv.DictReader((out / "metrics.csv").read_text().splitlines())
        rows.append({key: float(value) for key, value in row.items() if key.endswith("loss")})
    assert len(rows[0]) >= 3
    assert rows[1] == pytest.approx(rows[0], rel=1e-5)


def test_an_optimizer_goes_on_there():
    results = []
    for device in ("cpu", "cuda"):
        lc.manual_seed(1)
        model = nn.Linear(3, 2).to(device)
        x = lc.ones(4, 3, device=device)

        def steps(optimizer, model=model, x=x):
            for _ in range(2):
                optimizer.zero_grad()
                model(x).square().mean().backward()
                optimizer.step()

        first = optim.AdamW(model.parameters(), lr=0.1)
        steps(first)
        state = pack(first.state_dict())
        second = optim.AdamW(model.parameters(), lr=0.1)
        second.load_state_dict(unpack(*state))
        steps(second)
        results.append(model.weight.detach().cpu().numpy())
    np.testing.assert_allclose(results[1], results[0], rtol=1e-5)
