"""The one protocol of all benches.

A case is one call written once for both libraries (ours has PyTorch's names), the work it cannot avoid, and its inputs.
Outputs are compared before anything is timed: a wrong result has no speed. Ours and the peer's calls alternate in one
process, on warm memory; the figure is the lower quartile over rounds, for neighbours only add. Beside it stands the
share of the limit reached: the floor is the larger of flops / FMA peak and bytes / bandwidth of the same working set,
both measured in the same process on as many threads: of a copy; of a read where nothing as large as the input is
written; of an update in place for what an optimizer moves, which comes after the rest.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import littlecore as lc

Array = Callable[[np.random.Generator], np.ndarray]
Call = Callable[[], Any]


@dataclass
class Work:
    """What a call cannot avoid: arithmetic, bytes read once or written once, and those an optimizer updates."""

    flops: float = 0
    bytes: float = 0
    updated: float = 0
    stream: str = "copy"  # "read" where hardly any of the bytes are written


@dataclass
class Case:
    name: str
    call: Callable[..., Any]  # call(library, *inputs) -> tensor
    inputs: list[Array]
    forward: Work | None = None
    backward: Work | None = None
    step: Work | None = None  # a call that runs its own backward: a training step
    random: bool = False  # the output is random: only its mean can be compared
    setup: Callable[..., Any] | None = None  # setup(library, *inputs) -> what call gets instead of the inputs

    def directions(self) -> Iterator[tuple[str, Work]]:
        if self.forward is not None:
            yield "forward", self.forward
        if self.backward is not None:
            yield "backward", self.backward
        if self.step is not None:
            yield "step", self.step


@dataclass
class Row:
    op: str
    case: str
    direction: str
    threads: int
    isa: str
    ms: float
    gflops: float
    gbs: float
    limit_share: float
    peer: dict[str, float] = field(default_factory=dict)  # name -> ms


Build = Callable[[Any], Any]  # build(library) -> model


def initialized(library: Any, build: Build, arrays: tuple[Any, ...]) -> Any:
    """The model with the same random weights in every library, in the inputs' precision."""
    model, random = build(library), np.random.default_rng(7)
    with library.no_grad():
        for p in model.parameters():
            fan_in = math.prod(p.shape[1:])
            values = random.standard_normal(tuple(p.shape), np.float32) if p.ndim > 1 else np.ones(tuple(p.shape))
            p.copy_(library.from_numpy((values / math.sqrt(fan_in)).astype(np.float32)))
    return model.double() if any(a.dtype == library.float64 for a in arrays) else model


def training(
    name: str, build: Build, loss: Callable[..., Any], batch: list[Array], macs: float, weights: float
) -> Case:
    """AdamW steps on one batch. loss(library, model, *batch); macs: multiplications with additions, of the forward."""

    def setup(library: Any, *arrays: Any) -> list[Any]:
        model = initialized(library, build, arrays)
        return [model, library.optim.AdamW(model.parameters(), lr=1e-4), *arrays]

    def step(library: Any, model: Any, optimizer: Any, *arrays: Any) -> Any:
        optimizer.zero_grad()
        value = loss(library, model, *arrays)
        value.backward()
        optimizer.step()
        return value

    return Case(name, step, batch, step=Work(6 * macs, updated=7 * 4 * weights), setup=setup)


def captured(case: Case) -> Case:
    """The same step, recorded and replayed by the library that has `capture`."""

    def setup(library: Any, *arrays: Any) -> list[Any]:
        given = case.setup(library, *arrays) if case.setup else list(arrays)
        state, batch = given[: len(given) - len(arrays)], given[len(given) - len(arrays) :]
        capture = getattr(library, "capture", lambda step: step)
        return [capture(lambda *inputs: case.call(library, *state, *inputs)), *batch]

    def call(library: Any, step: Any, *inputs: Any) -> Any:
        return step(*inputs)

    return dataclasses.replace(case, name=f"{case.name}_captured", call=call, setup=setup)


