"""Expressions over `lib`, each to mean the same in littlecore and in PyTorch (tests/parity/test_semantics.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Expression = Callable[[Any], Any]


def f(lib: Any, *shape: int) -> Any:
    """A float tensor whose entries are distinct, of both signs and not integers."""
    n = int(np.prod(shape))
    return lib.from_numpy((((np.arange(n) * 7) % max(n, 1) - n // 3) * 0.37 + 0.1).astype(np.float32).reshape(shape))


def i(lib: Any, *values: Any) -> Any:
    return lib.tensor(list(values))
