"""Batches make a processor efficient, up to the limits of its arithmetic and its memory (section 2.1).

A layer's weights are read once a batch, so a large batch does more arithmetic for every byte it moves. The roofline
(Williams, Waterman, Patterson, CACM 52(4), 2009) bounds what can be reached: the processor's peak, or the memory's
bandwidth times the operations done on every byte, whichever is less. Both limits are measured here, so every number
of this section differs from run to run and machine to machine. A convolution uses its few weights at every place, so
that LeNet gains less by a batch than a fully connected layer: 64 images take some 15 to 20 times as long as one. (In
PyTorch, on the same two cores, 13 times, of an image alone that takes five times as long as here.)

Where there is a GPU, the way there and back is measured too, beside what it does with the numbers meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping

import littlecore as lc
from littlecore import _core, models, nn

from .demo import BLACK, BLUE, GREEN, RED, Demo, plain_numbers

WIDTH = 1536  # of a fully connected layer whose weights exceed the caches near the cores
LONG = 16 << 20  # elements of a vector that no cache holds
SQUARES = (64, 256, 768)  # of matrix products
FORMATS = {"float64": lc.float64, "float32": lc.float32, "bfloat16": lc.bfloat16, "float16": lc.float16}


def shortest(actions: Mapping[str, Callable[[], object]], rounds: Iterable[int]) -> dict[str, float]:
    """Seconds of every action at its fastest; they take turns, so that a busy moment of the machine hits all alike."""
    best = dict.fromkeys(actions, float("inf"))
    for _ in rounds:
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def run(demo: Demo) -> None:
    batches = [2**k for k in range(0, demo.pick(10, 12))]
    lenet, layer = models.lenet(), nn.Linear(WIDTH, WIDTH)
    long, another = lc.randn(LONG), lc.randn(LONG)
    actions: dict[str, Callable[[], object]] = {"addition": lambda: long.add_(another)}
    for n in batches:
        images, x = lc.randn(n, 1, 28, 28), lc.randn(n, WIDTH)
        actions[f"LeNet {n}"] = lambda x=images: lenet(x)  # type: ignore[misc]
        actions[f"linear {n}"] = lambda x=x: layer(x)  # type: ignore[misc]
    for size in SQUARES:
        m = lc.randn(size, size)
        actions[f"matmul {size}"] = lambda m=m: m @ m  # type: ignore[misc]
    for name, dtype in FORMATS.items():
        m = lc.randn(SQUARES[-1], SQUARES[-1]).to(dtype)
        actions[name] = lambda m=m: m @ m  # type: ignore[misc]
    limits = []

    def rounds() -> Iterator[int]:
        for i in demo.progress(range(demo.pick(10, 100)), "timing"):
            limits.append((_core.fma_peak(), _core.copy_bandwidth(64 << 20)))
            yield i

    with lc.no_grad():
        seconds = shortest(actions, rounds())
    batching(demo, batches, seconds)
    formats(demo, seconds)
    roofline(demo, batches, seconds, max(peak for peak, _ in limits), max(width for _, width in limits))
    if lc.cuda.is_available():
        device(demo, "cuda", 4096)


def batching(demo: Demo, batches: list[int], seconds: dict[str, float]) -> None:
    demo.metric("fully connected, time of 64 samples / of 1", seconds["linear 64"] / seconds["linear 1"], at_most=32)
    demo.metric("LeNet, time of 64 samples / of 1", seconds["LeNet 64"] / seconds["LeNet 1"], at_most=64)
    figure = demo.figure("batches", "Time a sample against the batch size: the weights of the layer are read once.")
    axes = figure.subplots()
    for name, text, colour in (("LeNet", "LeNet", BLUE), ("linear", f"linear {WIDTH} to {WIDTH}", RED)):
        axes.loglog(batches, [1e6 * seconds[f"{name} {n}"] / n for n in batches], "o-", color=colour, label=text)
    axes.set(xlabel="batch size", ylabel="time a sample (µs)")
    axes.set_xscale("log", base=2)
    plain_numbers(axes.yaxis)
    axes.legend()


def formats(demo: Demo, seconds: dict[str, float]) -> None:
    """Numbers of 16 bits halve the memory; they are faster where the processor can multiply them as they are."""
    size = SQUARES[-1]
    reached = {name: 2 * size**3 / seconds[name] / 1e9 for name in FORMATS}
    for name in ("float64", "bfloat16", "float16"):
        demo.metric(f"matrix product in {name}, speed / float32's", reached[name] / reached["float32"])
    figure = demo.figure("formats", f"Products of matrices of {size} x {size} in four formats of numbers.", (6.4, 2.4))
    axes = figure.subplots()
    axes.barh(range(len(reached)), list(reached.values()), color=BLUE)
    axes.set_yticks(range(len(reached)), list(reached))
    axes.invert_yaxis()
    axes.set(xlabel="achieved (GFLOP/s)")


def roofline(demo: Demo, batches: list[int], seconds: dict[str, float], peak: float, bandwidth: float) -> None:
    """`peak` in GFLOP/s, `bandwidth` in GB/s."""
    work: dict[str, tuple[float, float]] = {"addition": (LONG, 12 * LONG)}  # operations, bytes moved
    work |= {f"linear {n}": (2.0 * n * WIDTH**2, 4.0 * (WIDTH**2 + 2 * n * WIDTH)) for n in batches}
    work |= {f"matmul {n}": (2.0 * n**3, 12.0 * n**2) for n in SQUARES}
    reached = {name: operations / seconds[name] / 1e9 for name, (operations, _) in work.items()}
    demo.metric("measured peak (GFLOP/s)", peak)
    demo.metric("measured bandwidth of main memory (GB/s)", bandwidth)
    demo.metric("best matrix product / measured peak", max(reached.values()) / peak, at_least=0.3)
    demo.metric("addition out of main memory / its roof", reached["addition"] * 12 / bandwidth, at_least=0.2)

    figure = demo.figure(
        "roofline",
        "Operations a second against operations a byte moved; the line is what the machine allows. Its slope is a "
        "copy's, which may fetch what it overwrites, so that an addition in place can lie above it.",
    )
    axes = figure.subplots()
    intensity = [2.0**k for k in range(-4, 10)]
    axes.loglog(intensity, [min(peak, bandwidth * i) for i in intensity], color=BLACK, label="measured limits")
    for kind, colour, marker in (("linear", RED, "o"), ("matmul", BLUE, "^"), ("addition", GREEN, "s")):
        points = [(work[name][0] / work[name][1], reached[name]) for name in work if name.startswith(kind)]
        axes.loglog([i for i, _ in points], [r for _, r in points], marker, color=colour, label=kind)
    axes.set(xlabel="operations a byte (FLOP/B)", ylabel="achieved (GFLOP/s)")
    plain_numbers(axes.yaxis)
    axes.legend()


def device(demo: Demo, name: str, size: int) -> None:
    """Copies of a matrix to the device and back, and its square there in the formats that its units multiply."""
    here = lc.randn(size, size)
    there = {kind: here.to(name).to(FORMATS[kind]) for kind in ("float32", "bfloat16", "float16")}

    def waited(action: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            action()
            if name == "cuda":
                lc.cuda.synchronize()

        return run

    actions = {"copy there": waited(lambda: here.to(name)), "copy back": waited(lambda: there["float32"].to("cpu"))}
    for kind, m in there.items():
        actions[f"product in {kind}"] = waited(lambda m=m: m @ m)  # type: ignore[misc]
    with lc.no_grad():
        seconds = shortest(actions, demo.progress(range(demo.pick(10, 100)), "timing the device"))
    for way in ("copy there", "copy back"):
        demo.metric(f"{name}, {way} (GB/s)", 4 * size**2 / seconds[way] / 1e9)
    for kind in there:
        demo.metric(f"{name}, product in {kind} (TFLOP/s)", 2 * size**3 / seconds[f"product in {kind}"] / 1e12)
    figure = demo.figure(
        "device",
        f"A matrix of {size} x {size} float32 brought to the device and back, and its squares there.",
        (6.4, 2.6),
    )
    axes = figure.subplots()
    colours = [RED if action.startswith("copy") else BLUE for action in seconds]
    axes.barh(range(len(seconds)), [1e3 * value for value in seconds.values()], color=colours)
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.invert_yaxis()
    axes.set(xlabel="time (ms)")
