"""autocast on a device: which type each op computes in, the gradients of parameters, and that training stays close."""

from __future__ import annotations

import math

import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import models, nn, optim
from littlecore.amp import GradScaler
from littlecore.autograd.checkpoint import checkpoint

HALVES = [lc.bfloat16, lc.float16]
IDS = {"ids": lambda d: d.name}


def normal(*shape: int, seed: int = 0) -> lc.Tensor:
    return lc.tensor(np.random.default_rng(seed).normal(0, 1, shape)).float().cuda()


LOWER = {
    "matmul": lambda x: x @ x,
    "mm": lambda x: lc.mm(x, x),
    "bmm": lambda x: lc.bmm(x[None], x[None]),
    "einsum": lambda x: lc.einsum("ij,jk->ik", x, x),
    "linear": lambda x: F.linear(x, x, x[0], activation="gelu"),
    "conv2d": lambda x: F.conv2d(x[None, None], x[None, None, :3, :3], x[0, :1]),
    "conv_transpose2d": lambda x: F.conv_transpose2d(x[None, None], x[None, None, :3, :3]),
    "attention": lambda x: F.scaled_dot_product_attention(x[None, None], x[None, None], x[None, None]),
}
FLOAT32 = {
    "softmax": lambda x: F.softmax(x, 1),
    "log_softmax": lambda x: F.log_softmax(x, 1),
    "layer_norm": lambda x: F.layer_norm(x, (8,), lc.ones(8, device="cuda")),
    "rms_norm": lambda x: F.rms_norm(x, (8,), lc.ones(8, device="cuda")),
    "group_norm": lambda x: F.group_norm(x[None], 2, lc.ones(8, device="cuda")),
    "batch_norm": lambda x: F.batch_norm(x, *(lc.ones(8, device="cuda") for _ in range(3)), training=True),
    "cross_entropy": lambda x: F.cross_entropy(x, lc.arange(8, device="cuda")),
    "mse_loss": lambda x: F.mse_loss(x, lc.zeros(8, 8, device="cuda")),
    "sum": lambda x: x.sum(),
    "norm": lambda x: x.norm(),
    "exp": lambda x: x.exp(),
    "power": lambda x: x**2,
    "pow": lambda x: lc.pow(x, 2.0),
}
PROMOTED = {
    "add": lambda x: x + lc.ones(8, device="cuda"),
    "cat": lambda x: lc.cat([x, lc.ones(8, 8, device="cuda")]),
    "where": lambda x: lc.where(x > 0, x, lc.zeros(8, 8, device="cuda")),
}


@pytest.mark.parametrize("dtype", HALVES, **IDS)
@pytest.mark.parametrize("name", LOWER)
def test_products_are_of_16_bits(name, dtype):
    x = normal(8, 8)
    with lc.autocast("cuda", dtype=dtype):
        y = LOWER[name](x)
    assert y.dtype is dtype
    want = LOWER[name](x.to(dtype))  # the same kernel on what was converted by hand
    assert y.tolist() == want.tolist()


@pytest.mark.parametrize("name", {**FLOAT32, **PROMOTED})
def test_the_rest_is_of_float32(name):
    x = normal(8, 8).bfloat16()
    f = {**FLOAT32, **PROMOTED}[name]
    with lc.autocast("cuda", dtype=lc.bfloat16):
        y = f(x)
        assert x.relu().dtype is lc.bfloat16 and (x + x).dtype is lc.bfloat16
    assert y.dtype is lc.float32
    assert y.tolist() == f(x.float()).tolist()


def test_float64_and_integers_stay_what_they_are():
    x = normal(4, 4)
    with lc.autocast("cuda", dtype=lc.bfloat16):
        assert (x.double() @ x.double()).dtype is lc.float64
        assert lc.arange(3, device="cuda").sum().dtype is lc.int64


