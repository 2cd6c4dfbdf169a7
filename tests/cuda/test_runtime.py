"""Tensors on a device: there and back, memory, streams, and errors that say what is wrong."""

from __future__ import annotations

import gc

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn, optim

DTYPES = [lc.float32, lc.float64, lc.bfloat16, lc.float16, lc.int64, lc.int32, lc.uint8, lc.bool_]


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_there_and_back(dtype):
    x = lc.tensor(np.arange(35).reshape(5, 7) % 3).to(dtype)
    y = x.cuda()
    assert y.device == "cuda:0" and y.dtype is dtype and y.shape == x.shape
    assert y.cpu().tolist() == x.tolist() == y.tolist()
    assert y.to("cuda") is y and x.cpu() is x


def test_views_and_casts_cross():
    x = lc.arange(60, dtype=lc.float32).reshape(3, 4, 5)
    y = x.cuda()
    assert y.permute(2, 0, 1).cpu().tolist() == x.permute(2, 0, 1).tolist()
    assert x.permute(2, 0, 1).cuda().tolist() == x.permute(2, 0, 1).tolist()
    assert y[:, 1:3, ::2].cpu().tolist() == x[:, 1:3, ::2].tolist()
    assert x.to("cuda", lc.bfloat16).cpu().tolist() == x.tolist()


def test_creation_on_the_device():
    for make in (lc.zeros, lc.ones):
        assert make(3, 5, device="cuda").tolist() == make(3, 5).tolist()
    assert lc.full((2, 3), 2.5, device="cuda").tolist() == [[2.5] * 3] * 2
    assert lc.arange(5, device="cuda").tolist() == [0, 1, 2, 3, 4]
    lc.manual_seed(3)
    on_cpu = lc.randn(4, 4)
    lc.manual_seed(3)
    assert lc.randn(4, 4, device="cuda").tolist() == on_cpu.tolist()
    assert lc.ones_like(lc.zeros(2, device="cuda")).device == "cuda"


def test_a_gradient_crosses_back():
    x = lc.ones(3, requires_grad=True)
    (x.cuda() * 2).sum().backward()
    assert x.grad.device == "cpu" and x.grad.tolist() == [2, 2, 2]


def test_printing():
    assert "device='cuda:0'" in repr(lc.ones(2, device="cuda"))


def test_mixed_devices_are_refused():
    a, b = lc.ones(3), lc.ones(3, device="cuda")
    with pytest.raises(ValueError, match=r"add: the operands are on cpu and cuda:0"):
        a + b
    with pytest.raises(ValueError, match=r"matmul: the operands are on"):
        lc.matmul(lc.ones(2, 2), lc.ones(2, 2, device="cuda"))
    assert (b + lc.tensor(1.0)).tolist() == [2, 2, 2]  # a number is at home everywhere


def test_what_is_the_hosts_own_says_so():
    with pytest.raises(TypeError, match="use cpu"):
        lc.ones(3, device="cuda").numpy()


def test_memory():
    lc.cuda.empty_cache()
    before = lc.cuda.memory_stats()
    x = lc.zeros(1000, device="cuda")
    now = lc.cuda.memory_stats()
    assert now["live_bytes"] - before["live_bytes"] == 4000
    del x
    assert lc.cuda.memory_stats()["live_bytes"] == before["live_bytes"]
    asked = lc.cuda.memory_stats()["system_allocations"]
    for _ in range(3):
        lc.zeros(1000, device="cuda")
    assert lc.cuda.memory_stats()["system_allocations"] == asked
    lc.memory.fail_at(1)
    with pytest.raises(MemoryError):
        lc.zeros(10, device="cuda")
    lc.zeros(10, device="cuda")


def test_fresh_memory_is_poisoned():
    """On a GPU it is NaN; the emulated one stops at a read of what nothing wrote."""
    assert lc.memory.poisoned()
    if "emulated" not in lc.cuda.get_device_name():
        assert lc.empty(1000, device="cuda").isnan().all().item()
        return
    with pytest.raises(RuntimeError, match="nothing wrote"):
        (lc.empty(1000, device="cuda") + 1).tolist()


