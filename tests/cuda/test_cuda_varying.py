"""What is another number in every step: a captured step that draws or counts has the bits of eager ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import nn, optim
from littlecore.amp import GradScaler

STEPS = 5  # one runs, one is recorded, the others are replayed


def same_as_eager(make: Callable[[Callable], Callable[[int], list]]) -> None:
    """make(wrap) gives what a step does, from its number to lists of numbers."""
    results = []
    for wrap in (lambda step: step, lc.capture):
        lc.manual_seed(7)
        step = make(wrap)
        results.append([step(i) for i in range(STEPS)])
    eager, captured = results
    assert captured == eager
    assert len({repr(x) for x in eager}) == STEPS, "the steps do not differ: nothing is shown"


def some(*shape: int) -> lc.Tensor:
    n = 1
    for size in shape:
        n *= size
    return lc.linspace(-1, 1, n).reshape(shape).cuda()


# ---- what draws ----------------------------------------------------------------------------------------------------

DRAWS = {
    "rand": lambda: lc.rand(301, device="cuda"),
    "rand float64": lambda: lc.rand(70, dtype=lc.float64, device="cuda"),
    "randn": lambda: lc.randn(7, 43, device="cuda"),
    "randn bfloat16": lambda: lc.randn(301, dtype=lc.bfloat16, device="cuda"),
    "rand_like": lambda: lc.rand_like(some(3, 5)),
    "randn_like": lambda: lc.randn_like(some(3, 5)),
    "randint": lambda: lc.randint(-5, 1000, (77,), device="cuda"),
    "randperm": lambda: lc.randperm(37, device="cuda"),
    "normal": lambda: lc.normal(some(33), some(33).exp()),
    "bernoulli": lambda: lc.bernoulli(some(200).abs()),
    "uniform_": lambda: lc.zeros(130, device="cuda").uniform_(-2, 5),
    "normal_": lambda: lc.zeros(9, 11, device="cuda").transpose(0, 1).normal_(3, 0.5),
    "bernoulli_": lambda: lc.zeros(130, device="cuda").bernoulli_(0.7),
    "random_": lambda: lc.zeros(30, dtype=lc.int64, device="cuda").random_(0, 100),
    "dropout": lambda: F.dropout(some(300) + 2, 0.4),
    "dropout1d": lambda: F.dropout1d(some(8, 9, 5) + 2, 0.4),
    "dropout2d": lambda: F.dropout2d(some(8, 9, 2, 2) + 2, 0.4),
    "exponential": lambda: -lc.rand(64, device="cuda").log(),
    "two in a row": lambda: F.dropout(F.dropout(some(300) + 2, 0.4), 0.2) + lc.rand(300, device="cuda"),
}  # fmt: skip


@pytest.mark.parametrize("name", DRAWS)
def test_random_numbers_go_on(name: str) -> None:
    def make(wrap: Callable) -> Callable[[int], list]:
        draw = wrap(DRAWS[name])
        return lambda _: [draw().tolist(), lc.rand(1).item()]  # and the generator stands at the same place

    same_as_eager(make)


def test_a_generator_of_its_own() -> None:
    def make(wrap: Callable) -> Callable[[int], list]:
        g = lc.Generator().manual_seed(3)
        draw = wrap(lambda: lc.zeros(40, device="cuda").uniform_(0, 1, generator=g))
        return lambda _: draw().tolist()

    same_as_eager(make)


def attention(masked: bool) -> Callable[[lc.Tensor], lc.Tensor]:
    mask = some(6, 6) > -0.5 if masked else None
    return lambda x: F.scaled_dot_product_attention(x, x * 0.5, x + 1, mask, 0.3)


def flat(layer: nn.Module) -> Callable[[lc.Tensor], lc.Tensor]:
    """On [2, 4, T, C], a layer of sequences."""
    layer.cuda()
    return lambda x: y[0] if isinstance(y := layer(x.flatten(0, 1)), tuple) else y


LAYERS = {
    "dropout": lambda: lambda x: F.dropout(x, 0.5) * 3,
    "dropout2d": lambda: lambda x: F.dropout2d(x, 0.5) * 3,
    "attention": lambda: attention(False),
    "masked attention": lambda: attention(True),
    "gelu and dropout": lambda: nn.Sequential(nn.GELU(), nn.Dropout(0.2), nn.Tanh(), nn.Dropout(0.2)),
    "lstm": lambda: flat(nn.LSTM(8, 8, 2, dropout=0.4)),
    "encoder": lambda: flat(nn.TransformerEncoderLayer(8, 2, 16, 0.3)),
}


@pytest.mark.parametrize("dtype", [lc.float32, lc.bfloat16], ids=lambda d: d.name)
@pytest.mark.parametrize("name", LAYERS)
def test_backward_drops_what_forward_dropped(name: str, dtype: lc.dtype) -> None:
    def make(wrap: Callable) -> Callable[[int], list]:
        layer, x = LAYERS[name](), some(2, 4, 6, 8).to(dtype).requires_grad_()

        def step() -> tuple[lc.Tensor, lc.Tensor]:
            with lc.autocast("cuda", dtype=lc.bfloat16, enabled=dtype is lc.bfloat16):
                y = layer(x)
            return y, *lc.autograd.grad((y.float() ** 2).sum(), [x])

        call = wrap(step)
        return lambda _: [y.tolist() for y in call()]

    same_as_eager(make)


# ---- what counts ---------------------------------------------------------------------------------------------------

OPTIMIZERS = {
    "sgd": lambda p, **o: optim.SGD(p, lr=0.1, **o),
    "sgd momentum": lambda p, **o: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1, **o),
    "sgd nesterov": lambda p, **o: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, **o),
    "adam": lambda p, **o: optim.Adam(p, lr=0.1, **o),
    "amsgrad": lambda p, **o: optim.Adam(p, lr=0.1, amsgrad=True, weight_decay=0.1, **o),
    "adamw": lambda p, **o: optim.AdamW(p, lr=0.1, weight_decay=0.1, maximize=True, **o),
    "rmsprop": lambda p, **o: optim.RMSprop(p, lr=0.1, **o),
    "rmsprop centered": lambda p, **o: optim.RMSprop(p, lr=0.1, momentum=0.9, centered=True, **o),
}


@pytest.mark.parametrize("master", [False, True], ids=["float32", "bfloat16 and masters"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_count_and_read_their_options(name: str, master: bool) -> None:
    """The rate, the decay and the momentum change from step to step, as schedules change them."""

    def make(wrap: Callable) -> Callable[[int], list]:
        p = [
            (some(*shape) + 0.1).to(lc.bfloat16 if master else lc.float32).requires_grad_()
            for shape in ((300,), (3, 5))
        ]
        optimizer = OPTIMIZERS[name](p, master_weights=master)
        group = optimizer.param_groups[0]

        def step() -> lc.Tensor:
            optimizer.zero_grad()
            loss = sum((x.float() ** 4).sum() for x in p)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(p, 5.0)
            optimizer.step()
            return loss + norm

        call = wrap(step)

        def run(i: int) -> list:
            group["lr"], group["weight_decay"] = 0.1 * 0.5**i, 0.01 * i
            if group.get("momentum"):
                group["momentum"] = 0.9 - 0.1 * i
            if "betas" in group:
                group["betas"] = (0.9 - 0.1 * i, 0.99)
            return [call().item(), *[x.tolist() for x in p]]

        return run

    same_as_eager(make)


def test_running_statistics_and_scales_go_on() -> None:
    def make(wrap: Callable) -> Callable[[int], list]:
        norm, scaler, x = nn.BatchNorm2d(3).cuda(), GradScaler(init_scale=2.0), some(4, 3, 5, 5)
        call = wrap(lambda t: scaler.scale(norm(x * t)).sum() + lc.arange(5, device="cuda").sum())

        def run(i: int) -> list:
            scaler.update(2.0 + i)
            y = call(lc.full((1,), 1.0 + i, device="cuda"))
            return [y.item(), norm.running_var.tolist(), int(norm.num_batches_tracked)]

        return run

    same_as_eager(make)


@pytest.mark.parametrize("name", ["multinomial", "cumulative average"])
def test_what_the_host_must_see_is_refused(name: str) -> None:
    norm, x = nn.BatchNorm1d(3, momentum=None).cuda(), some(4, 3)
    call = lc.capture((lambda: lc.multinomial(x.exp(), 2)) if name == "multinomial" else lambda: norm(x))
    call()
    with pytest.raises(RuntimeError, match="captured step cannot repeat"):
        call()
