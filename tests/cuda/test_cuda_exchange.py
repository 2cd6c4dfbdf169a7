"""Memory shared with other frameworks on a device: DLPack and __cuda_array_interface__, with the streams of both sides.

The emulated device runs side streams as late as it may: what one side did not wait for is not there.
"""

from __future__ import annotations

import gc
from typing import ClassVar

import pytest

import littlecore as lc
from littlecore import kernels

DTYPES = {
    lc.float32: "<f4",
    lc.float64: "<f8",
    lc.float16: "<f2",
    lc.int64: "<i8",
    lc.int32: "<i4",
    lc.uint8: "|u1",
    lc.bool_: "|b1",
}


class OnStream:
    """An array of a framework that works on a stream of its own, late."""

    def __init__(self, value: float = 2.0, n: int = 1000) -> None:
        self.stream = lc.cuda.Stream()
        with self.stream:
            self.x = lc.full((n,), value, device="cuda") * 3

    def read(self) -> list[float]:
        """What later work on its stream sees."""
        with self.stream:
            y = self.x * 1
        self.stream.synchronize()
        return y.tolist()


class Dlpack(OnStream):
    """As JAX shows its arrays."""

    asked: object = "nothing"

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, *, stream: int | None = None, **options: object) -> object:
        self.asked = stream
        with self.stream:
            return self.x.__dlpack__(stream=1 if stream is None else stream, **options)


class OldDlpack(Dlpack):
    """As before DLPack 1.0."""

    def __dlpack__(self, stream: int | None = None) -> object:
        return super().__dlpack__(stream=stream)


class Interface(OnStream):
    """As Numba shows its arrays."""

    options: ClassVar[dict[str, object]] = {}

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        with self.stream:
            return {**self.x.__cuda_array_interface__, **self.options}


class Both(Interface, Dlpack):
    """As CuPy's."""


KINDS = [Dlpack, OldDlpack, Interface, Both]


def waits() -> int:
    return lc.cuda.launches()["waits"]


@pytest.mark.parametrize("kind", KINDS)
def test_from_dlpack_waits_for_the_producers_stream(kind):
    theirs, before = kind(), waits()
    ours = lc.from_dlpack(theirs)
    assert ours.data_ptr() == theirs.x.data_ptr() and waits() == before, "the stream waits, not the host"
    assert (ours + 1).tolist() == [7.0] * 1000


@pytest.mark.parametrize("kind", KINDS)
def test_the_stream_that_waits_is_the_current_one(kind):
    theirs, side = kind(), lc.cuda.Stream()
    with side:
        y = lc.from_dlpack(theirs) + 1
        assert getattr(theirs, "asked", side.handle) == side.handle
        side.synchronize()
    assert y.tolist() == [7.0] * 1000


def test_the_producer_lives_as_long_as_the_tensor():
    theirs = Interface()
    ours, pointer = lc.from_dlpack(theirs), theirs.x.data_ptr()
    del theirs
    gc.collect()
    lc.full((1000,), 9.0, device="cuda")
    assert ours.data_ptr() == pointer and (ours * 2).tolist() == [12.0] * 1000


def test_consumers_name_the_stream_that_is_to_wait():
    theirs = OnStream()
    before = waits()
    with theirs.stream:
        capsule = theirs.x.__dlpack__(stream=1)
    assert waits() == before
    assert (lc.from_dlpack(capsule) + 1).tolist() == [7.0] * 1000
    theirs, before = OnStream(), waits()
    with theirs.stream:
        capsule = theirs.x.__dlpack__(stream=1, copy=True)
    assert (lc.from_dlpack(capsule) + 1).tolist() == [7.0] * 1000
    theirs, before = OnStream(), waits()
    with theirs.stream:
        theirs.x.__dlpack__(stream=-1)
        assert waits() == before
        theirs.x.__dlpack__()
        assert waits() == before + 1, "who names no stream may use any"
    with pytest.raises(ValueError, match="stream 0 is ambiguous; 1 is the default stream"):
        theirs.x.__dlpack__(stream=0)


