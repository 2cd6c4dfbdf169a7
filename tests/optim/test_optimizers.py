"""Optimizers beside PyTorch's over 1,000 steps, and what happens around a step."""

import functools

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import nn, optim

SHAPES = [(3,), (5, 7), (), (33, 65), (0,)]
KINDS = {
    "sgd": ("SGD", {"lr": 0.01}),
    "momentum": ("SGD", {"lr": 0.01, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "nesterov": ("SGD", {"lr": 0.01, "momentum": 0.9, "nesterov": True, "maximize": True}),
    "adam": ("Adam", {"lr": 0.01}),
    "adam decay": ("Adam", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}),
    "amsgrad": ("Adam", {"lr": 0.01, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.01, "weight_decay": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.001}),
    "rmsprop all": ("RMSprop", {"lr": 0.001, "momentum": 0.9, "centered": True, "weight_decay": 0.1}),
}


@functools.cache
def numbers(dtype, seed=0):
    random = np.random.default_rng(seed)
    return tuple(np.asarray(random.standard_normal(s), dtype) for s in SHAPES)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-6)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_steps_equal_pytorchs(kind, dtype, tolerance):
    """Relative to the largest value of a tensor. float32: 1,000 roundings of 6e-8 each."""
    torch = pytest.importorskip("torch")
    name, options = KINDS[kind]
    start = numbers(dtype)
    ours = [nn.Parameter(lc.from_numpy(p.copy())) for p in start]
    theirs = [torch.nn.Parameter(torch.tensor(p)) for p in start]
    one, two = getattr(optim, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(1000):
        for a, b, g in zip(ours, theirs, numbers(dtype, 1 + step % 29), strict=True):
            missing = step % 7 == 3 and a.ndim == 1  # a parameter that sometimes has no gradient
            a.grad = None if missing else lc.from_numpy(g)
            b.grad = None if missing else torch.from_numpy(g)
        one.step()
        two.step()
    for a, b in zip(ours, theirs, strict=True):
        a, b = a.detach().numpy(), b.detach().numpy()
        assert np.abs(a - b).max(initial=0) <= tolerance * np.abs(b).max(initial=0)


@pytest.mark.parametrize("kind", KINDS)
def test_resuming_is_bit_identical(kind):
    name, options = KINDS[kind]

    def run(resume_at):
        params = [nn.Parameter(lc.from_numpy(p.copy())) for p in numbers("float32")]
        optimizer = getattr(optim, name)(params, **options)
        for step in range(10):
            if step == resume_at:
                state, params = optimizer.state_dict(), [nn.Parameter(p.detach().clone()) for p in params]
                optimizer = getattr(optim, name)(params, lr=123.0)
                optimizer.load_state_dict(state)
            for p, g in zip(params, numbers("float32", step + 1), strict=True):
                p.grad = lc.from_numpy(g)
            optimizer.step()
        return [p.detach().numpy() for p in params]

    for a, b in zip(run(None), run(6), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["momentum", "adamw", "rmsprop all"])
def test_state_of_pytorch_loads(kind):
    torch = pytest.importorskip("torch")
    name, options = KINDS[kind]
    theirs = [torch.nn.Parameter(torch.tensor(p)) for p in numbers("float64")]
    two = getattr(torch.optim, name)(theirs, **options)

    def steps(optimizer, params, wrap, first):
        for step in range(first, first + 5):
            for p, g in zip(params, numbers("float64", step), strict=True):
                p.grad = wrap(g)
            optimizer.step()

    steps(two, theirs, torch.tensor, 1)
    ours = [nn.Parameter(lc.from_numpy(p.detach().numpy().copy())) for p in theirs]
    one = getattr(optim, name)(ours, **options)
    one.load_state_dict(two.state_dict())
    assert set(one.state[ours[0]]) >= set(two.state[theirs[0]])
    steps(two, theirs, torch.tensor, 6)
    steps(one, ours, lc.from_numpy, 6)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-12, atol=1e-13)


def test_groups_have_their_own_options():
    a, b = nn.Parameter(lc.ones(2)), nn.Parameter(lc.ones(2))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 1.0}], lr=0.5)
    a.grad, b.grad = lc.ones(2), lc.ones(2)
    optimizer.step()
    assert a.tolist() == [0.5, 0.5] and b.tolist() == [0, 0]
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert a.tolist() == [0.25, 0.25]
    optimizer.zero_grad(set_to_none=False)
    assert a.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert a.grad is None and b.grad is None


