"""capture on a device: a replay is one launch of a graph, gives the bits of eager steps, leaves other memory alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from compare import close

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


def test_a_step_is_one_launch():
    """Forward with dropout, backward, clipping and AdamW; the rate falls from step to step."""
    model = mlp().cuda()
    optimizer = optim.AdamW(model.parameters(), lr=0.05)

    @lc.capture
    def step(x: lc.Tensor, t: lc.Tensor) -> lc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), t)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss

    x, t = lc.ones(4, 6, device="cuda"), lc.tensor([0, 1, 2, 0]).cuda()
    work = []
    for i in range(6):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5**i
        before = lc.cuda.launches()
        step(x, t)
        work.append([lc.cuda.launches()[name] - before[name] for name in ("launches", "graphs", "waits")])
    assert work[0][0] > 20 and work[0][1:] == [0, 0]
    assert work[2:] == [[2, 1, 0]] * 4, "two copies of arguments and the graph"


def test_the_host_may_wait_between_graphs():
    @lc.capture
    def step(x: lc.Tensor) -> lc.Tensor:
        y = (x.cuda() * 2 + 1).relu()
        z = y.cpu() + 1
        return (z.cuda() * y).exp().log()

    for i in range(4):
        before = lc.cuda.launches()
        y = step(lc.full((5,), float(i)))
        after = lc.cuda.launches()
        np.testing.assert_allclose(y.tolist(), [(2 * i + 1) * (2 * i + 2)] * 5, rtol=1e-5)
    assert after["launches"] == before["launches"] and after["graphs"] - before["graphs"] == 2


def test_what_a_step_launches_may_change():
    """The optimizer's part grows, and makes state, when a parameter gets its first gradient; the rate is seen."""

    def train(wrap: Callable) -> list:
        a, b = (lc.ones(300, device="cuda").requires_grad_() for _ in range(2))
        x = lc.linspace(-1, 1, 300).cuda()
        optimizer = optim.AdamW([a, b], lr=0.5)

        def step() -> lc.Tensor:
            norm = nn.utils.clip_grad_norm_([a], 0.1)
            optimizer.step()
            return (x * a).sum() + norm

        call, out = wrap(step), []
        a.grad = x.clone()
        for i in range(8):
            if i == 4:
                b.grad = x.clone()
                optimizer.param_groups[0]["lr"] = 0.25
            out.append(call().item())
        return [*out, a.tolist(), b.tolist()]

    assert train(lc.capture) == train(lambda step: step)


def test_memory_is_reused_within_a_step_and_given_back():
    lc.cuda.empty_cache()

    def step(x: lc.Tensor) -> lc.Tensor:
        for _ in range(20):
            x = (x * 1.5).relu()
        return x

    captured, x = lc.capture(step), lc.ones(100_000, device="cuda")
    before = lc.cuda.memory_stats()["reserved_bytes"]
    with lc.no_grad():
        for _ in range(4):
            y = captured(x)
    held = lc.cuda.memory_stats()["reserved_bytes"] - before
    assert y.tolist() == step(x).tolist()
    assert held < 10 * 400_000, "of 40 tensors no more than a few are alive at a time"
    lc.cuda.empty_cache()
    assert captured(x).tolist() == y.tolist(), "a plan's memory is not given back under it"
    del y
    captured.reset()
    lc.cuda.empty_cache()
    assert lc.cuda.memory_stats()["reserved_bytes"] <= before


def test_on_another_stream():
    double = lc.capture(lambda x: (x * 2 + 1).relu())
    x = lc.ones(64, device="cuda")
    for _ in range(3):
        double(x)
    side = lc.cuda.Stream()
    side.wait_stream(lc.cuda.current_stream())
    with side:
        for i in range(3):
            x = lc.full((64,), float(i), device="cuda")
            y = double(x)
            side.synchronize()
            assert y.tolist() == [2.0 * i + 1] * 64


def test_inference_allocates_nothing_from_the_driver_and_follows_the_weights():
    model = mlp().cuda().eval()

    @lc.capture
    @lc.no_grad()
    def forward(x: lc.Tensor) -> lc.Tensor:
        return F.softmax(model(x), 1)

    x = lc.ones(4, 6, device="cuda")
    for _ in range(3):
        forward(x)
        F.softmax(model(x), 1)
    before = lc.cuda.memory_stats()["system_allocations"]
    for _ in range(4):
        with lc.no_grad():
            model[0].weight.mul_(0.5)
        assert forward(x).tolist() == F.softmax(model(x), 1).tolist()
    assert lc.cuda.memory_stats()["system_allocations"] == before and forward.recorded == 1


def test_decoding_is_one_launch_a_token():
    """A token at a time with keys and values kept: the logits of eager decoding and of the whole sequence at once."""
    lc.manual_seed(0)
    model = models.gpt(vocab_size=19, block_size=10, n_layer=1, n_head=2, n_embd=16).cuda().eval()
    tokens = lc.tensor(np.random.default_rng(0).integers(0, 19, (2, 10)).tolist()).cuda()

    def decode(wrap: Callable) -> tuple[list, list]:
        cache = model.make_cache(2, fixed=True)
        call, logits, work = wrap(lc.no_grad()(lambda token: model(token, cache))), [], []
        logits.append(lc.no_grad()(model)(tokens[:, :4], cache)[:, -1:].tolist())
        for i in range(4, 10):
            token, before = tokens[:, i : i + 1].contiguous(), lc.cuda.launches()
            y = call(token)
            work.append([lc.cuda.launches()[name] - before[name] for name in ("launches", "graphs", "waits")])
            logits.append(y.tolist())
        return logits, work

    (eager, one_by_one), (captured, work) = decode(lambda step: step), decode(lc.capture)
    assert captured == eager
    assert one_by_one[0][0] > 20 and work[2:] == [[1, 1, 0]] * 4, "a copy of the token and the graph"
    with lc.no_grad():
        close(lc.tensor(np.concatenate(captured, 1)).float().cuda(), model(tokens)[:, 3:].cpu())

    growing = model.make_cache(2)
    step = lc.capture(lc.no_grad()(lambda token: model(token, growing)))
    step(tokens[:, :1])
    with pytest.raises(RuntimeError, match="every step makes it longer, which a captured step cannot repeat"):
        step(tokens[:, :1])


@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_generation_captures_its_steps(kind):
    """Until the context is full; and not where a hook would not be called."""
    lc.manual_seed(0)
    if kind == "gpt":
        model = models.gpt(vocab_size=19, block_size=10, n_layer=1, n_head=2, n_embd=16).eval()
    else:
        model = models.llama(vocab_size=19, block_size=10, width=16, layers=2, heads=2, kv_heads=1, hidden=24).eval()
    prompt = lc.tensor([[1, 2, 3], [4, 5, 6]])
    want = [t.tolist() for t in model.stream(prompt, 10, greedy=True)]
    model.cuda()

    def generated() -> tuple[list, list]:
        tokens, graphs, before = [], [], lc.cuda.launches()["graphs"]
        for token in model.stream(prompt.cuda(), 10, greedy=True):
            tokens.append(token.tolist())
            graphs.append(lc.cuda.launches()["graphs"] - before)
            before += graphs[-1]
        return tokens, graphs

    tokens, graphs = generated()
    assert tokens == want and sum(graphs[:2]) == 0 and graphs[3:8] == [1] * 5 and graphs[8:] == [0, 0]
    calls = []
    model.lm_head.register_forward_hook(lambda *_: calls.append(1))
    assert generated() == (want, [0] * 10) and len(calls) == 10


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
