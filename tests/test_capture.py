"""lc.capture: replays have the bits of eager steps, see what they should, and refuse what they cannot repeat."""

from __future__ import annotations

import gc
import importlib
import threading
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn
from littlecore.nn import functional as F

STEPS = 7


def same(a: lc.Tensor, b: lc.Tensor) -> bool:
    return bool(np.array_equal(a.detach().numpy(), b.detach().numpy(), equal_nan=True))


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def classes(high: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, high, shape)


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(width), heads
        self.qkv, self.proj, self.drop = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.Dropout(0.2)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: lc.Tensor) -> lc.Tensor:
        n, t, d = x.shape
        q, k, v = (h.view(n, t, self.heads, -1).transpose(1, 2) for h in self.qkv(self.norm(x)).split(d, -1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.1 if self.training else 0.0)
        x = x + self.drop(self.proj(a.transpose(1, 2).reshape(n, t, d)))
        return x + self.drop(self.mlp(x))


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(17, 24), nn.Embedding(12, 24)
        self.blocks, self.head = nn.Sequential(Block(24, 3), Block(24, 3)), nn.Linear(24, 17, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, i: lc.Tensor) -> lc.Tensor:
        return self.head(self.blocks(self.tokens(i) + self.positions.weight)).transpose(1, 2)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 5))


def lenet() -> nn.Module:
    features = [
        nn.Conv2d(1, 6, 5, padding=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.AvgPool2d(2),
    ]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(72, 10))


def lstm() -> nn.Module:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, 5)

        def forward(self, x: lc.Tensor) -> lc.Tensor:
            return self.head(self.lstm(x)[0][:, -1])

    return Last()


CASES = {
    "mlp": (mlp, lambda s: (array(4, 8, seed=s), classes(5, 4, seed=s))),
    "lenet": (lenet, lambda s: (array(6, 1, 16, 16, seed=s), classes(10, 6, seed=s))),
    "gpt": (GPT, lambda s: (classes(17, 3, 12, seed=s), classes(17, 3, 12, seed=s + 1))),
    "lstm": (lstm, lambda s: (array(3, 6, 8, seed=s), classes(5, 3, seed=s))),
}
OPTIMIZERS = {
    "adamw": lambda p: lc.optim.AdamW(p, lr=0.01),
    "sgd": lambda p: lc.optim.SGD(p, lr=0.1, momentum=0.9),
    "rmsprop": lambda p: lc.optim.RMSprop(p, lr=0.01),
}


def train(name: str, optimizer: str, captured: bool) -> tuple[list[lc.Tensor], list[lc.Tensor]]:
    """Losses and final state of STEPS steps, with clipping and a schedule of the learning rate."""
    lc.manual_seed(3)
    build, batch = CASES[name]
    model = build()
    rule = OPTIMIZERS[optimizer](model.parameters())
    schedule = lc.optim.lr_scheduler.StepLR(rule, 2, gamma=0.5)

    def step(x: lc.Tensor, target: lc.Tensor) -> lc.Tensor:
        rule.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        rule.step()
        return loss

    run = lc.capture(step) if captured else step
    losses = []
    for s in range(STEPS):
        losses.append(run(*(lc.from_numpy(a) for a in batch(s))).detach().clone())
        schedule.step()
    if captured:
        assert run.recorded == 1
    return losses, list(model.state_dict().values())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_training_has_the_bits_of_eager(name: str, threads: int) -> None:
    before = lc.get_num_threads()
    lc.set_num_threads(threads)
    try:
        for eager, replayed in zip(train(name, "adamw", False), train(name, "adamw", True), strict=True):
            for a, b in zip(eager, replayed, strict=True):
                assert same(a, b)
    finally:
        lc.set_num_threads(before)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_count_and_read_their_options(optimizer: str) -> None:
    for eager, replayed in zip(train("mlp", optimizer, False), train("mlp", optimizer, True), strict=True):
        for a, b in zip(eager, replayed, strict=True):
            assert same(a, b)


def test_inference_and_containers() -> None:
    model = mlp()

    @lc.capture
    def predict(x: lc.Tensor, scale: float = 1.0) -> dict:
        with lc.no_grad():
            y = model(x) * scale
            return {"y": y, "best": (y.argmax(-1), None, 3)}

    for s in range(4):
        x = lc.from_numpy(array(4, 8, seed=s))
        for scale in (1.0, 2.0):
            out = predict(x, scale=scale)
            assert same(out["y"], model(x) * scale) and not out["y"].requires_grad
            assert same(out["best"][0], model(x).argmax(-1)) and out["best"][1:] == (None, 3)
    assert predict.recorded == 2