def inference(name: str, build: Build, inputs: list[Array], macs: float, weights: float) -> Case:
    """The forward pass of a trained model: in evaluation, without gradients."""

    def setup(library: Any, *arrays: Any) -> list[Any]:
        return [initialized(library, build, arrays).eval(), *arrays]

    def call(library: Any, model: Any, *arrays: Any) -> Any:
        return model(*arrays)

    return Case(name, call, inputs, forward=Work(2 * macs, 4 * weights, stream="read"), setup=setup)


class WrongResult(Exception):
    pass


# ---- inputs ------------------------------------------------------------------------------------


def normal(*shape: int, scale: float = 1.0) -> Array:
    return lambda random: (scale * random.standard_normal(shape, np.float32)).astype(np.float32)


def positive(*shape: int) -> Array:
    return lambda random: np.exp(random.standard_normal(shape, np.float32))


def indices(high: int, *shape: int) -> Array:
    return lambda random: random.integers(0, high, shape)


def mask(*shape: int) -> Array:
    return lambda random: random.random(shape) < 0.5


# ---- the machine -------------------------------------------------------------------------------


@functools.cache
def _measured(limit: str, threads: int, period: int, *working_set: int) -> float:
    return max(getattr(lc._core, limit)(*working_set) for _ in range(3)) * 1e9


def fma_peak(threads: int) -> float:
    return _measured("fma_peak", threads, _period())


def bandwidth(stream: str, threads: int, working_set: int) -> float:
    return _measured(f"{stream}_bandwidth", threads, _period(), working_set)


def _period() -> int:
    """Limits are measured anew every 20 seconds: the clock of a shared machine drifts by a third."""
    return int(time.monotonic() / 20)


def _moving(stream: str, threads: int, bytes: float) -> float:
    if not bytes:
        return 0
    return bytes / bandwidth(stream, threads, 2 ** max(14, min(28, round(math.log2(bytes)))))


def floor_seconds(work: Work, threads: int) -> float:
    arithmetic = work.flops / fma_peak(threads) if work.flops else 0
    at_once = max(arithmetic, _moving(work.stream, threads, work.bytes))
    return at_once + _moving("update", threads, work.updated)


def limits(threads: int) -> Iterator[Row]:
    """The roofs of the plots, as rows."""
    isa = lc._core.isa()
    yield Row("limits", "multiply-add", "", threads, isa, 0, fma_peak(threads) / 1e9, 0, 1)
    for name, working_set in (("copy, 1 MB", 2**20), ("copy, 256 MB", 2**28)):
        yield Row("limits", name, "", threads, isa, 0, 0, bandwidth("copy", threads, working_set) / 1e9, 1)


# ---- calling -----------------------------------------------------------------------------------


def prepare(case: Case, library: Any, direction: str, arrays: list[np.ndarray]) -> Call:
    """What is compared, and timed, of one library."""
    if hasattr(library, "prepare"):  # it has another kind of gradient
        return library.prepare(case, direction, arrays)
    call = functools.partial(case.call, library)
    inputs = [library.from_numpy(a.copy()) for a in arrays]
    if case.setup is not None:
        inputs = list(case.setup(library, *inputs))
    if hasattr(library, "compiled"):
        call, inputs = library.compiled(call, inputs)
    if direction == "forward" and case.setup is not None:

        def evaluate() -> Any:
            with library.no_grad():  # it costs a microsecond: only where parameters would be recorded
                return call(*inputs)

        return evaluate
    if direction in ("forward", "step"):
        return lambda: call(*inputs)
    leaves = [x.requires_grad_() for x in inputs if "float" in str(getattr(x, "dtype", ""))]
    y = call(*inputs)
    dy = library.ones_like(y) if y.ndim == 0 else library.from_numpy(gradient(tuple(y.shape)))
    return lambda: library.autograd.grad(y, leaves, dy, retain_graph=True)