def test_memory_given_back_waits_for_the_consumers_stream():
    side = lc.cuda.Stream()
    x = lc.full((1000,), 2.0, device="cuda")
    pointer, capsule = x.data_ptr(), x.__dlpack__(stream=side.handle)
    with side:
        theirs = lc.from_dlpack(capsule)
        y = theirs * 3
    del x, theirs, capsule
    again = lc.full((1000,), 9.0, device="cuda")
    assert again.data_ptr() == pointer, "reused at once, by work that waits"
    side.synchronize()
    assert y.tolist() == [6.0] * 1000


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda d: d.name)
def test_the_interface_there_and_back(dtype):
    x = (lc.arange(24).reshape(4, 6) % 3).to(dtype).cuda()
    shown = x.__cuda_array_interface__
    assert shown == {
        "version": 3, "shape": (4, 6), "strides": None, "typestr": DTYPES[dtype], "data": (x.data_ptr(), False),
        "stream": 1,
    }  # fmt: skip
    for view in (x, x.T, x[1:, ::2], x[:0], x[2]):
        theirs = Interface()
        theirs.x = view
        assert not view.numel() or theirs.__cuda_array_interface__["data"] == (view.data_ptr(), False)
        back = lc.from_dlpack(theirs)
        assert back.dtype is dtype and back.tolist() == view.tolist() and back.device == "cuda:0"
    with lc.cuda.Stream() as side:
        assert x.__cuda_array_interface__["stream"] == side.handle


def test_what_the_interface_cannot_say():
    assert not hasattr(lc.ones(3), "__cuda_array_interface__")
    assert not hasattr(lc.ones(3, dtype=lc.bfloat16, device="cuda"), "__cuda_array_interface__")
    with pytest.raises(BufferError, match=r"requires grad; use detach\(\)"):
        _ = lc.ones(3, device="cuda").requires_grad_().__cuda_array_interface__
    theirs = Interface()
    for options, error, message in (
        ({"typestr": "<c8"}, TypeError, "elements of type '<c8'"),
        ({"typestr": ">f4"}, TypeError, "elements of type '>f4'"),
        ({"mask": theirs}, ValueError, "a mask is not supported"),
        ({"strides": (6,)}, ValueError, "a stride of 6 bytes is no number of elements of"),
        ({"strides": (4, 4)}, ValueError, "2 strides of 1 dimensions"),
        ({"stream": 0}, ValueError, "stream 0 is ambiguous"),
    ):
        theirs.options = options
        with pytest.raises(error, match=message):
            lc.from_dlpack(theirs)
    theirs.options = {"stream": None}  # nothing to wait for
    theirs.stream.synchronize()
    assert lc.from_dlpack(theirs).tolist() == [6.0] * 1000
    with pytest.raises(TypeError, match="object has no __dlpack__, nor __cuda_array_interface__"):
        lc.from_dlpack(object())


# ---- littlecore.kernels ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("aside", [False, True])
def test_kernels_on_foreign_arrays(kind, aside):
    side = lc.cuda.Stream()
    before = lc.cuda.current_stream()
    lc._core.cuda_set_stream(0, side.handle if aside else before.handle)
    try:
        x, out, ours = kind(-1.0), kind(7.0), lc.full((1000,), 5.0, device="cuda")
        y = kernels.relu_forward(x)
        assert y.device == "cuda:0" and y.data_ptr() != x.x.data_ptr()
        assert kernels.relu_forward(x, out=out) is out
        dx = kernels.relu_backward(ours, x)
        assert out.read() == [0.0] * 1000, "its stream waits for the kernel, or the caller has"
        side.synchronize()
        assert y.tolist() == dx.tolist() == [0.0] * 1000
        assert kernels.relu_backward(kind(2.0), kind(1.0)).tolist() == [6.0] * 1000
    finally:
        lc._core.cuda_set_stream(0, before.handle)


def test_the_host_waits_only_for_who_names_no_stream():
    for kind, expected in ((Interface, 0), (Both, 0), (Dlpack, 1)):
        x, before = kind(), waits()
        kernels.relu_forward(x)
        assert waits() - before == expected


def test_memory_that_may_not_be_written():
    x, y = Interface(), Interface()
    y.options = {"data": (y.x.data_ptr(), True)}
    with pytest.raises(ValueError, match="y is written, but its memory is read-only"):
        kernels.relu_forward(x, out=y)
    kernels.relu_forward(y, out=x)