def test_shapes_dtypes_and_strides() -> None:
    double = lc.capture(lambda x: x * 2 + 1)
    for shape in ((3, 4), (5, 2), (3, 4)):
        for seed in range(3):
            for x in (
                lc.from_numpy(array(*shape, seed=seed)),
                lc.from_numpy(array(*shape[::-1], seed=seed).astype(np.float64)).T,
            ):
                assert same(double(x), x * 2 + 1)
    assert double.recorded == 4
    double.reset()
    assert same(double(x), x * 2 + 1) and double.recorded == 4


def test_gradients_made_outside_or_accumulated() -> None:
    """Without zero_grad in the step: whatever .grad is before, the step adds to it."""
    model, twin = mlp(), mlp()
    twin.load_state_dict(model.state_dict())

    def step(m: nn.Module, x: lc.Tensor) -> None:
        m(x).square().sum().backward()

    run = lc.capture(lambda x: step(model, x))
    for s in range(9):
        x = lc.from_numpy(array(4, 8, seed=s))
        if s % 4 == 0:
            model.zero_grad()
            twin.zero_grad()
        run(x)
        step(twin, x)
        for p, q in zip(model.parameters(), twin.parameters(), strict=True):
            assert same(p.grad, q.grad)


def test_modules_that_change_are_recorded_again() -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5))
    run = lc.capture(lambda x: model(x))
    x = lc.from_numpy(array(4, 8))
    for _ in range(3):
        run(x)
    model.eval()
    assert same(run(x), model(x))
    model[1].p = 0.9
    model.train()
    assert (run(x) == 0).float().mean().item() > 0.6
    assert run.recorded == 3
    model[0].weight.data = lc.zeros(8, 8)
    model[0].bias.data = lc.zeros(8)
    assert same(run(x), lc.zeros(4, 8))


def test_random_numbers_go_on() -> None:
    def draw() -> lc.Tensor:
        return lc.rand(64) + lc.randn(64) + F.dropout(lc.ones(64), 0.5) + lc.randperm(64) + lc.randint(0, 9, (64,))

    lc.manual_seed(5)
    eager = [draw() for _ in range(5)]
    lc.manual_seed(5)
    run = lc.capture(draw)
    assert all(same(a, run().clone()) for a in eager)


def test_constants_and_zeros_are_made_anew() -> None:
    def step(x: lc.Tensor) -> lc.Tensor:
        total, line = lc.zeros(4), lc.arange(4).float()
        total += x + lc.tensor([1.0, 2.0, 3.0, 4.0])
        line += total
        return total * line + lc.full((4,), 3.0) / 2 + x**2

    run = lc.capture(step)
    for s in range(4):
        x = lc.from_numpy(array(4, seed=s))
        assert same(run(x), step(x))


def test_results_and_arguments_belong_to_the_plan() -> None:
    run = lc.capture(lambda x: x + 1)
    x = lc.from_numpy(array(4))
    run(x)
    y = run(x)
    w = lc.ones(4, requires_grad=True)
    loss = (y * w).sum()
    assert run(lc.zeros(4)) is y and same(y, lc.ones(4)) and not same(x, lc.zeros(4))
    with pytest.raises(RuntimeError, match="modified in place"):
        loss.backward()


