"""capture on a device: replays give the bits of eager steps, run no Python, and leave other memory alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import models, nn, optim
from littlecore.amp import GradScaler

STEPS = 5


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.3), nn.LayerNorm(8), nn.Linear(8, 3))


def cnn() -> nn.Module:
    pooled = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)]
    return nn.Sequential(nn.Unflatten(1, (1, 6)), *pooled)


def gpt() -> nn.Module:
    return models.gpt(vocab_size=11, block_size=6, n_layer=1, n_head=2, n_embd=8, dropout=0.1)


MODELS = {  # a model, one batch
    "mlp": (mlp, lambda rng: lc.tensor(rng.normal(0, 1, (4, 6))).float(), 4),
    "cnn": (cnn, lambda rng: lc.tensor(rng.normal(0, 1, (4, 6, 6))).float(), 4),
    "gpt": (gpt, lambda rng: lc.tensor(rng.integers(0, 11, (2, 6))), 12),
}


def train(name: str, wrap: Callable, dtype: lc.dtype | None) -> tuple[list, list, int]:
    """Losses and parameters after some steps, and how often Python ran the step. The rate falls from step to step."""
    lc.manual_seed(0)
    make, batch, rows = MODELS[name]
    model = make().cuda()
    optimizer = optim.AdamW(model.parameters(), lr=0.05)
    schedule = optim.lr_scheduler.StepLR(optimizer, 1, 0.7)
    rng, ran, losses, others = np.random.default_rng(0), [0], [], []

    def step(x: lc.Tensor, t: lc.Tensor) -> lc.Tensor:
        ran[0] += 1
        optimizer.zero_grad()
        with lc.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            y = model(x)
            loss = F.cross_entropy(y.reshape(-1, y.shape[-1]), t)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss

    call = wrap(step)
    for i in range(STEPS):
        loss = call(batch(rng).cuda(), lc.tensor(rng.integers(0, 3, rows)).cuda())
        schedule.step()
        losses.append(loss.item())
        others += [lc.full((n,), float(i), device="cuda") for n in (4, 8, 48, 64, 300, 3000)]  # no block of the plan's
    assert all(set(x.tolist()) == {float(i // 6)} for i, x in enumerate(others))
    return losses, [p.tolist() for p in model.state_dict().values()], ran[0]


@pytest.mark.parametrize("dtype", [None, lc.bfloat16], ids=["float32", "autocast"])
@pytest.mark.parametrize("name", MODELS)
def test_training_has_the_bits_of_eager(name, dtype):
    eager, captured = train(name, lambda step: step, dtype), train(name, lc.capture, dtype)
    assert captured[:2] == eager[:2]
    assert (eager[2], captured[2]) == (STEPS, 2), "the first call runs, the second records, the others replay"


def test_inference_allocates_nothing_from_the_driver_and_follows_the_weights():
    model = mlp().cuda().eval()

    @lc.capture
    @lc.no_grad()
    def forward(x: lc.Tensor) -> lc.Tensor:
        return F.softmax(model(x), 1)

    x = lc.ones(4, 6, device="cuda")
    for _ in range(3):
        forward(x)
    before = lc.cuda.memory_stats()["system_allocations"]
    for _ in range(4):
        with lc.no_grad():
            model[0].weight.mul_(0.5)
        assert forward(x).tolist() == F.softmax(model(x), 1).tolist()
    assert lc.cuda.memory_stats()["system_allocations"] == before and forward.recorded == 1


def test_arguments_of_another_device_have_a_plan_of_their_own():
    double = lc.capture(lambda x: (x * 2 + 1).relu())
    for _ in range(2):
        for i in range(4):
            for device in ("cpu", "cuda"):
                x = lc.full((5,), float(i), device=device)[::2]  # strided
                y = double(x)
                assert y.device == x.device and y.tolist() == [2.0 * i + 1] * 3
    assert double.recorded == 2


def test_a_scale_that_changed_is_seen():
    scaler = GradScaler(init_scale=4.0)
    w = lc.ones(3, device="cuda").requires_grad_()
    optimizer = optim.SGD([w], lr=0.0)

    @lc.capture
    def gradient() -> lc.Tensor:
        w.grad = None
        scaler.scale(w.sum()).backward()
        return w.grad

    for scale in (4.0, 4.0, 4.0, 16.0, 2.0):
        scaler.update(scale)
        assert gradient().tolist() == [scale] * 3

    def whole() -> None:
        gradient.step()
        scaler.step(optimizer)
        scaler.update(1.0)

    whole = lc.capture(whole)
    whole()
    with pytest.raises(RuntimeError, match="captured step cannot repeat"):
        whole()
