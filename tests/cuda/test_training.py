"""embedding, dropout and the optimizers on a device: the CPU's numbers, to the bit where sums have one order."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS, normal

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import nn, optim

IDS = {"ids": lambda d: d.name}


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
@pytest.mark.parametrize("rows, cols, count", [(5, 7, 11), (300, 16, 2500), (3, 40, 0)])
def test_embedding_is_exact(rows, cols, count, dtype):
    rng = np.random.default_rng(0)
    index = lc.tensor(rng.integers(0, rows, count))
    dy = lc.tensor(rng.integers(-3, 4, (count, cols))).to(dtype)
    grads = []
    for at in ("cpu", "cuda"):
        w = normal((rows, cols), dtype, grad=False).to(at).requires_grad_(True)
        y = F.embedding(index.to(at), w, padding_idx=1)
        y.backward(dy.to(at))
        grads.append((y.tolist(), w.grad.tolist()))
    assert grads[0] == grads[1]


def test_an_index_out_of_range_is_an_error():
    w = lc.ones(3, 4, device="cuda")
    if lc.cuda.get_device_name().startswith("emulated"):
        with pytest.raises(RuntimeError, match="out of range"):
            F.embedding(lc.tensor([0, 3]).cuda(), w)


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
@pytest.mark.parametrize("n", [1, 63, 64, 1000, 5001])
def test_dropout_draws_the_cpus_numbers(n, dtype):
    results = []
    for at in ("cpu", "cuda"):
        lc.manual_seed(7)
        x = lc.ones(n, dtype=dtype, device=at).requires_grad_(True)
        y = F.dropout(x, 0.3)
        y.sum().backward()
        results.append((y.tolist(), x.grad.tolist()))
    assert results[0] == results[1]


STEPS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, amsgrad=True, weight_decay=0.01),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, momentum=0.5, centered=True),
}


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
@pytest.mark.parametrize("name", STEPS)
def test_steps(name, dtype):
    results = []
    for at in ("cpu", "cuda"):
        rng = np.random.default_rng(1)
        shapes = [(5,), (33, 7), (1,), (4099,), (0,), (2, 3)] * 9  # more tensors than one launch takes
        params = [lc.tensor(rng.normal(0, 1, s)).to(at, dtype).requires_grad_(True) for s in shapes]
        step = STEPS[name](params)
        for _ in range(2):
            for p in params:
                p.grad = lc.tensor(rng.normal(0, 1, p.shape)).to(at, dtype)
            step.step()
        results.append([p.detach().cpu().double().numpy() for p in params])
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol={2: 1e-2, 4: 1e-6, 8: 1e-13}[dtype.itemsize], atol=1e-6)


@pytest.mark.parametrize("order", [1.0, 2.0, float("inf")])
def test_clipping(order):
    results = []
    for at in ("cpu", "cuda"):
        rng = np.random.default_rng(2)
        params = [lc.zeros(n, device=at).requires_grad_(True) for n in (3, 5000, 1, 700)]
        for p in params:
            p.grad = lc.tensor(rng.normal(0, 1, p.shape)).float().to(at)
        norm = nn.utils.clip_grad_norm_(params, 1.5, order)
        assert norm.device == ("cuda:0" if at == "cuda" else "cpu")
        results.append((norm.item(), np.concatenate([p.grad.cpu().numpy() for p in params])))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-6)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=2e-6, atol=1e-9)


def test_a_convolutional_network_learns_as_on_the_cpu():
    rng = np.random.default_rng(0)
    images, labels = lc.tensor(rng.normal(0, 1, (2, 1, 8, 8))).float(), lc.tensor([3, 1])
    losses = []
    for at in ("cpu", "cuda"):
        lc.manual_seed(0)
        middle = [nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU()]
        model = nn.Sequential(nn.Conv2d(1, 3, 3), *middle, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)).to(
            at
        )
        step = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        losses.append([])
        for _ in range(3):
            loss = F.cross_entropy(model(images.to(at)), labels.to(at))
            step.zero_grad()
            loss.backward()
            step.step()
            losses[-1].append(loss.item())
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
