"""Arrays that cross without a copy: both sides see the same memory, and it lives as long as either."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import littlecore as lc

DTYPES = ("float32", "float64", "float16", "int64", "int32", "uint8", "bool")


def live() -> int:
    gc.collect()
    return lc.memory.stats()["live_bytes"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_numpy_reads_our_memory(dtype: str):
    t = lc.from_numpy(np.arange(12).astype(dtype).reshape(3, 4))
    a = np.from_dlpack(t)
    assert a.dtype == np.dtype(dtype) and a.__array_interface__["data"][0] == t.data_ptr()
    assert np.array_equal(a, np.arange(12).astype(dtype).reshape(3, 4))


@pytest.mark.parametrize("dtype", DTYPES)
def test_we_read_numpys_memory(dtype: str):
    a = np.arange(12).astype(dtype).reshape(3, 4)
    t = lc.from_dlpack(a)
    assert t.data_ptr() == a.__array_interface__["data"][0] and tuple(t.shape) == (3, 4)
    a[1, 2] = 0
    assert t.numpy()[1, 2] == 0


@pytest.mark.parametrize("view", [lambda a: a.T, lambda a: a[:, ::2], lambda a: a[1:, 1:], lambda a: a[:0]])
def test_strides_cross(view):
    a = view(np.arange(20.0).reshape(4, 5))
    assert np.array_equal(lc.from_dlpack(a).numpy(), a)
    t = view(lc.arange(20, dtype=lc.float64).reshape(4, 5))
    assert np.array_equal(np.from_dlpack(t), a)


def test_the_array_keeps_our_memory_alive():
    before = live()
    t = lc.ones(1000)
    a = np.from_dlpack(t)
    del t
    lc.full((1000,), 7.0)  # would reuse the block if it were free
    assert a.sum() == 1000 and live() > before
    del a
    assert live() == before


def test_the_tensor_keeps_the_owner_alive():
    class Owner(np.ndarray):
        pass

    owner = np.ones(1000, np.float32).view(Owner)
    watch = weakref.ref(owner)
    t = lc.from_numpy(owner)[10:20]
    del owner
    gc.collect()
    assert watch() is not None and t.numpy().sum() == 10
    del t
    gc.collect()
    assert watch() is None


def test_a_capsule_nobody_takes_is_freed():
    before = live()
    capsule = lc.ones(1000).__dlpack__()
    assert live() > before
    del capsule
    assert live() == before


def test_read_only_memory_is_not_written():
    a = np.ones(8, np.float32)
    a.flags.writeable = False
    t = lc.from_numpy(a)
    assert t.numpy().sum() == 8
    with pytest.raises(ValueError, match="read-only"):
        t.fill_(2)
    assert a.sum() == 8


def test_cpu_memory_has_no_cuda_interface():
    assert not hasattr(lc.ones(3), "__cuda_array_interface__")


def test_torch_shares_memory():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6, dtype=torch.float32)
    ours = lc.from_dlpack(theirs)
    theirs[0] = 9
    assert ours.numpy()[0] == 9
    back = torch.from_dlpack(ours)
    assert back.data_ptr() == theirs.data_ptr()
    half = torch.arange(6, dtype=torch.bfloat16)
    assert lc.from_dlpack(half).dtype == lc.bfloat16
    assert lc.from_dlpack(half).to(lc.float32).numpy().tolist() == [0, 1, 2, 3, 4, 5]
