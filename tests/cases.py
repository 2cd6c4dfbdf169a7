"""Generated kernel cases: a test marked `@cases(n)` is called n times, each time with another `case` to draw from.

    @cases(500)
    def test_layer_norm(case):
        rows, cols = case.size("rows"), case.size("cols", low=1)
        x = case.tensor("x", (rows, cols), values=("normal", "shifted", "special"))
        y = lc.layer_norm(x, (cols,))
        check.bounded(y, layer_norm_forward(check.wide(x)), ...)
        return y                       # optional: computed again elsewhere in memory, on other threads: same bits

Every draw has a name and comes from a table ordered from plain to nasty. Thread count and ISA are drawn for every case.
A failing case is shrunk towards the plain end of each table and printed as one line to run it again; its values may be
edited by hand:

    pytest "tests/ops/test_layer_norm.py::test_layer_norm" --case "threads=1 rows=3 cols=17 x=step2 seed=123"

`--cases 10` runs ten times as many of each. A test that takes the process down is run again with `--announce`, which
prints the seed of every case before it starts: `--case "seed=123"` is then the line to look at.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

import littlecore as lc

cases = pytest.mark.cases

SIZES = (1, 2, 3, 7, 8, 9, 0, 15, 16, 17, 31, 32, 33, 5, 11, 13, 63, 64, 65, 97, 127, 128, 129, 255, 256, 257)
# what the tests run on: all this machine has, or those LITTLECORE_TEST_ISAS names
ISAS = os.environ.get("LITTLECORE_TEST_ISAS", "").split() or lc._core.available_isas()
THREADS = (1, 2, 3, 8)
FLOATS = ("float32", "float64")
STORED_FLOATS = ("float32", "float64", "bfloat16", "float16")
LAYOUTS = ("dense", "offset", "guarded", "transposed", "padded", "step2", "reversed", "broadcast")
VALUES = ("normal", "integer", "positive", "uniform", "shifted", "constant", "spread", "distinct", "onehot", "special")


@dataclass
class Case:
    seed: int
    fixed: dict[str, str] = field(default_factory=dict)
    moved: bool = False  # the second run of a case: the same values at another address
    drawn: dict[str, str] = field(default_factory=dict)
    simpler: dict[str, list[str]] = field(default_factory=dict)

    # ---- draws -------------------------------------------------------------------------------

    def pick(self, name: str, choices: Sequence[Any]) -> Any:
        """One of `choices`, which stand in order from plain to nasty."""
        names = [_text(c) for c in choices]
        wanted = self.fixed.get(name)
        index = names.index(wanted) if wanted in names else int(self.random(name).integers(len(names)))
        return self._note(name, choices[index], names[:index])

    def size(self, name: str, low: int = 0, high: int = 257) -> int:
        """A length in [low, high] from the sizes around vector widths and tile edges, small ones more often."""
        wanted = self.fixed.get(name)
        if wanted is not None and wanted.isdigit():
            return self._note(name, max(low, min(high, int(wanted))), [])
        table = [s for s in SIZES if low <= s <= high] or [low]
        if self.random(name + "?").random() < 0.5:
            table = table[: max(1, len(table) // 2)]
        return self.pick(name, table)

    def shape(self, name: str, low: int = 0, high: int = 4, limit: int = 8192) -> tuple[int, ...]:
        """`low` to `high` dimensions with at most `limit` elements; written 3x17x5, and `scalar` for none."""
        wanted = self.fixed.get(name)
        if wanted is not None:
            shape = () if wanted == "scalar" else tuple(int(s) for s in wanted.split("x"))
        else:
            random = self.random(name)
            shape = tuple(int(s) for s in random.choice(SIZES, int(random.integers(low, high + 1))))
            while np.prod(shape) > limit:
                shape = tuple(max(1, s // 2) if s == max(shape) else s for s in shape)
        smaller = [
            (*shape[:i], s, *shape[i + 1 :]) for i in range(len(shape)) for s in {1, 2, shape[i] // 2} if s < shape[i]
        ]
        return self._note(name, shape, [_text(s) for s in smaller])

    @property
    def dtype(self) -> str:
        """float32 or float64, drawn once for the case; an op that also stores 16 bits calls `draw_dtype` first."""
        return self.drawn.get("dtype") or self.draw_dtype(*FLOATS)

    def draw_dtype(self, *names: str) -> str:
        return self.pick("dtype", names)

    def random(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    # ---- tensors -----------------------------------------------------------------------------

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        values: str | Sequence[str] = "normal",
        dtype: str | None = None,
        bound: int = 4,
        grad: bool = False,
    ) -> Any:
        """A tensor of the drawn dtype and layout. Its exact contents, for the reference: check.wide(tensor).

        Where the layout leaves gaps in memory they hold NaN, so that a read outside the view shows.
        """
        dtype = dtype or self.dtype
        kind = values if isinstance(values, str) else self.pick(name + ".values", values)
        layout = self.pick(name, LAYOUTS if self.random(name + "?").random() < 0.5 else LAYOUTS[:1])
        data = fill(self.random(name + ".data"), tuple(shape), kind, bound)
        offset = 0 if layout == "dense" else int(self.random(name + ".offset").integers(1, 16))
        x = place(data, dtype, layout, offset + 5 * self.moved)
        return x.requires_grad_() if grad else x

    def integers(self, name: str, shape: Sequence[int], low: int, high: int, dtype: str = "int64") -> Any:
        """Indices or counts in [low, high)."""
        data = self.random(name + ".data").integers(low, high, tuple(shape)) if np.prod(shape) else np.zeros(shape)
        return place(data, dtype, self.pick(name, LAYOUTS[:6]), 3 * self.moved)

    # ---- book-keeping ------------------------------------------------------------------------

    def _note(self, name: str, value: Any, simpler: list[str]) -> Any:
        self.drawn[name], self.simpler[name] = _text(value), simpler
        return value

    def __str__(self) -> str:
        return " ".join(f"{k}={v}" for k, v in self.drawn.items()) + f" seed={self.seed}"

    @staticmethod
    def parse(line: str) -> Case:
        fixed = dict(word.split("=", 1) for word in line.split())
        return Case(int(fixed.pop("seed", 0)), fixed)


def _text(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return "x".join(_text(v) for v in value) if value else "scalar"
    return str(value).replace(" ", "")


# ---- data --------------------------------------------------------------------------------------


def fill(random: np.random.Generator, shape: tuple[int, ...], kind: str, bound: int = 4) -> np.ndarray:
    """Float64 values of one kind; whoever stores them rounds them."""
    n = int(np.prod(shape))
    x = random.standard_normal(n)
    if kind == "integer":
        x = random.integers(-bound, bound + 1, n).astype(float)
    elif kind == "positive":
        x = np.exp(x)
    elif kind == "uniform":
        x = random.uniform(-1, 1, n)
    elif kind == "shifted":
        x = x + random.choice([33.0, -1e4])
    elif kind == "constant":
        x = np.full(n, x[0] if n else 0)
    elif kind == "spread":
        x = np.sign(x) * np.exp(random.uniform(-30, 30, n))
    elif kind == "distinct":
        x = (random.permutation(n) - n // 2 + 0.25) / 16
    elif kind == "onehot":
        x = np.eye(1, n, int(random.integers(n)))[0] if n else x
    elif kind == "special" and n:
        for value in (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-40, 1e-310):
            if random.random() < 0.4:
                x[random.integers(n) if random.random() < 0.7 else -1] = value
    return x.reshape(shape)


def place(data: np.ndarray, dtype: str, layout: str = "dense", offset: int = 0) -> Any:
    """A tensor of these values, laid out in memory as `layout` says, `offset` elements after an aligned address."""
    stored = {"bfloat16": np.float32, "bool": np.bool_}.get(dtype) or np.dtype(dtype)
    with np.errstate(all="ignore"):
        data = data.astype(stored)
    shape = data.shape
    if layout == "broadcast" and shape:
        data = data[:1]
    room = 2 * data.size + 3 * int(np.prod(shape[:-1])) + 64 + offset
    base = _guarded(data.size, data.dtype) if layout == "guarded" else _aligned(room, data.dtype)
    offset = 0 if layout == "guarded" else offset
    view = _view(base[offset:], data.shape, layout)
    view[...] = data
    if dtype == "bfloat16":
        t = _view(lc.from_numpy(base).to(lc.bfloat16)[offset:], data.shape, layout)
        return t.expand(shape) if layout == "broadcast" else t
    return lc.from_numpy(np.broadcast_to(view, shape) if layout == "broadcast" else view)


def _aligned(n: int, dtype: np.dtype) -> np.ndarray:
    raw = np.empty(n * dtype.itemsize + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    base = raw[start : start + n * dtype.itemsize].view(dtype)
    base[...] = np.nan if dtype.kind == "f" else np.True_ if dtype.kind == "b" else np.iinfo(dtype).max
    return base


def _guarded(n: int, dtype: np.dtype) -> np.ndarray:
    """Memory that ends where the page behind it may not be touched: a read past the end is a crash."""
    page = mmap.PAGESIZE
    used = -(-max(n * dtype.itemsize, 1) // page) * page
    memory = mmap.mmap(-1, used + page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(start + used), ctypes.c_size_t(page), 0) == 0
    return np.frombuffer(memory, np.uint8)[used - n * dtype.itemsize : used].view(dtype)


def _view(base: Any, shape: tuple[int, ...], layout: str) -> Any:
    """The window of a flat array, NumPy's or ours, that holds `shape` in this layout."""
    n = int(np.prod(shape))
    if not shape or layout in ("dense", "offset", "guarded", "broadcast"):
        return base[:n].reshape(shape)
    *lead, last = shape
    if layout == "transposed":
        mirrored = base[:n].reshape(shape[::-1])
        return mirrored.T if isinstance(base, np.ndarray) else mirrored.permute(*range(len(shape))[::-1])
    if layout == "padded":
        return base[: int(np.prod(lead)) * (last + 3)].reshape(*lead, last + 3)[..., :last]
    if layout == "step2":
        return base[: 2 * n].reshape(*lead, 2 * last)[..., ::2]
    return base[:n].reshape(shape)[::-1]  # reversed


