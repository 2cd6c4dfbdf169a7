"""The measuring instruments themselves: right results pass, slightly wrong ones do not, and a case can be run again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import check
import numpy as np
import pytest
from cases import LAYOUTS, Case, fill, place

import littlecore as lc

X = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


def tensor(a: np.ndarray) -> lc.Tensor:
    return lc.from_numpy(np.array(a))


def nudged(a: np.ndarray, ulps: float) -> np.ndarray:
    """One element moved by so many units in the last place."""
    b = a.copy()
    b[3, 2] += np.float32(ulps) * np.spacing(np.abs(b[3, 2]))
    return b


WIDE = X.astype(np.float64)

BITES = [  # (what passes, what must not)
    (lambda a: check.equal(a, X), nudged(X, 1)),
    (lambda a: check.same_bits(a, tensor(X)), nudged(X, 1)),
    (lambda a: check.elementwise(a, WIDE, 2), nudged(X, 3)),
    (lambda a: check.contraction(a, WIDE, np.abs(WIDE), 4), nudged(X, 16)),
    (lambda a: check.bounded(a, WIDE, np.abs(WIDE), 8), nudged(X, 20)),
    (lambda a: check.no_worse(a, WIDE, X), nudged(X, 10) + 4e-6),
    (lambda a: check.softmax(a, WIDE, np.zeros_like(WIDE), 1), nudged(X, 20)),
]


@pytest.mark.parametrize("passes, wrong", BITES, ids=range(len(BITES)))
def test_a_small_error_is_seen(passes, wrong):
    passes(tensor(X))
    for bad in (wrong, np.where(X[3, 2] == X, np.nan, X), np.where(X[3, 2] == X, np.inf, X), -X, X[:, :4], X.T):
        with pytest.raises(AssertionError):
            passes(tensor(bad.astype(np.float32)))


def test_nan_and_infinity_must_be_where_they_belong():
    want = np.where(X > 1, np.nan, np.where(X < -1, -np.inf, WIDE))
    check.elementwise(tensor(want.astype(np.float32)), want)
    for bad in (X, np.where(np.isnan(want), np.inf, want), np.where(np.isinf(want), np.inf, want)):
        with pytest.raises(AssertionError):
            check.elementwise(tensor(bad.astype(np.float32)), want)


def test_overflow_of_a_narrow_type_is_infinity():
    want = np.array([1e5, -1e5, 65504.0, 1.0])
    check.elementwise(tensor(want.astype(np.float32)).to(lc.float16), want, 1)
    with pytest.raises(AssertionError):
        check.elementwise(tensor(np.array([np.inf, -np.inf, 65504, np.inf], np.float16)), want, 1)


def test_a_wrong_gradient_is_seen():
    x = np.array([0.3, -1.2, 2.0])
    check.gradients(lambda x: x * x * x, x)

    class Off(lc.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x * x

        @staticmethod
        def backward(ctx, dy):
            (x,) = ctx.saved_tensors
            return dy * x * x * 3 * (1 + 1e-6)

    with pytest.raises(AssertionError):
        check.gradients(Off.apply, x)


def test_a_wrong_adjoint_is_seen():
    class Doubled(lc.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, dy):
            return dy * 3

    x, dy = lc.tensor([1.0, 2.0]), lc.tensor([3.0, 1.0])
    check.adjoint(lambda x: x * 2, x, dy=dy)
    with pytest.raises(AssertionError):
        check.adjoint(Doubled.apply, x, dy=dy)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(), (5,), (3, 4), (2, 3, 4), (0, 3), (3, 0)])
def test_a_layout_changes_where_values_are_and_not_what_they_are(layout, dtype, shape):
    data = fill(np.random.default_rng(1), shape, "integer", 4).clip(0)
    if layout == "broadcast" and shape:
        data = np.broadcast_to(data[:1], shape)
    t = place(data, dtype, layout, 3)
    assert tuple(t.shape) == shape and check.dtype_name(t) in (dtype, dtype + "_")
    assert np.array_equal(check.array(t).astype(float), data.astype(bool).astype(float) if dtype == "bool" else data)


def test_a_case_says_how_to_run_it_again():
    def draw(case: Case) -> tuple:
        x = case.tensor("x", case.shape("shape"), ("normal", "special"))
        return case.size("n"), case.pick("mode", ("a", "b", None)), x.shape, check.array(x).tobytes()

    for seed in range(50):
        first = Case(seed)
        drawn = draw(first)
        assert draw(Case.parse(str(first))) == drawn
        assert draw(Case(seed)) == drawn


FAILING = """
from cases import cases
import pytest, littlecore as lc, numpy as np

@cases(200)
def test_fails_from_five_on(case):
    n, other = case.size("n"), case.size("other")
    assert n * case.pick("factor", (1, 2, 3)) < 30

@cases(3)
def test_says_nothing(case):
    import check
    check.equal(lc.zeros(4), np.zeros(4, np.float32))
"""


def test_a_failing_case_is_shrunk_and_an_empty_one_refused(tmp_path):
    folder = check.__file__.rsplit("/", 1)[0]
    (tmp_path / "conftest.py").write_text(
        f"import sys; sys.path.insert(0, {folder!r})\nfrom conftest_of_tests import *\n"
    )
    (tmp_path / "conftest_of_tests.py").write_text(Path(folder, "conftest.py").read_text())
    (tmp_path / "test_it.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(lc.__file__).parent.parent)}
    out = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment).stdout
    assert "2 failed" in out, out
    line = next(s for s in out.splitlines() if s.startswith("E ") and "--case" in s)  # not the source above it
    assert "other=1 " in line and "factor=" in line, line
    n, factor = (int(line.split(f"{name}=")[1].split()[0]) for name in ("n", "factor"))
    assert 30 <= n * factor <= 33 * 3 and "threads=1 " in line, line
    assert "3 of 3 expected results are empty, constant or nearly all zero" in out


OVERRUN = """
import ctypes
import littlecore as lc
lc.memory.poison(True)
t = lc.empty(10)
ctypes.memset(t.data_ptr() + 40, 0, 1)
del t
raise SystemExit(lc.memory.stats()["overruns"])
"""


def test_a_write_past_the_end_is_counted():
    assert subprocess.run([sys.executable, "-c", OVERRUN]).returncode == 1
