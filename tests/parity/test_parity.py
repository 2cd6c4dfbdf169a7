"""PyTorch's own initial weights, the same batches: the loss of each of 10 steps within 1e-5 of PyTorch's."""

import sys
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
from littlecore import models

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))
import twins  # noqa: E402

STEPS, WITHIN = 10, 1e-5
GPT = {"vocab_size": 65, "block_size": 48, "n_layer": 3, "n_head": 4, "n_embd": 64}
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
    return x, (np.abs(x[:, :10]).sum(1) > 8).astype(np.int64)


CASES = {
    "mlp": (models.mlp, twins.MLP, points, lambda o, p: o.Adam(p, lr=1e-3), 64),
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
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_losses_of_ten_steps(name):
    make, twin, batch, optimizer, size = CASES[name]
    torch.manual_seed(0)
    theirs = twin()
    ours = make()
    ours.load_state_dict({k: v.numpy().copy() for k, v in theirs.state_dict().items()})
    one, two = optimizer(lc.optim, ours.parameters()), optimizer(torch.optim, theirs.parameters())
    random = np.random.default_rng(0)

    losses = []
    for _ in range(STEPS):
        x, y = batch(random, size)
        step = []
        for lib, model, opt, tensor in ((lc, ours, one, lc.from_numpy), (torch, theirs, two, torch.from_numpy)):
            logits = model(tensor(x))
            loss = lib.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), tensor(y).reshape(-1))
            opt.zero_grad()
            loss.backward()
            opt.step()
            step.append(loss.item())
        losses.append(step)

    losses = np.array(losses)
    difference = np.abs(losses[:, 0] - losses[:, 1])
    print(f"{name}: largest difference {difference.max():.1e}, losses {losses[0, 0]:.4f} to {losses[-1, 0]:.4f}")
    assert difference.max() <= WITHIN, f"step {difference.argmax()}: {losses[difference.argmax()]}"
    assert len(set(losses[:, 0])) == STEPS and losses[-1, 0] < losses[0, 0]