# ---- running -----------------------------------------------------------------------------------

totals: dict[str, tuple[int, float]] = {}


def run_cases(item: Any, call: Callable[[Case], Any], count: int, line: str | None, announce: bool) -> None:
    """Call the test once per case, and once with the one case of `line` if there is one."""
    if line is not None:
        run_one(call, Case.parse(line))
        return
    begin = time.perf_counter()
    for i in range(count):
        seed = zlib.crc32(f"{item.nodeid} {i}".encode())
        case = Case(seed)
        if announce:
            print(f"{item.nodeid} --case seed={seed}", file=sys.__stderr__, flush=True)
        try:
            run_one(call, case)
        except Exception as error:
            small, error = _shrink(call, case, error)
            raise AssertionError(
                f'{type(error).__name__}: {error}\n\nto see it again:\n  pytest "{item.nodeid}" --case "{small}"'
            ) from error
    done, seconds = totals.get(item.nodeid.split("[")[0], (0, 0.0))
    totals[item.nodeid.split("[")[0]] = (done + count, seconds + time.perf_counter() - begin)


def run_one(call: Callable[[Case], Any], case: Case) -> None:
    from check import same_bits

    isa = case.pick("isa", ISAS)
    threads = case.pick("threads", THREADS)
    first = _on(isa, threads, call, case)
    if first is None:
        return
    other = 3 if threads != 3 else 2
    again = _on(isa, other, call, Case(case.seed, {**case.fixed, **case.drawn}, moved=True))
    for a, b in zip(_several(first), _several(again), strict=True):
        try:
            same_bits(b, a)
        except AssertionError as error:
            raise AssertionError(f"other bits with {other} threads and moved in memory: {error}") from None


def _on(isa: str, threads: int, call: Callable[[Case], Any], case: Case) -> Any:
    lc._core.set_isa(isa)
    lc.set_num_threads(threads)
    return call(case)


def _several(result: Any) -> list[Any]:
    return [t for t in (result if isinstance(result, (tuple, list)) else (result,)) if t is not None]


def _shrink(call: Callable[[Case], Any], case: Case, error: Exception, seconds: float = 10) -> tuple[Case, Exception]:
    """The same failure with plainer draws: each in turn towards the beginning of its table, until none helps."""
    deadline, progress = time.monotonic() + seconds, True
    while progress:
        progress = False
        for name in list(case.drawn):
            for value in case.simpler.get(name, ()):
                if time.monotonic() > deadline:
                    return case, error
                attempt = Case(case.seed, {**case.drawn, name: value})
                try:
                    run_one(call, attempt)
                except type(error) as smaller:
                    case, error, progress = attempt, smaller, True
                    break
                except Exception:
                    continue
    return case, error
