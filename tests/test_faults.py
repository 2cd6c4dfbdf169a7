"""What must survive: a failed allocation anywhere, fork, Ctrl-C, and graphs deeper than any stack."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn, optim


def lenet() -> nn.Module:
    lc.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(200, 30),
        nn.ReLU(),
        nn.Linear(30, 10),
    )


def batch(n: int = 4) -> tuple[lc.Tensor, lc.Tensor]:
    random = np.random.default_rng(0)
    return lc.from_numpy(random.standard_normal((n, 1, 28, 28), np.float32)), lc.from_numpy(random.integers(0, 10, n))


def step(model: nn.Module, optimizer: optim.Optimizer, x: lc.Tensor, y: lc.Tensor) -> float:
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return float(loss.item())


def values(model: nn.Module) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


# ---- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9), optim.Adam, optim.AdamW])
def test_a_training_step_survives_the_failure_of_every_allocation(make):
    x, y = batch()

    def fresh() -> tuple[nn.Module, optim.Optimizer]:
        model = lenet()
        return model, make(model.parameters())

    model, optimizer = fresh()
    step(model, optimizer, x, y)
    after_first = values(model)

    failures = 0
    for n in range(1, 10_000):
        model, optimizer = fresh()
        before = values(model)
        gc.collect()
        lc.memory.fail_at(n)
        try:
            step(model, optimizer, x, y)
        except MemoryError:
            failures += 1
            assert values(model) == before, f"allocation {n} failed and left the parameters half updated"
            step(model, optimizer, x, y)
            assert values(model) == after_first, f"the step after failed allocation {n} went another way"
        else:
            break
        finally:
            lc.memory.fail_at(0)
    assert failures > 20, "the switch did not reach the step's allocations"


def test_a_failed_step_leaks_nothing():
    x, y = batch()
    model = lenet()

    def live() -> int:
        for p in model.parameters():
            p.grad = None
        gc.collect()
        return lc.memory.stats()["live_bytes"]

    nn.functional.cross_entropy(model(x), y).backward()
    baseline, n = live(), 1
    while n < 10_000:
        lc.memory.fail_at(n)
        try:
            nn.functional.cross_entropy(model(x), y).backward()
        except MemoryError:
            n += 1
        else:
            break
        finally:
            lc.memory.fail_at(0)
        assert live() == baseline, f"allocation {n - 1} failed and {live() - baseline} bytes stayed"
    assert n > 20


def test_a_steady_step_asks_the_system_for_nothing():
    x, y = batch(16)
    model = lenet()
    optimizer = optim.Adam(model.parameters())
    for _ in range(3):
        step(model, optimizer, x, y)
    before = lc.memory.stats()["system_allocations"]
    for _ in range(10):
        step(model, optimizer, x, y)
    assert lc.memory.stats()["system_allocations"] == before


def test_fresh_memory_is_poisoned():
    assert np.isnan(lc.empty(1000).numpy()).all()
    lc.memory.poison(False)
    assert lc.zeros(1000).numpy().sum() == 0


def test_a_training_step_has_the_same_bits_for_every_thread_count():
    x, y = batch(16)
    results = []
    for threads in (1, 2, 3, 8):
        lc.set_num_threads(threads)
        model = lenet()
        optimizer = optim.Adam(model.parameters())
        losses = [step(model, optimizer, x, y) for _ in range(3)]
        results.append((losses, values(model)))
    assert all(r == results[0] for r in results)


# ---- processes and signals ---------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_can_compute():
    lc.set_num_threads(2)
    a = lc.from_numpy(np.random.default_rng(0).standard_normal((512, 512), np.float32))
    want = (a @ a).numpy().tobytes()  # the pool is running now
    for _ in range(20):
        child = os.fork()
        if child == 0:
            os._exit(0 if (a @ a).numpy().tobytes() == want else 1)
        deadline = time.monotonic() + 30
        while (status := os.waitpid(child, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                pytest.fail("the child hangs")
            time.sleep(0.002)
        assert os.waitstatus_to_exitcode(status[1]) == 0
        assert (a @ a).numpy().tobytes() == want


def interrupted(call) -> float:
    """Seconds from SIGINT, sent while `call` runs, to KeyboardInterrupt here."""
    sent = []

    def send() -> None:
        sent.append(time.perf_counter())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.2, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            call()
            time.sleep(5)
            pytest.fail("the kernel was over before the signal, or swallowed it")
        return time.perf_counter() - sent[0]
    finally:
        timer.join()


@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_stops_a_long_kernel(threads: int):
    lc.set_num_threads(threads)
    a = lc.from_numpy(np.random.default_rng(0).standard_normal((4096, 4096), np.float32))
    small = a[:64, :64]
    want = (small @ small).numpy().tobytes()
    delays = [interrupted(lambda: a @ a) for _ in range(3)]
    assert min(delays) < 0.05, f"KeyboardInterrupt came after {delays} s"
    assert (small @ small).numpy().tobytes() == want
    assert lc.memory.stats()["live_bytes"] < 4 * a.numel() * 4, "the abandoned result is still held"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
@pytest.mark.vacuous
def test_workers_stay_off_the_callers_cpu():
    x, before, threads = lc.ones(1 << 22), set(os.listdir("/proc/self/task")), lc.get_num_threads()
    lc.set_num_threads(5)
    try:
        lc.sum(x)
        workers = set(os.listdir("/proc/self/task")) - before
        masks = [os.sched_getaffinity(int(worker)) for worker in workers]
    finally:
        lc.set_num_threads(threads)
    assert len(masks) == 4
    assert all(len(os.sched_getaffinity(0) - mask) == 1 for mask in masks)


def test_python_threads_run_during_a_long_kernel():
    a = lc.from_numpy(np.random.default_rng(0).standard_normal((2048, 2048), np.float32))
    lc.set_num_threads(1)
    ticks, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            ticks[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = ticks[0]
    a @ a
    during = ticks[0] - before
    stop.set()
    thread.join()
    assert during >= 20, f"another Python thread ran {during} times during a kernel of over 100 ms"


def test_lists_that_no_memory_holds_are_refused():
    with pytest.raises(MemoryError, match="tolist: no memory"):
        lc.zeros(1).expand(2, 2**50).tolist()


# ---- depth -------------------------------------------------------------------------------------


def test_backward_through_a_million_nodes():
    x = lc.ones(1, requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 1
    y.backward()
    assert x.grad.item() == 1
    for _ in range(1_000_000):
        y = y * 1.0
    del y  # freed without a backward, as iteratively


def test_a_wide_graph_adds_up_exactly():
    x = lc.ones(3, requires_grad=True)
    total = x * 0
    for i in range(2000):
        total = total + x * float(i % 5)
    total.sum().backward()
    assert x.grad.numpy().tolist() == [4000.0] * 3


def test_large_blocks_divide_and_join():
    def floats(mb: int) -> lc.Tensor:
        return lc.empty(mb << 18)

    whole = floats(24)
    begin = whole.data_ptr()
    del whole
    before = lc.memory.stats()["system_allocations"]
    parts = [floats(n) for n in (5, 1, 9, 3)]
    del parts[1], parts[1]  # neighbours, then those around them
    joined = floats(10)
    del parts, joined
    assert floats(24).data_ptr() == begin
    assert lc.memory.stats()["system_allocations"] == before
