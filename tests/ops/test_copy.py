"""copy: all pairs of dtypes, all layouts, no tolerance."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.copy import convert

import littlecore as lc

DTYPES = ("float32", "float64", "bfloat16", "float16", "int64", "int32", "uint8", "bool")


@cases(1500)
def test_conversion(case: Case):
    source = case.draw_dtype(*DTYPES)
    target = case.pick("to", DTYPES)
    to_integer = target in ("int64", "int32", "uint8")
    x = case.tensor(
        "x",
        case.shape("shape"),
        "integer" if to_integer or source in DTYPES[4:] else ("normal", "spread", "special"),
        bound=100,
    )
    y = x.to(getattr(lc, target))
    assert y.dtype is getattr(lc, target)
    check.equal(y, convert(check.array(x), target))
    return y


def test_truncation_and_truth():
    x = lc.tensor([-2.7, -0.5, 0.0, 0.5, 300.9])
    check.equal(x.long(), np.array([-2, 0, 0, 0, 300]))
    check.equal(x.bool(), np.array([True, True, False, True, True]))
    check.equal(lc.tensor([float("nan"), 0.0]).bool(), np.array([True, False]))


@pytest.mark.parametrize("bits", [16, 8])
def test_every_16_bit_float_survives_the_way_up_and_down(bits):
    dtype = lc.float16 if bits == 16 else lc.bfloat16
    every = np.arange(65536, dtype=np.uint32)
    wide = every.astype(np.uint16).view(np.float16).astype(np.float32) if bits == 16 else (every << 16).view(np.float32)
    check.equal(lc.from_numpy(wide).to(dtype).float(), wide)


@cases(400)
def test_copy_in_place(case: Case):
    """Into any layout, from any layout, broadcast."""
    shape = case.shape("shape")
    case.draw_dtype("float32", "float64", "int64")
    y, x = (
        case.tensor("y", shape, "integer"),
        case.tensor("x", shape[case.random("drop").integers(len(shape) + 1) :], "integer"),
    )
    if case.drawn.get("y") == "broadcast" and shape and shape[0] > 1:
        with pytest.raises(ValueError, match=r"expanded|read-only"):
            y.copy_(x)
        return None
    if case.drawn.get("y") == "broadcast":
        y = y.clone()
    y.copy_(x)
    check.equal(y, np.broadcast_to(check.array(x), shape))
    return y.clone()


def test_copy_between_overlapping_views():
    t = lc.arange(10)
    t[2:].copy_(t[:-2])
    check.equal(t, np.array([0, 1, 0, 1, 2, 3, 4, 5, 6, 7]))
    square = lc.arange(9).reshape(3, 3)
    square.copy_(square.t())
    check.equal(square, np.arange(9).reshape(3, 3).T)


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
@pytest.mark.parametrize("shape", [(2100, 3001), (300, 1100), (65, 9)])  # streamed, by way of a tile, directly
def test_large_copies(shape, dtype):
    a = np.arange(shape[0] * shape[1], dtype=dtype).reshape(shape)
    x = lc.from_numpy(a)
    check.equal(x.clone(), a)
    check.equal(x.t().contiguous(), a.T)
    check.equal(x[:, 3:].contiguous(), a[:, 3:])
    check.equal(lc.flip(x, (1,)), a[:, ::-1])
    check.equal(x[:, ::2].contiguous(), a[:, ::2])
    check.equal(x[:, :1].expand(shape).contiguous(), np.broadcast_to(a[:, :1], shape))


def test_what_copies_and_what_does_not():
    x = lc.arange(6).reshape(2, 3)
    assert x.contiguous() is x
    assert x.to(lc.int64) is x
    assert x.clone().data_ptr() != x.data_ptr()
    assert x.t().contiguous().is_contiguous()
    check.equal(x.t().contiguous(), np.arange(6).reshape(2, 3).T)


def test_gradients_pass_through():
    x = lc.tensor([1.5, -2.5], requires_grad=True)
    (x.double().clone().t().contiguous() * lc.tensor([3.0, 4.0])).sum().backward()
    assert x.grad.dtype is lc.float32
    check.equal(x.grad, np.array([3, 4]))


def test_fill():
    x = lc.empty(3, 4).t()
    check.equal(x.fill_(2.5) + lc.arange(3), np.full((4, 3), 2.5) + np.arange(3))
    assert not x.zero_().any()
    big = lc.zeros(2, dtype=lc.int64).fill_(2**62 + 1)
    check.equal(big - lc.tensor([0, 1]), np.array([2**62 + 1, 2**62]))


def test_refusals():
    with pytest.raises(RuntimeError, match="not recorded"):
        lc.zeros(2).copy_(lc.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="copy_"):
        lc.zeros(2).copy_(lc.ones(3))
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        lc.from_numpy(frozen).fill_(1)
