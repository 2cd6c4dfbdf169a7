"""littlecore.kernels under thousands of calls that a hostile program could make: refused or computed, never a crash.

Arrays of wrong shapes, dtypes, strides and addresses, of any rank, with 2**40 rows or none, read-only or shared between
arguments, options beyond all bounds; half of the calls are almost right, so that checks further in are met, too.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from littlecore import kernels
from littlecore.interop._signature import SIGNATURES, Argument, Option

REFUSED = (ValueError, TypeError, IndexError, MemoryError, NotImplementedError)
FLOATS: list[Any] = [np.float32, np.float32, np.float64, np.float16]
OTHERS: list[Any] = [np.int64, np.int32, np.bool_, np.uint8, np.complex64]
SIZES = [0, 1, 1, 2, 2, 3, 4, 5, 8]
INTEGERS = [0, 1, 2, 3, -1, -2, 100, 1 << 31, -(1 << 31), (1 << 63) - 1, -(1 << 63)]
REALS = [0.0, -1.0, 0.5, 1e-5, float("nan"), float("inf"), -float("inf"), 1e300]


def strides(a: np.ndarray, *of: int, rows: int | None = None) -> np.ndarray:
    shape = a.shape if rows is None else (rows, *a.shape[1:])
    return np.lib.stride_tricks.as_strided(a, shape, of)


def misaligned(a: np.ndarray) -> np.ndarray:
    return np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)


def read_only(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


MANGLED: list[Callable[[np.ndarray], np.ndarray]] = [
    lambda a: a[::-1],
    lambda a: a.T,
    lambda a: a[..., ::2],
    lambda a: a[None],
    lambda a: a.reshape((1,) * 17 + a.shape),
    lambda a: strides(a, *[0] * a.ndim),
    lambda a: strides(a, 0, *a.strides[1:], rows=1 << 40),
    misaligned,
    read_only,
]


class Calls:
    """One random call after the other."""

    def __init__(self, seed: int) -> None:
        self.r, self.numbers = random.Random(seed), np.random.default_rng(seed)

    def shape(self) -> tuple[int, ...]:
        return tuple(self.r.choice(SIZES) for _ in range(self.r.randrange(6)))

    def array(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.asarray(self.numbers.integers(-3, 6, shape)).astype(dtype)

    def fitting(self, a: Argument, sizes: dict[str, int], known: dict[str, np.ndarray], dtype: Any) -> np.ndarray:
        wide = np.float64 if dtype is np.float64 else np.float32
        dtype = {"acc": wide, "int64": np.int64, "mask": np.bool_}.get(a.dtype, dtype)
        if a.axes[0].startswith("="):
            of = known.get(a.axes[0][1:])
            return self.array((2,) if of is None else of.shape, dtype)
        names = [axis.rstrip("^") for axis in a.axes if axis]
        fixed = [int(n) if n.isdigit() else sizes.setdefault(n, self.r.choice(SIZES)) for n in names]
        return self.array(tuple(fixed), dtype)

    def option(self, o: Option, wild: bool) -> Any:
        if o.kind == "double":
            return self.r.choice(REALS) if wild else 0.1
        one = [self.r.choice(INTEGERS) if wild else 1 for _ in range(2)]
        return tuple(one) if o.kind == "int2" else one[0]

    def next(self) -> tuple[str, dict[str, Any]]:
        s, wild = SIGNATURES[self.r.choice(list(SIGNATURES))], self.r.random() < 0.5
        sizes: dict[str, int] = {}
        arguments: dict[str, Any] = {}
        dtype = self.r.choice(FLOATS)
        for a in s.inputs:
            if a.optional and self.r.random() < 0.3:
                continue
            x = self.fitting(a, sizes, arguments, dtype)
            if wild and self.r.random() < 0.1:
                x = self.array(self.shape(), self.r.choice(FLOATS + OTHERS))
            if wild and self.r.random() < 0.3 and x.ndim and x.size:
                x = self.r.choice(MANGLED)(x)
            if wild and arguments and self.r.random() < 0.05:
                x = self.r.choice(list(arguments.values()))
            arguments[a.name] = x
        for o in s.options:
            if o.default is None or self.r.random() < 0.5:
                arguments[o.name] = self.option(o, wild and self.r.random() < 0.3)
        if s.outputs and self.r.random() < 0.1:
            out = tuple(self.r.choice([None, False, self.array(self.shape(), dtype)]) for _ in s.outputs)
            arguments["out"] = out if len(out) > 1 else out[0]
        return s.name, arguments


def run(seed: int, calls: int) -> int:
    """How many of the calls were computed."""
    source, computed = Calls(seed), 0
    for _ in range(calls):
        name, arguments = source.next()
        try:
            getattr(kernels, name)(**arguments)
            computed += 1
        except REFUSED:
            pass
    return computed


@pytest.mark.parametrize("seed", range(2))
def test_no_call_crashes(seed: int):
    code = f"import test_kernels_hostile as t; print(t.run({seed}, 2000))"
    folder = Path(__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 300 < int(done.stdout) < 1700
