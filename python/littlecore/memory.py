"""The allocator's counters and switches.

>>> import littlecore as lc
>>> before = lc.memory.stats()["live_bytes"]
>>> x = lc.zeros(1024)
>>> lc.memory.stats()["live_bytes"] - before
4096
"""

from __future__ import annotations

from littlecore import _core


def stats() -> dict[str, int]:
    """Counters of the allocator.

    ``live_bytes``, ``live_blocks``: handed out now. ``peak_bytes``: highest ``live_bytes`` since :func:`reset_peak`.
    ``reserved_bytes``: held from the system. ``allocations``: requests so far. ``system_allocations``: those that
    had to ask the system; a steady training step makes none. ``overruns``: poisoned blocks that came back with the
    bytes behind them written to.
    """
    return _core.memory_stats()


def reset_peak() -> None:
    """Starts a new measurement of ``peak_bytes``."""
    _core.memory_reset_peak()


def empty_cache() -> None:
    """Gives memory no tensor uses back to the system."""
    _core.memory_empty_cache()


def fail_at(n: int) -> None:
    """Makes the n-th allocation from now raise MemoryError, once; 0 switches off. For tests of what happens then."""
    _core.memory_fail_at(n)


def poison(on: bool = True) -> None:
    """Fills new memory with NaN (all bits set) and guards its end, so that reading what nobody wrote and writing
    past the end (``stats()["overruns"]``) show. For tests."""
    _core.memory_poison(on)


def poisoned() -> bool:
    """True while :func:`poison` is on."""
    return _core.memory_poisoned()