def gradient(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def values(result: Any) -> list[np.ndarray]:
    several = result if isinstance(result, (tuple, list)) else (result,)
    several = [t.float() if "float16" in str(t.dtype) else t for t in several]
    return [np.asarray(t.detach().numpy() if hasattr(t, "detach") else t) for t in several]


def agree(ours: Any, theirs: Any, random: bool) -> None:
    """Norm-wise agreement at the size of float32 rounding errors; for random results, of the mean."""
    for a, b in zip(values(ours), values(theirs), strict=True):
        if a.shape != b.shape:
            raise WrongResult(f"shape {a.shape}, expected {b.shape}")
        a, b = a.astype(np.float64), b.astype(np.float64)
        if random:
            if a.size == 1 and abs(a - b) > 0.05 * abs(b):  # the loss of a network with dropout
                raise WrongResult(f"{float(a):.4g}, expected about {float(b):.4g}")
            if a.size > 1 and abs(a.mean() - b.mean()) > 6 * (a.std() + b.std()) / math.sqrt(max(a.size, 1)):
                raise WrongResult(f"mean {a.mean():.4g}, expected {b.mean():.4g}")
            continue
        error, size = float(np.linalg.norm(a - b)), float(np.linalg.norm(b))
        if not error <= 2e-5 * size + 1e-30:
            raise WrongResult(f"relative error {error / max(size, 1e-300):.2e}")


SETTLE = 0.008  # seconds: so long the threads of PyTorch's OpenMP spin on, on the cores that the next sample needs


def measure(calls: dict[str, Call], seconds: float) -> dict[str, float]:
    """Lower quartile of each call's seconds, taken in turns, each after the others' threads have gone to sleep."""
    inner, waking = {}, {}
    for name, call in calls.items():
        call()
        begin = time.perf_counter()
        call()
        spent = time.perf_counter() - begin
        inner[name] = max(1, min(10000, round(2e-3 / max(spent, 1e-7))))
        waking[name] = inner[name] if spent < 0.1 else 0  # a long call wakes threads and caches by itself
    samples: dict[str, list[float]] = {name: [] for name in calls}
    deadline = time.perf_counter() + seconds
    while len(min(samples.values(), key=len)) < 4 or time.perf_counter() < deadline:
        for name, call in calls.items():
            if len(calls) > 1:
                time.sleep(SETTLE)
                for _ in range(waking[name]):  # and ours have woken again
                    call()
            begin = time.perf_counter()
            for _ in range(inner[name]):
                call()
            samples[name].append((time.perf_counter() - begin) / inner[name])
        if len(next(iter(samples.values()))) >= 200:
            break
    return {name: sorted(s)[len(s) // 4] for name, s in samples.items()}


def run(op: str, cases: Iterable[Case], peers: dict[str, Any], threads: int, seconds: float) -> Iterator[Row]:
    for case in cases:
        random = np.random.default_rng(0)
        arrays = [make(random) for make in case.inputs]
        for direction, work in case.directions():
            calls: dict[str, Call] = {"ours": prepare(case, lc, direction, arrays)}
            ours = calls["ours"]()
            for name, peer in peers.items():
                try:
                    calls[name] = prepare(case, peer, direction, arrays)
                    result = calls[name]()
                except (AttributeError, TypeError):
                    if not getattr(peer, "partial", False):
                        raise
                    calls.pop(name, None)
                    continue
                try:
                    agree(ours, result, case.random)
                except WrongResult as error:
                    raise WrongResult(f"{op} {case.name} {direction}: not {name}'s result: {error}") from None
            if not peers and not case.random:
                precise = [a.astype(np.float64) if a.dtype == np.float32 else a for a in arrays]
                try:
                    agree(ours, prepare(case, lc, direction, precise)(), False)
                except WrongResult as error:
                    raise WrongResult(f"{op} {case.name} {direction}: not float64's result: {error}") from None
            if peers and len(calls) == 1:
                continue  # no peer has it
            times = measure(calls, seconds)
            spent = times.pop("ours")
            time.sleep(SETTLE)  # the limits are measured on cores as free as ours
            yield Row(
                op,
                case.name,
                direction,
                threads,
                lc._core.isa(),
                ms=spent * 1e3,
                gflops=work.flops / spent / 1e9,
                gbs=(work.bytes + work.updated) / spent / 1e9,
                limit_share=floor_seconds(work, threads) / spent,
                peer={name: t * 1e3 for name, t in times.items()},
            )