def test_a_parameter_is_converted_once_a_region():
    w = normal(8, 8).requires_grad_()
    x = normal(4, 8)

    def blocks(regions: int) -> int:
        before = lc.cuda.memory_stats()["allocations"]
        for _ in range(regions):
            with lc.autocast("cuda", dtype=lc.bfloat16):
                for _ in range(6 // regions):
                    F.linear(x, w)
        return lc.cuda.memory_stats()["allocations"] - before

    assert blocks(6) - blocks(1) == 5
    with lc.autocast("cuda", dtype=lc.bfloat16):
        old = F.linear(x, w)
        with lc.no_grad():
            w.mul_(2)
        assert F.linear(x, w).tolist() == (2 * old).tolist(), "converted again after a step"
        with lc.no_grad():
            assert not F.linear(x, w).requires_grad
        assert F.linear(x, w).requires_grad, "what no_grad converted has no history"


def test_gradients_arrive_in_float32_also_twice():
    w, x = normal(8, 8).requires_grad_(), normal(4, 8)
    with lc.autocast("cuda", dtype=lc.bfloat16):
        for times in (1, 2):
            (F.linear(x, w) @ w).float().sum().backward()  # two uses of one conversion
            if times == 1:
                once = np.array(w.grad.tolist())
    assert w.grad.dtype is lc.float32
    np.testing.assert_array_equal(np.array(w.grad.tolist()), 2 * once)
    by_hand = w.detach().clone().requires_grad_()
    half = by_hand.bfloat16()
    (F.linear(x.bfloat16(), half) @ half).float().sum().backward()
    np.testing.assert_array_equal(once, np.array(by_hand.grad.tolist()))


def test_checkpoint_runs_again_in_the_same_types():
    w, x = normal(8, 8).requires_grad_(), normal(4, 8)
    grads = []
    for run in (lambda f, x: f(x), checkpoint):
        w.grad = None
        with lc.autocast("cuda", dtype=lc.bfloat16):
            y = run(lambda x: F.linear(x, w).relu(), x)
        y.float().square().sum().backward()
        grads.append(w.grad.tolist())
    assert grads[0] == grads[1]


def train(model: nn.Module, batch: tuple[lc.Tensor, lc.Tensor], dtype: lc.dtype | None, steps: int = 5) -> list[float]:
    optimizer = optim.AdamW(model.parameters(), lr=1e-2)
    scaler = GradScaler(enabled=dtype is lc.float16)
    losses = []
    for _ in range(steps):
        with lc.autocast("cuda", dtype=dtype, enabled=dtype is not None):
            y = model(batch[0])
            loss = F.cross_entropy(y.reshape(-1, y.shape[-1]), batch[1].reshape(-1))
        assert loss.dtype is lc.float32
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update() if dtype is lc.float16 else None
        losses.append(loss.item())
    assert all(p.dtype is lc.float32 and p.grad.dtype is lc.float32 for p in model.parameters())
    return losses


MODELS = {
    "mlp": (lambda: models.mlp((6, 16, 16, 3)), lambda: (normal(8, 6, seed=1), lc.arange(8, device="cuda") % 3)),
    "gpt": (
        lambda: models.gpt(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=16, dropout=0.0),
        lambda: ((lc.arange(16, device="cuda").reshape(2, 8) * 5) % 11, (lc.arange(16, device="cuda") * 5 + 5) % 11),
    ),
    "cnn": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
        ),
        lambda: (normal(6, 1, 8, 8, seed=2), lc.arange(6, device="cuda") % 3),
    ),
}


@pytest.mark.parametrize("dtype", HALVES, **IDS)
@pytest.mark.parametrize("name", MODELS)
def test_training_stays_close_to_float32(name, dtype):
    """A forward of depth d rounds about 2 d times, each by at most eps / 2, and roundings of independent places grow as
    the root of their number: the loss is off by a few eps of its first value; 8 leave room for what five steps add."""
    make, batch = MODELS[name]
    losses = []
    for kind in (None, dtype):
        lc.manual_seed(4)
        losses.append(train(make().cuda(), batch(), kind))
    eps = {lc.bfloat16: 2.0**-7, lc.float16: 2.0**-10}[dtype]
    want, got = np.array(losses[0]), np.array(losses[1])
    assert want[-1] < 0.95 * want[0], "it learns"
    assert 0 < np.abs(got - want).max() < 8 * eps * want[0]


def test_float16_skips_the_step_that_overflows():
    lc.manual_seed(0)
    model = nn.Linear(4, 4).cuda()
    optimizer, scaler = optim.SGD(model.parameters(), lr=0.1), GradScaler(init_scale=2.0**19)
    x, before, skipped = normal(2, 4), model.weight.tolist(), 0
    for _ in range(10):
        with lc.autocast("cuda"):
            loss = model(x).float().square().mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        finite = all(math.isfinite(v) for row in model.weight.grad.tolist() for v in row)
        assert (model.weight.tolist() == before) != finite
        skipped += not finite
        scale = scaler.get_scale()
        scaler.update()
        assert scaler.get_scale() == (scale if finite else scale / 2)
        if finite:
            break
    assert finite and 2 <= skipped < 9
