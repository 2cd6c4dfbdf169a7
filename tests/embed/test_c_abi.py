"""The C ABI: the examples as its users build them, and what a program in C can get wrong."""

from __future__ import annotations

import ctypes as c
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import littlecore as lc
from littlecore import _kernels

ROOT = Path(__file__).parents[2]
PACKAGE = Path(lc._core.__file__).parent
LIBRARY = next((PACKAGE / "lib").glob("liblittlecore.*"))


def told(flag: str) -> list[str]:
    ask = [sys.executable, "-m", "littlecore", flag]
    return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    "compiler, source, says",
    [
        (["cc", "-std=c99"], "c/attention.c", "matmul 22 28 49 64\nattention gradients differ by less than 0.001"),
        (["c++", "-std=c++20"], "cpp/train_mlp.cpp", "100.0 % right"),
    ],
    ids=["c", "c++"],
)
def test_examples(tmp_path: Path, compiler: list[str], source: str, says: str):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs {compiler[0]}")
    program = tmp_path / "program"
    flags = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-missing-field-initializers", *told("--cflags")]
    link = [*told("--ldflags"), "-lm"]
    subprocess.run([*compiler, *flags, str(ROOT / "examples" / source), "-o", str(program), *link], check=True)
    out = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout
    assert says in out


def test_cmake_finds_the_package(tmp_path: Path):
    cmake = shutil.which("cmake")
    if cmake is None or shutil.which("cc") is None:
        pytest.skip("needs CMake and a compiler")
    where = told("--cmakedir")[0]
    configure = [cmake, "-S", str(ROOT / "examples/cmake"), "-B", str(tmp_path), f"-Dlittlecore_DIR={where}"]
    subprocess.run(configure, capture_output=True, check=True)
    subprocess.run([cmake, "--build", str(tmp_path)], capture_output=True, check=True)
    out = subprocess.run([str(tmp_path / "attention")], capture_output=True, text=True, check=True).stdout
    assert "matmul 22 28 49 64" in out