def test_a_step_survives_every_failed_allocation():
    """Whichever allocation fails: no leak, no parameter half updated, and the step after is as if nothing had been."""

    def fresh() -> tuple[nn.Module, optim.Optimizer]:
        lc.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)).cuda()
        return model, optim.AdamW(model.parameters(), lr=0.1)

    def values(model: nn.Module) -> list:
        return [p.tolist() for p in model.parameters()]

    def step(model: nn.Module, optimizer: optim.Optimizer) -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), t).backward()
        optimizer.step()

    def live() -> int:
        gc.collect()
        return lc.cuda.memory_stats()["live_bytes"]

    x, t = lc.linspace(-1, 1, 12).reshape(3, 4).cuda(), lc.tensor([0, 2, 1]).cuda()
    at_rest = live()
    model, optimizer = fresh()
    step(model, optimizer)
    after_first, n, done = values(model), 0, False
    while not done:
        model, optimizer = fresh()
        before, n = values(model), n + 1
        lc.memory.fail_at(n)
        try:
            step(model, optimizer)
            done = True
        except MemoryError:
            assert values(model) == before, f"allocation {n} failed and left the parameters half updated"
            step(model, optimizer)
        finally:
            lc.memory.fail_at(0)
        assert values(model) == after_first, f"the step after failed allocation {n} went another way"
    del model, optimizer
    assert live() == at_rest, "what failed left memory behind"
    assert n > 20, "the switch did not reach the device's allocations"


def test_streams_and_events():
    stream, begin, end = lc.cuda.Stream(), lc.cuda.Event(), lc.cuda.Event()
    x = lc.arange(1000, dtype=lc.float32, device="cuda")
    stream.wait_stream(lc.cuda.current_stream())
    with stream:
        begin.record()
        y = x * 2
        end.record()
        assert lc.cuda.current_stream().handle == stream.handle
    end.synchronize()
    assert begin.elapsed_time(end) >= 0
    lc.cuda.current_stream().wait_event(end)
    assert y.sum().item() == 999000
    stream.synchronize()


def used_late(record: bool, stream_ends: bool = False) -> list[float]:
    """What a side stream, which may run late, made of a tensor that went away, its memory to another one."""
    side = lc.cuda.Stream()
    x = lc.full((1000,), 2.0, device="cuda")
    side.wait_stream(lc.cuda.current_stream())
    with side:
        y = x * 3
    if record:
        x.record_stream(side)
    if stream_ends:
        del side
    del x
    other = lc.full((1000,), 7.0, device="cuda")
    lc.cuda.synchronize()
    assert other.tolist() == [7.0] * 1000
    return y.tolist()


def test_memory_that_another_stream_uses_waits_for_it():
    assert used_late(record=True) == [6.0] * 1000
    assert used_late(record=True, stream_ends=True) == [6.0] * 1000
    with pytest.raises(ValueError, match="record_stream: the tensor is on cpu"):
        lc.ones(3).record_stream(lc.cuda.current_stream())


def test_without_a_record_the_memory_is_somebody_elses_by_then():
    if "emulated" in lc.cuda.get_device_name():  # which runs the side stream as late as it may
        assert used_late(record=False) == [21.0] * 1000


def test_memory_of_a_stream_that_ended_is_used_again():
    stream = lc.cuda.Stream()
    with stream:
        x = lc.full((50_000,), 2.0, device="cuda")
        y = x * 3
        del x
    del stream
    before = lc.cuda.memory_stats()["system_allocations"]
    other = lc.full((50_000,), 1.0, device="cuda")
    assert lc.cuda.memory_stats()["system_allocations"] == before
    assert y.sum().item() == 300_000 and other.sum().item() == 50_000


def test_dlpack_on_the_device():
    x = lc.arange(6, dtype=lc.float32, device="cuda").reshape(2, 3)
    assert x.__dlpack_device__() == (2, 0)
    y = lc.from_dlpack(x)
    assert y.device == "cuda:0" and y.data_ptr() == x.data_ptr() and y.tolist() == x.tolist()
