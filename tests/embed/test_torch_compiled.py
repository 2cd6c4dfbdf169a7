"""The ops of littlecore.interop.torch compiled, and in Python: this process has the one, another one the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import littlecore.interop.torch as interop  # noqa: E402
from littlecore.interop import build_torch  # noqa: E402

HERE = Path(__file__).parent
SAME = ["test_torch.py", "test_kernels_refuse.py", "test_kernels_again.py"]


def python(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **({"XDG_CACHE_HOME": str(cache)} if cache else {})}
    return subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True)


def test_both_pass_the_same_tests(tmp_path: Path):
    cache = tmp_path if interop.compiled else None
    if not interop.compiled:
        if shutil.which(os.environ.get("CXX", "c++")) is None:
            pytest.skip("needs a C++ compiler")
        done = python("-m", "littlecore.interop.build_torch")
        assert done.returncode == 0 and done.stdout.strip() == str(build_torch.library()), done.stderr
    done = python("-c", "import littlecore.interop.torch as t; print(t.compiled)", cache=cache)
    assert done.stdout.strip() == str(not interop.compiled), done.stderr
    tests = [str(HERE / name) for name in SAME]
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests, cache=cache)
    assert done.returncode == 0, done.stdout


def test_a_compiler_that_is_missing_is_named(tmp_path: Path):
    code = "import os; os.environ['CXX'] = 'no-such-c++'; import littlecore.interop.build_torch as b; b.build()"
    done = python("-c", code, cache=tmp_path)
    assert done.returncode == 1 and "there is no no-such-c++; set CC or CXX" in done.stderr


def test_a_view_that_negates_is_not_read_as_it_lies():
    x = torch.complex(torch.ones(4), torch.ones(4)).conj().imag
    assert x.is_neg() and torch.equal(torch.ops.littlecore.leaky_relu_forward(x, 0.5), torch.full((4,), -0.5))


@pytest.mark.parametrize("value", [float("nan"), -1.0])
def test_what_is_saved_and_changed_is_noticed(value: float):
    x = torch.ones(3, requires_grad=True)
    y = torch.ops.littlecore.sigmoid_forward(x)
    y.fill_(value)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_gradients_go_where_they_are_asked_for():
    x, w, b = torch.randn(2, 3), torch.randn(4, 3, requires_grad=True), torch.randn(4, requires_grad=True)
    y, z = torch.ops.littlecore.linear_gelu_forward(x, w, b)
    assert y.requires_grad and not z.requires_grad
    dw, db = torch.autograd.grad(y.sum(), (w, b))
    y, _ = torch.ops.littlecore.linear_gelu_forward(x, w, None)
    (same,) = torch.autograd.grad(torch.nn.functional.gelu(x @ w.T + b).sum(), w)
    torch.testing.assert_close(dw, same)
    assert db.shape == b.shape and torch.autograd.grad(y.sum(), w)[0].shape == w.shape
    with torch.no_grad():
        assert not torch.ops.littlecore.relu_forward(w).requires_grad