def test_what_is_refused():
    p = nn.Parameter(lc.ones(2))
    with pytest.raises(ValueError, match="empty parameter list"):
        optim.SGD([])
    with pytest.raises(TypeError, match="iterable"):
        optim.SGD(p)
    with pytest.raises(ValueError, match="more than once"):
        optim.Adam([p, p])
    with pytest.raises(ValueError, match="non-leaf"):
        optim.Adam([p * 2])
    with pytest.raises(ValueError, match="learning rate"):
        optim.Adam([p], lr=-1)
    with pytest.raises(ValueError, match="Nesterov"):
        optim.SGD([p], nesterov=True)
    with pytest.raises(ValueError, match="match the size"):
        optim.SGD([p]).load_state_dict(optim.SGD([p, nn.Parameter(lc.ones(1))]).state_dict())


def test_closure_and_a_parameter_that_joins_later():
    p, late = nn.Parameter(lc.ones(2)), nn.Parameter(lc.ones(2))
    optimizer = optim.AdamW([p, late], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2 and p.tolist()[0] < 1 and late.tolist() == [1, 1]
    late.grad = lc.ones(2)
    optimizer.step()
    assert optimizer.state[late]["step"].item() == 1 and optimizer.state[p]["step"].item() == 2
    assert late.tolist()[0] < 1


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_master_weights_keep_what_16_bits_lose(dtype):
    """200 steps of 1e-4 from 1: a 16-bit weight alone never moves."""
    kind = getattr(lc, dtype)
    plain, mastered = (nn.Parameter(lc.ones(40).to(kind)) for _ in range(2))
    one, two = optim.SGD([plain], lr=1e-4), optim.SGD([mastered], lr=1e-4, master_weights=True)
    for _ in range(200):
        plain.grad, mastered.grad = lc.ones(40).to(kind), lc.ones(40).to(kind)
        one.step()
        two.step()
    assert np.all(plain.detach().to(lc.float32).numpy() == 1)
    assert np.all(np.abs(mastered.detach().to(lc.float32).numpy() - 0.98) < 0.004)
    assert np.all(np.abs(two.state[mastered]["master_param"].numpy() - 0.98) < 1e-5)


@pytest.mark.parametrize("limit", [1.5, 1e4])
@pytest.mark.parametrize("order", [2.0, 1.0, float("inf"), 3.0])
def test_clip_grad_norm(order, limit):
    gradients = numbers("float32")
    every = np.abs(np.concatenate([g.astype(np.float64).ravel() for g in gradients]))
    want = every.max() if order == float("inf") else (every**order).sum() ** (1 / order)
    factor = 16 + np.sqrt(every.size)  # roundings: of the sum, and a few of the root and the scale
    ours = [nn.Parameter(lc.from_numpy(g.copy())) for g in gradients]
    for p, g in zip(ours, gradients, strict=True):
        p.grad = lc.from_numpy(g.copy())
    norm = nn.utils.clip_grad_norm_(ours, limit, order)
    check.bounded(norm, np.array(want), want, factor)
    for p, g in zip(ours, gradients, strict=True):
        scaled = g.astype(np.float64) * min(1, limit / (want + 1e-6))
        check.bounded(p.grad, scaled, np.abs(scaled), factor)
    check.bounded(
        nn.utils.get_total_norm([p.grad for p in ours], order), np.array(min(limit, want)), limit, factor + 32
    )
    with pytest.raises(RuntimeError, match="non-finite"):
        ours[0].grad = lc.tensor([np.nan, 1.0, 2.0])
        nn.utils.clip_grad_norm_(ours, 1.0, order, error_if_nonfinite=True)


def test_clip_grad_value_and_vectors():
    p = nn.Parameter(lc.zeros(3))
    p.grad = lc.tensor([-2.0, 0.25, 3.0])
    nn.utils.clip_grad_value_([p, nn.Parameter(lc.zeros(1))], 0.5)
    assert p.grad.tolist() == [-0.5, 0.25, 0.5]

    net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert tuple(vector.shape) == (13,)
    nn.utils.vector_to_parameters(lc.arange(13).to(lc.float32), net.parameters())
    assert net[0].bias.tolist() == [6, 7, 8] and net[1].weight.tolist() == [[9, 10, 11]]
    with pytest.raises(ValueError, match="13 elements"):
        nn.utils.vector_to_parameters(lc.zeros(12), net.parameters())