def test_pkg_config_says_the_same():
    pkg_config = shutil.which("pkg-config") or shutil.which("pkgconf")
    if pkg_config is None:
        pytest.skip("needs pkg-config")
    env = {**os.environ, "PKG_CONFIG_PATH": told("--pkgconfigdir")[0]}

    def asked(flag: str) -> list[str]:
        done = subprocess.run([pkg_config, flag, "littlecore"], env=env, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def real(flags: list[str]) -> set[str]:
        return {re.sub("/.*", lambda path: os.path.realpath(path.group()), f) for f in flags}

    assert real(asked("--cflags")) == real(told("--cflags")) and real(asked("--libs")) == real(told("--ldflags"))
    assert asked("--modversion") == [lc.__version__]


def test_the_header_is_what_the_list_says():
    spec = importlib.util.spec_from_file_location("header", ROOT / "cpp/c_api/header.py")
    header = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(header)
    assert (ROOT / "cpp/c_api/littlecore_kernels.h").read_text() == header.header(), "run python cpp/c_api/header.py"
    assert len(header.kernels()) == (ROOT / "cpp/c_api/kernels.def").read_text().count("\nLC_KERNEL(")


def test_no_other_symbol_leaves_the_library():
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs binutils")

    def exported(library: Path) -> list[str]:
        listing = subprocess.run([nm, "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
        return [line.split()[-1] for line in listing.stdout.splitlines()]

    for extension in (lc._core, _kernels):
        assert exported(Path(extension.__file__)) == ["PyInit_" + extension.__name__.split(".")[-1]]
    names = exported(LIBRARY)
    public = {n.split("@")[0] for n in names if n.endswith("@LITTLECORE_1") and not n.startswith("LITTLECORE")}
    declared = re.findall(r"^LC_EXPORT .*?\b(lc_\w+)\(", (ROOT / "cpp/c_api/littlecore.h").read_text(), re.M)
    assert public == set(declared)
    rest = [n for n in names if n.split("@")[0] not in public]
    assert all(n.endswith("@LITTLECORE_PRIVATE") or n.startswith("LITTLECORE_") for n in rest)


# ---- through ctypes ----------------------------------------------------------------------------


class DLTensor(c.Structure):
    _fields_ = [
        ("data", c.c_void_p),
        ("device", c.c_int32 * 2),
        ("ndim", c.c_int32),
        ("dtype", c.c_uint8 * 4),
        ("shape", c.POINTER(c.c_int64)),
        ("strides", c.POINTER(c.c_int64)),
        ("byte_offset", c.c_uint64),
    ]


class Pool(c.Structure):
    RUN = c.CFUNCTYPE(None, c.c_void_p, c.c_int, c.CFUNCTYPE(None, c.c_void_p, c.c_int), c.c_void_p)
    _fields_ = [("size", c.c_size_t), ("threads", c.c_int), ("run", RUN), ("context", c.c_void_p)]


class Info(c.Structure):
    _fields_ = [(name, c.c_char_p) for name in ("name", "inputs", "outputs", "options", "text")]


@pytest.fixture(scope="module")
def abi() -> c.CDLL:
    library = c.CDLL(str(LIBRARY))
    library.lc_last_error.restype = c.c_char_p
    library.lc_kernel.restype = c.POINTER(Info)
    return library


def kernel_id(abi: c.CDLL, name: str) -> int:
    ids = range(1000)
    return next(i for i in ids if abi.lc_kernel(i).contents.name == name.encode())


def tensor(a: np.ndarray) -> DLTensor:
    shape = (c.c_int64 * a.ndim)(*a.shape)
    code = {"f": 2, "i": 0}[a.dtype.kind]
    return DLTensor(
        a.ctypes.data, (c.c_int32 * 2)(1, 0), a.ndim, (c.c_uint8 * 4)(code, 8 * a.itemsize, 1, 0), shape, None, 0
    )


def words(*values: object, workspace: int = 0, workspace_size: int = 0) -> c.Array:
    """An args struct: tensors (or None), then options."""
    out = (c.c_uint64 * (3 + len(values)))()
    out[0], out[1], out[2] = c.sizeof(out), workspace, workspace_size
    for i, v in enumerate(values, 3):
        if isinstance(v, float):
            c.c_double.from_buffer(out, 8 * i).value = v
        elif isinstance(v, DLTensor):
            out[i] = c.addressof(v)
        else:
            out[i] = (v or 0) & (2**64 - 1)
    out.keep = values
    return out


def test_versions(abi: c.CDLL):
    assert abi.lc_check_abi(1, 0) == 0
    assert abi.lc_check_abi(2, 0) == 5 and b"2.0" in abi.lc_last_error()
    assert abi.lc_check_abi(1, 99) == 5
    assert not abi.lc_kernel(10_000) and abi.lc_run(10_000, words()) == 5


def test_a_struct_of_an_older_header_gets_the_usual_values(abi: c.CDLL):
    x = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    y, *saved = np.empty_like(x), *(np.empty(4, np.float32) for _ in range(3))
    given = [tensor(x), None, None, tensor(y), *map(tensor, saved)]
    layer_norm = kernel_id(abi, "layer_norm_forward")
    assert abi.lc_run(layer_norm, words(*given)) == 0  # no eps
    usual, y[:] = y.copy(), 0
    assert abi.lc_run(layer_norm, words(*given, 1e-5)) == 0
    assert np.array_equal(usual, y) and not np.isnan(y).any()
    assert abi.lc_run(layer_norm, words(*given, 1e-5, 0)) == 0  # a newer one that asks for nothing new
    assert abi.lc_run(layer_norm, words(*given, 1e-5, 7)) == 5 and b"newer" in abi.lc_last_error()


def test_a_workspace_of_the_size_asked_for_is_enough_and_one_byte_less_is_not(abi: c.CDLL):
    random = np.random.default_rng(1)
    a, b = random.standard_normal((300, 200)).astype(np.float32), random.standard_normal((200, 150)).astype(np.float32)
    y, same = np.empty((300, 150), np.float32), np.empty((300, 150), np.float32)
    matmul, size = kernel_id(abi, "matmul_forward"), c.c_size_t()
    assert abi.lc_workspace_size(matmul, words(tensor(a), tensor(b), tensor(y)), c.byref(size)) == 0
    memory = np.zeros(size.value + 64, np.uint8)
    start = memory.ctypes.data
    before = lc.memory.stats()["allocations"]
    assert abi.lc_run(matmul, words(tensor(a), tensor(b), tensor(y), workspace=start, workspace_size=size.value)) == 0
    assert lc.memory.stats()["allocations"] == before and not memory[size.value :].any()
    assert abi.lc_run(matmul, words(tensor(a), tensor(b), tensor(same))) == 0
    assert np.array_equal(y, same)
    short = words(tensor(a), tensor(b), tensor(y), workspace=start - start % 64 + 64, workspace_size=size.value - 65)
    assert abi.lc_run(matmul, short) == 4
    assert abi.lc_last_error().startswith(b"matmul_forward: workspace: ")


def test_a_call_inside_of_the_same_call_leaves_it_alone(abi: c.CDLL):
    """As by Python's signal handlers; here by who lends the threads."""
    random = np.random.default_rng(3)
    inputs = [random.standard_normal((400, 400)).astype(np.float32) for _ in range(3)]
    backward = kernel_id(abi, "matmul_backward")
    outer, inner = ([np.full((400, 400), np.nan, np.float32) for _ in range(2)] for _ in range(2))

    def call(to: list[np.ndarray]) -> int:
        return abi.lc_run(backward, words(*map(tensor, [*inputs, *to])))

    assert call(outer) == 0
    want = [x.copy() for x in outer]
    for x in outer:
        x[:] = np.nan
    nested = []

    def run(context, participants, work, job):
        if not nested:
            nested.append(None)
            nested[0] = call(inner)
        for i in range(participants):
            work(job, i)

    callback = Pool.RUN(run)
    pool = Pool(c.sizeof(Pool), 2, callback, None)
    assert abi.lc_set_thread_pool(c.byref(pool)) == 0
    try:
        assert call(outer) == 0 and nested == [0]
    finally:
        assert abi.lc_set_thread_pool(None) == 0
    for got in (outer, inner):
        assert np.array_equal(got[0], want[0]) and np.array_equal(got[1], want[1])


@pytest.mark.parametrize("at_once", [True, False])
def test_the_callers_threads_do_the_work(abi: c.CDLL, at_once: bool):
    random = np.random.default_rng(2)
    a, b = random.standard_normal((400, 300)).astype(np.float32), random.standard_normal((300, 400)).astype(np.float32)
    ours, theirs = np.empty((400, 400), np.float32), np.empty((400, 400), np.float32)
    matmul, seen = kernel_id(abi, "matmul_forward"), []
    assert abi.lc_run(matmul, words(tensor(a), tensor(b), tensor(ours))) == 0

    def run(context, participants, work, job):
        def part(i: int) -> None:
            seen.append(i)
            work(job, i)

        threads = [threading.Thread(target=part, args=(i,)) for i in range(participants)]
        for t in threads:
            t.start()
            if not at_once:
                t.join()
        for t in threads:
            t.join()

    pool = Pool(c.sizeof(Pool), 3, Pool.RUN(run), None)
    assert abi.lc_set_thread_pool(c.byref(pool)) == 0
    try:
        assert abi.lc_num_threads() == 3
        assert abi.lc_run(matmul, words(tensor(a), tensor(b), tensor(theirs))) == 0
    finally:
        assert abi.lc_set_thread_pool(None) == 0
    assert sorted(set(seen)) == [0, 1, 2] and np.array_equal(ours, theirs)
    assert abi.lc_set_thread_pool(c.byref(Pool())) == 1


def test_the_stream_is_the_threads(abi: c.CDLL):
    abi.lc_set_stream.argtypes, abi.lc_set_stream.restype = [c.c_void_p], c.c_void_p
    assert abi.lc_set_stream(16) is None
    elsewhere = threading.Thread(target=lambda: seen.append(abi.lc_set_stream(32)))
    seen: list[int | None] = []
    elsewhere.start()
    elsewhere.join()
    assert seen == [None] and abi.lc_set_stream(None) == 16


@pytest.mark.parametrize("after_one_that_was_right", [False, True])
def test_data_are_checked_before_they_are_used(abi: c.CDLL, after_one_that_was_right: bool):
    x, y = np.ones((2, 3), np.float32), np.empty((2, 3), np.float32)
    relu = kernel_id(abi, "relu_forward")
    if after_one_that_was_right:
        assert abi.lc_run(relu, words(tensor(x), tensor(y))) == 0
    for wrong, status, says in (
        (dict(device=(c.c_int32 * 2)(3, 0)), 2, b"device"),
        (dict(device=(c.c_int32 * 2)(2, 0)), 2, lc.cuda.why_not().encode() or b"y is on cpu, but x on cuda:0"),
        (dict(dtype=(c.c_uint8 * 4)(5, 64, 1, 0)), 2, b"type code 5"),
        (dict(data=x.ctypes.data + 1), 1, b"aligned"),
        (dict(data=None), 1, b"no data"),
        (dict(ndim=17), 1, b"17 axes"),
        (dict(strides=(c.c_int64 * 2)(1, 2)), 1, b"contiguous"),
        (dict(shape=(c.c_int64 * 2)(-1, 3)), 1, b"relu_forward: x has shape [-1, 3]"),
        (dict(shape=(c.c_int64 * 2)(2**62, 3)), 1, b"relu_forward: x has shape [4611686018427387904, 3]"),
        (dict(shape=None), 1, b"its shape is NULL"),
        (dict(data=y.ctypes.data), 1, b"overlaps"),
    ):
        t = tensor(x)
        for field, value in wrong.items():
            setattr(t, field, c.cast(value, c.POINTER(c.c_int64)) if field in ("shape", "strides") else value)
        assert abi.lc_run(relu, words(t, tensor(y))) == status, wrong
        assert says in abi.lc_last_error()
    assert abi.lc_run(relu, words(tensor(x), None)) == 1 and b"y is missing" in abi.lc_last_error()
    far = tensor(x)
    far.strides = c.cast((c.c_int64 * 2)(2**62, 1), c.POINTER(c.c_int64))
    matmul = kernel_id(abi, "matmul_forward")
    assert abi.lc_run(matmul, words(far, tensor(np.ones((3, 3), np.float32)), tensor(y))) == 1
    assert b"matmul_forward: a of shape" in abi.lc_last_error() and b"out of any memory" in abi.lc_last_error()
    assert abi.lc_run(relu, None) == 1
