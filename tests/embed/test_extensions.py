"""Extensions that take and return our Tensor, and Python inside of C++: the examples, as their users build them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F

EXAMPLES = Path(__file__).parents[2] / "examples"
CMAKEDIR = {"littlecore": "--cmakedir", "pybind11": "--cmakedir", "nanobind": "--cmake_dir"}


def built(example: str, folder: Path, *packages: str) -> Path:
    if shutil.which("cmake") is None or shutil.which("c++") is None:
        pytest.skip("needs CMake and a compiler")
    where = []
    for package in ("littlecore", *packages):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
        ask = [sys.executable, "-m", package, CMAKEDIR[package]]
        told = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
        where.append(f"-D{package}_DIR={told}")
    configure = ["cmake", "-S", str(EXAMPLES / example), "-B", str(folder), "-DCMAKE_BUILD_TYPE=Debug"]
    configure.append(f"-DPython_EXECUTABLE={sys.executable}")
    for command in ([*configure, *where], ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def loaded(name: str, folder: Path) -> ModuleType:
    path = next(folder.glob(f"{name}*.so"))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random(*shape: int) -> Any:
    return lc.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


def test_pybind11(tmp_path: Path):
    fused = loaded("fused", built("pybind11", tmp_path, "pybind11"))
    x, w, b = random(2, 3, 8), random(5, 8), random(5)
    y = fused.linear_gelu(x, w, b)
    assert type(y) is lc.Tensor and y.shape == (2, 3, 5)
    assert lc.equal(y, F.gelu(F.linear(x, w, b)))
    assert lc.equal(fused.linear_gelu(x, w.T.contiguous().T, b), y)  # w is read by its strides
    with pytest.raises(RuntimeError, match=r"linear_forward: b has shape \[4\], needs \[out=5\]"):
        fused.linear_gelu(x, w, b[:4])
    with pytest.raises(TypeError, match=r"littlecore\.Tensor"):
        fused.linear_gelu(x.numpy(), w, b)
    with pytest.raises(ValueError, match="records no gradients"):
        fused.linear_gelu(x, w.requires_grad_(), b)


def test_nanobind(tmp_path: Path):
    statistics = loaded("row_statistics", built("nanobind", tmp_path, "nanobind"))
    x = random(6, 4)
    for m in (x, x.T, x[::2, 1:]):
        means = statistics.row_means(m)
        assert type(means) is lc.Tensor
        np.testing.assert_allclose(means.numpy(), m.numpy().astype(np.float64).mean(1), rtol=1e-6)
    assert lc.equal(statistics.normalized(x, eps=1e-3), F.layer_norm(x, (4,), eps=1e-3))
    with pytest.raises(TypeError, match=r"littlecore\.Tensor"):
        statistics.row_means(x.numpy())
    with pytest.raises(ValueError, match="another type"):
        statistics.row_means(x.double())
    held = [statistics.normalized(random(50, 40)) for _ in range(200)]  # results own their memory
    assert all(lc.equal(y, held[0]) for y in held)


def test_python_inside_of_cpp(tmp_path: Path):
    if not sysconfig.get_config_var("Py_ENABLE_SHARED"):
        pytest.skip("this Python has no library to link")
    program = built("embed", tmp_path, "pybind11") / "train"
    paths = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "PYTHONPATH": paths, "LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR")}
    done = subprocess.run([str(program)], env=env, capture_output=True, text=True)
    assert done.stdout == "loss 0e+00: y = 3.00 a + -2.00 b + 1.00\n", done.stderr
