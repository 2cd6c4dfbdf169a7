"""JAX's handler for CUDA, called as XLA would on a GPU: by its device, stream and memory. JAX itself needs a GPU."""

from __future__ import annotations

import ctypes as c
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import littlecore as lc

jax = pytest.importorskip("jax")
pytest.importorskip("littlecore.interop.jax", exc_type=ImportError)
from littlecore.interop import jax as interop  # noqa: E402

STREAM = 0 if lc.cuda.is_available() else 4096


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """call(x, y, words) -> the error's code and text, and how often XLA was asked for its device and stream."""
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"needs {compiler[0]}")
    library, source = tmp_path_factory.mktemp("xla") / "frame.so", Path(__file__).with_name("xla_frame.c")
    flags = ["-std=c11", "-fPIC", "-shared", f"-I{jax.ffi.include_dir()}"]
    subprocess.run([*compiler, *flags, str(source), "-o", str(library)], check=True)
    run = c.CDLL(str(library)).run_on_floats

    def call(
        x: int, y: int, n: int, words: list[int], handler: str = "littlecore_xla_ffi_cuda"
    ) -> tuple[int, str, int]:
        text, asked, held = c.create_string_buffer(1000), c.c_int(), np.array(words, np.int64)
        function = c.cast(getattr(interop._handlers, handler), c.c_void_p)
        lies, goes, attribute = (c.c_void_p(p) for p in (x, y, held.ctypes.data))
        stream, sizes = c.c_void_p(STREAM), (c.c_int64(n), attribute, c.c_size_t(len(words)))
        code = run(function, stream, 0, lies, goes, *sizes, text, c.byref(asked))
        return code, text.value.decode(), asked.value

    return call


def words(name: str, *options: int, traced: tuple[int, ...] = ()) -> list[int]:
    return [interop._IDS[name], 2, len(options), len(traced) // 3, 0, 1, *options, *traced]


def test_the_frame_is_as_xla_makes_it(call: Any):
    """The handler for the CPU, which JAX's own calls prove, takes it."""
    x, y = np.linspace(-1, 1, 8, dtype=np.float32), np.full(8, np.nan, np.float32)
    assert call(x.ctypes.data, y.ctypes.data, 8, words("relu_forward"), "littlecore_xla_ffi") == (0, "", 0)
    assert np.array_equal(y, np.maximum(x, 0))


def test_runs_on_the_device_or_says_why_not(call: Any):
    x = lc.linspace(-1, 1, 8)
    if lc.cuda.is_available():
        there, y = x.cuda(), lc.full((8,), float("nan")).cuda()
        assert call(there.data_ptr(), y.data_ptr(), 8, words("relu_forward")) == (0, "", 2)
        lc.cuda.synchronize()
        assert y.cpu().tolist() == x.relu().tolist()
    else:
        code, text, asked = call(x.data_ptr(), x.data_ptr(), 8, words("relu_forward"))
        assert code == 3 and text.endswith(lc.cuda.why_not()) and asked == 2  # INVALID_ARGUMENT
    abi = c.CDLL(str(next((Path(lc._core.__file__).parent / "lib").glob("liblittlecore.*"))))
    abi.lc_set_stream.argtypes, abi.lc_set_stream.restype = [c.c_void_p], c.c_void_p
    assert abi.lc_set_stream(None) is None, "XLA's stream was left behind"


def test_an_option_on_the_device_is_not_read(call: Any):
    code, text, _ = call(0, 0, 8, words("leaky_relu_forward", 0, traced=(0, 0, 1)))
    assert code == 12 and "must be a Python number" in text  # UNIMPLEMENTED