KEPT: list[lc.Tensor] = []
REFUSED = {
    "item": (lambda x: x * x.sum().item(), "item"),
    "branch": (lambda x: x if x.sum() > 0 else -x, "item"),
    "numpy": (lambda x: lc.from_numpy(x.numpy() * 2), "captured step"),
    "tolist": (lambda x: lc.tensor(x.tolist()), "captured step"),
    "nonzero": (lambda x: x.nonzero(), "nonzero"),
    "mask": (lambda x: x[x > 0], "getitem"),
    "kept": (lambda x: KEPT.append(x * 2), "keeps a tensor of shape"),
    "argument": (lambda x: x.add_(1), "argument 0"),
    "result": (lambda x: {1, 2}, "returned a set"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_what_it_cannot_repeat(name: str) -> None:
    step, message = REFUSED[name]
    run = lc.capture(step)
    with pytest.raises((RuntimeError, TypeError, BufferError), match=message):
        for _ in range(2):
            run(lc.ones(3))
    KEPT.clear()
    assert same(lc.capture(lambda x: x + 1)(lc.ones(3)), lc.ones(3) * 2)  # and recording has ended


def test_refuses_arguments() -> None:
    run = lc.capture(lambda *x: None)
    with pytest.raises(TypeError, match="argument of its own"):
        run([lc.ones(3)])
    with pytest.raises(ValueError, match="requires grad"):
        run(lc.ones(3, requires_grad=True))
    with pytest.raises(TypeError, match="callable"):
        lc.capture(3)


def test_errors_in_a_replay() -> None:
    model = nn.Embedding(5, 4)
    run = lc.capture(lambda i: model(i))
    for _ in range(3):
        run(lc.tensor([1, 2]))
    with pytest.raises(IndexError, match="out of range"):
        run(lc.tensor([1, 7]))
    assert same(run(lc.tensor([4, 0])), model(lc.tensor([4, 0])))


def captured_training() -> lc._core.Captured:
    model = mlp()
    rule = lc.optim.AdamW(model.parameters())

    def step(x: lc.Tensor) -> lc.Tensor:
        rule.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        rule.step()
        return loss

    return lc.capture(step)


def test_memory_is_stable_and_given_back() -> None:
    gc.collect()
    live = lc.memory.stats()["live_blocks"]
    run, x = captured_training(), lc.from_numpy(array(4, 8))
    for _ in range(4):
        run(x)
    before = lc.memory.stats()
    for _ in range(100):
        run(x)
    after = lc.memory.stats()
    assert after["live_bytes"] == before["live_bytes"] and after["system_allocations"] == before["system_allocations"]
    y = run(x)
    del run, x
    gc.collect()
    float(y)  # a result outlives its plan
    del y
    assert lc.memory.stats()["live_blocks"] == live


def test_threads_have_plans_of_their_own() -> None:
    results: dict[int, bool] = {}

    def work(seed: int) -> None:
        model = mlp()
        run = lc.capture(lambda x: model(x))
        results[seed] = all(same(run(x), model(x)) for s in range(50) for x in [lc.from_numpy(array(4, 8, seed=s))])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == dict.fromkeys(range(4), True)


def test_a_captured_step_inside_another() -> None:
    inner = lc.capture(lambda x: x * 3)
    outer = lc.capture(lambda x: inner(x) + 1)
    for s in range(4):
        x = lc.from_numpy(array(5, seed=s))
        assert same(outer(x), x * 3 + 1)


# ---- every op --------------------------------------------------------------------------------------------------------

OPS = sorted(p.stem for p in (Path(__file__).parent.parent / "bench" / "ops").glob("*.py") if p.stem != "__init__")
READS_ON_THE_HOST = {"gather", "index", "nonzero", "one_hot", "optim_step"}


@pytest.mark.parametrize("op", OPS)
def test_every_op_is_replayed_or_refused(op: str) -> None:
    """Forward and backward of the bench's smallest case on other inputs than those recorded."""
    cases = [c for c in importlib.import_module(f"bench.ops.{op}").cases() if c.setup is None]
    if not cases:
        pytest.skip("no plain case")
    case = min(cases, key=lambda c: sum(make(np.random.default_rng(0)).size for make in c.inputs))

    def step(*inputs: lc.Tensor) -> tuple:
        inputs = tuple(x.detach().requires_grad_() if x.is_floating_point() and case.backward else x for x in inputs)
        y = case.call(lc, *inputs)
        if case.backward is None:
            return (y,)
        leaves = [x for x in inputs if x.requires_grad]
        return (y, *lc.autograd.grad(y, leaves, lc.ones_like(y)))

    def batch(seed: int) -> list[lc.Tensor]:
        random = np.random.default_rng(seed)
        lc.manual_seed(seed)
        return [lc.from_numpy(make(random)) for make in case.inputs]

    expected = [step(*batch(seed)) for seed in range(4)]
    run = lc.capture(step)
    for seed in range(4):
        try:
            found = run(*batch(seed))
        except RuntimeError as error:
            assert "captured step" in str(error) and op in READS_ON_THE_HOST
            return
        for a, b in zip(expected[seed], found, strict=True):
            for x, y in zip(*((z if isinstance(z, (tuple, list)) else (z,)) for z in (a, b)), strict=True):
                assert same(x, y)
    assert op not in READS_ON_THE_HOST and run.recorded == 1
