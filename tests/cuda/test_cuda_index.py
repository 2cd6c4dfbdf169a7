"""Elements at indices on a device: the CPU's bits, whether places repeat or not, forward and backward."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS
from test_cuda_select import exact

import littlecore as lc

DTYPES = [*FLOATS, lc.int64, lc.int32, lc.uint8, lc.bool_]
IDS = {"ids": lambda d: d.name}
RNG = np.random.default_rng(0)
EMULATED = lc.cuda.is_available() and lc.cuda.get_device_name().startswith("emulated")


def whole(shape: tuple[int, ...], dtype: lc.dtype) -> lc.Tensor:
    return lc.tensor(RNG.integers(-9, 10, shape)).to(dtype).requires_grad_(dtype in FLOATS)


def places(size: int, *shape: int) -> lc.Tensor:
    return lc.tensor(RNG.integers(-size, size, shape))


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_index(dtype):
    x = whole((5, 6, 7), dtype)
    exact(lambda x, i: x[i], x, places(5, 13))
    exact(lambda x, i: x[:, i], x, places(6, 3, 2).int())
    exact(lambda x, i, j: x[i, 1:5, j], x, places(5, 4), places(7, 3, 1))
    exact(lambda x, i: x.transpose(0, 2)[..., i], x, places(5, 0))
    exact(lambda x, m: x[m], x, lc.tensor(RNG.integers(0, 2, (5, 6))).bool())
    exact(lambda x, m: x[:, m, 2], x, lc.tensor(RNG.integers(0, 2, 6)).bool())
    exact(lambda x, m: lc.masked_select(x, m), x, lc.tensor(RNG.integers(0, 2, 7)).bool())
    exact(lambda x, i: lc.index_select(x, 1, i), x, places(6, 20).abs() % 6)


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
def test_long_rows(dtype):
    exact(lambda x, i: x[i], whole((5, 40), dtype), places(5, 23))


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_put(dtype):
    def put(x, i, v):
        y = x.detach().clone()
        y[i] = v
        y[:, i[:3] % 4, 2] = 1
        y[y == 3] = 5
        return y

    exact(put, whole((5, 4, 7), dtype).detach(), places(5, 9), whole((4, 7), dtype).detach())


@pytest.mark.parametrize("dtype", FLOATS, **IDS)
def test_add(dtype):
    exact(lambda x, i, s: lc.index_add(x, 1, i, s), whole((3, 4, 5), dtype), places(4, 11), whole((3, 11, 5), dtype))

    def accumulate(x, i, v):
        y = x.detach().clone()
        return y.index_put_((i,), v.detach(), accumulate=True)

    exact(accumulate, whole((5, 3), dtype).detach(), places(5, 50), whole((50, 3), dtype).detach())


def test_indices_of_the_cpu():
    x = lc.arange(12, device="cuda").reshape(3, 4)
    assert x[[2, 0]].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert x[lc.tensor([True, False, True])].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    with pytest.raises(IndexError, match=r"index 3 is out of range for dim 0 of size 3"):
        x[[0, 3]]
    if EMULATED:
        with pytest.raises(RuntimeError, match="out of range"):
            x[lc.tensor([0, 3]).cuda()]


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_gather(dtype):
    x = whole((4, 6, 5), dtype)
    exact(lambda x, i: lc.gather(x, 1, i), x, places(6, 3, 9, 5))
    exact(lambda x, i: lc.gather(x.transpose(0, 1), -1, i), x, places(5, 2, 4, 3))
    exact(lambda x, i: lc.take_along_dim(x, i), x, places(120, 31))
    exact(lambda x, i: lc.gather(x, 0, i), x, places(4, 0, 2, 3))


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_scatter(dtype):
    x, src = whole((4, 6, 5), dtype), whole((3, 9, 5), dtype)
    exact(lambda x, i, s: lc.scatter(x, 1, i, s), x, places(6, 3, 9, 4), src)
    exact(lambda x, i: lc.scatter(x, 0, i, 3.0), x, places(4, 2, 2, 5))
    if dtype is not lc.bool_:
        exact(lambda x, i, s: lc.scatter_add(x, 1, i, s), x, places(6, 3, 9, 4), src)
        exact(lambda x, i, s: lc.scatter_add(x, 0, i, s), whole((7,), dtype), places(7, 60), whole((60,), dtype))


def test_an_index_out_of_range_ends_the_kernel():
    if EMULATED:
        with pytest.raises(RuntimeError, match="out of range"):
            lc.gather(lc.zeros(3, device="cuda"), 0, lc.tensor([-4]).cuda())


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_nonzero(dtype):
    x = lc.tensor(RNG.integers(0, 2, (3, 5, 41))).to(dtype)
    exact(lc.nonzero, x)
    exact(lambda x: lc.nonzero(x.transpose(0, 2)), x)
    exact(lambda x: lc.nonzero(x * 0), x)


def test_nonzero_of_more_than_a_block():
    x = lc.tensor(RNG.integers(0, 40, 40_000)) == 0
    exact(lc.nonzero, x)


@pytest.mark.parametrize("dtype", DTYPES, **IDS)
def test_sort(dtype):
    x = whole((3, 37), dtype)
    for descending in (False, True):
        exact(lambda x, d=descending: lc.sort(x, 1, descending=d)[0], x)
        exact(lambda x, d=descending: lc.sort(x, 1, descending=d)[1], x.detach())
    exact(lambda x: lc.sort(x, 0)[0], x)
    exact(lambda x: lc.topk(x, 5, 1)[0], x)
    exact(lambda x: lc.topk(x.transpose(0, 1), 2, 0, largest=False)[1], x.detach())
    exact(lambda x: lc.unique(x), x.detach())


def test_sort_of_all_kinds_of_floats():
    x = lc.tensor([1.0, float("nan"), -0.0, 0.0, float("inf"), -float("inf"), -1e-40, 3e38, -3e38])
    for dtype in (lc.float32, lc.float64, lc.bfloat16):
        exact(lambda x: lc.argsort(x), x.to(dtype))
        exact(lambda x: lc.argsort(x, descending=True), x.to(dtype))
    exact(lambda x: lc.searchsorted(x, lc.tensor([0.5, 3.0]).to(x.device)), lc.tensor([0.0, 1.0, 2.0]))
    exact(lambda x: lc.argsort(x), lc.tensor([2**40, -(2**40), 5, -5, 2**40]))
