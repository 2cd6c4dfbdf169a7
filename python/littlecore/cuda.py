"""The GPU: is there one, its memory, streams and events.

>>> import littlecore as lc
>>> lc.cuda.is_available() or lc.cuda.why_not().startswith("no GPU: ")
True
"""

from __future__ import annotations

from types import TracebackType

from littlecore import _core

__all__ = [
    "Event", "Stream", "current_stream", "device_count", "empty_cache", "get_device_name", "is_available", "launches",
    "memory_stats", "reset_peak", "synchronize", "why_not",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


def is_available() -> bool:
    """True if tensors can live on ``"cuda"`` here."""
    return _core.cuda_is_available()


def why_not() -> str:
    """Why :func:`is_available` is False, as ``"no GPU: <reason>"``; empty if it is True."""
    return _core.cuda_why_not()


def device_count() -> int:
    """How many GPUs can be used."""
    return _core.cuda_device_count()


def get_device_name(device: int = 0) -> str:
    """What the driver calls it."""
    return _core.cuda_device_name(device)


def synchronize(device: int = 0) -> None:
    """Waits for all work of the device; raises what a kernel did wrong."""
    _core.cuda_synchronize(device)


def memory_stats(device: int = 0) -> dict[str, int]:
    """The device's counters, as :func:`littlecore.memory.stats` has them for the CPU."""
    return _core.cuda_memory_stats(device)


def launches() -> dict[str, int]:
    """What this thread has asked of devices so far. ``launches``: kernels, copies and fills, one by one. ``graphs``:
    stretches of a captured step, launched as one. ``waits``: copies and synchronizations that the host waits for."""
    return _core.cuda_launches()


def reset_peak(device: int = 0) -> None:
    """Starts a new measurement of ``peak_bytes``."""
    _core.cuda_reset_peak(device)


def empty_cache(device: int = 0) -> None:
    """Gives memory no tensor uses back to the driver."""
    _core.cuda_empty_cache(device)


class Stream:
    """A queue of work: what is in one stream runs in order. ``with stream:`` makes it the current one of this thread.

    Memory belongs to the stream it was allocated on, whose later work may have it once a tensor is gone. Where another
    stream used the tensor, ``tensor.record_stream(stream)`` makes that work wait.
    """

    def __init__(self, device: int = 0, *, handle: int | None = None) -> None:
        self.device = device
        self._owned = handle is None
        self.handle = _core.cuda_make_stream(device) if handle is None else handle
        self._before: list[int] = []

    def __del__(self) -> None:
        if getattr(self, "_owned", False) and hasattr(self, "handle"):
            _core.cuda_drop_stream(self.device, self.handle)

    def __enter__(self) -> Stream:
        self._before.append(_core.cuda_current_stream(self.device))
        _core.cuda_set_stream(self.device, self.handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        _core.cuda_set_stream(self.device, self._before.pop())

    def synchronize(self) -> None:
        """Waits for the work in it."""
        _core.cuda_synchronize_stream(self.device, self.handle)

    def wait_event(self, event: Event) -> None:
        """Later work of this stream waits for the event; the caller does not."""
        _core.cuda_wait_event(self.device, event.handle, self.handle)

    def wait_stream(self, stream: Stream) -> None:
        """Later work of this stream waits for what is in the other now."""
        event = Event(self.device)
        event.record(stream)
        self.wait_event(event)


class Event:
    """A place in a stream, to wait for and to measure time between."""

    def __init__(self, device: int = 0) -> None:
        self.device = device
        self.handle = _core.cuda_make_event(device)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            _core.cuda_drop_event(self.device, self.handle)

    def record(self, stream: Stream | None = None) -> None:
        """Puts it behind what the stream, by default the current one, holds now."""
        _core.cuda_record_event(
            self.device, self.handle, _core.cuda_current_stream(self.device) if stream is None else stream.handle
        )

    def synchronize(self) -> None:
        """Waits until it is reached."""
        _core.cuda_synchronize_event(self.device, self.handle)

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds from this event to ``end``."""
        return _core.cuda_elapsed_ms(self.device, self.handle, end.handle)


def current_stream(device: int = 0) -> Stream:
    """The stream this thread's work goes to."""
    return Stream(device, handle=_core.cuda_current_stream(device))
