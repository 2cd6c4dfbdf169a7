"""littlecore.kernels: what is refused, and how the functions present themselves."""

from __future__ import annotations

import inspect
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import littlecore as lc
from littlecore import kernels

torch = pytest.importorskip("torch")


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape)


def read_only(a: np.ndarray) -> np.ndarray:
    a.flags.writeable = False
    return a


def wrong_places(x: np.ndarray) -> np.ndarray:
    return np.full((1, 1, *x.shape), x.size)


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda x: kernels.relu_forward(x, out=x), ValueError, "y overlaps x"),
        (lambda x: kernels.relu_forward(x[:2], out=x[1:3]), ValueError, "y overlaps x"),
        (
            lambda x: kernels.relu_forward(x, out=read_only(x.copy())),
            ValueError,
            "y is written, but its memory is read-only",
        ),
        (lambda x: kernels.relu_forward(x, out=x[:2].copy()), ValueError, r"y has shape \[2, 5\], needs \[4, 5\]"),
        (lambda x: kernels.relu_forward(x, out=x.astype("float32")), TypeError, "y is float32, needs float64, as x is"),
        (
            lambda x: kernels.relu_forward(x.T),
            ValueError,
            r"x of shape \[5, 4\] has strides \[1, 5\], must be contiguous",
        ),
        (lambda x: kernels.relu_forward(x.astype("int64")), TypeError, "x is int64, needs a floating-point dtype"),
        (lambda x: kernels.relu_forward(x.astype("complex64")), TypeError, "type code 5"),
        (lambda x: kernels.softmax_forward(x.astype("float16")), TypeError, "x is float16, needs float32 or float64"),
        (lambda x: kernels.softmax_forward(x, dim=2), IndexError, "softmax_forward"),
        (lambda x: kernels.matmul_forward(x, x), ValueError, r"b has shape \[4, 5\], needs \[k=5, n\]"),
        (lambda x: kernels.matmul_forward(x[0], x), ValueError, "a has shape"),
        (lambda x: kernels.linear_forward(x, x, x[0]), ValueError, r"b has shape \[5\], needs \[out=4\]"),
        (lambda x: kernels.relu_forward([1.0]), TypeError, "x is a list"),
        (lambda x: kernels.relu_forward(), TypeError, "x is missing"),
        (lambda x: kernels.relu_forward(x, x), TypeError, "options go by name"),
        (lambda x: kernels.relu_forward(x, y=x), TypeError, "has no argument 'y'"),
        (lambda x: kernels.relu_forward(x, x=x), TypeError, "x is given twice"),
        (lambda x: kernels.relu_forward(x, out=False), ValueError, "y cannot be skipped"),
        (lambda x: kernels.layer_norm_forward(x, eps="1"), TypeError, "eps must be a number, is '1'"),
        (lambda x: kernels.layer_norm_forward(x, out=x), TypeError, "out must be a tuple of 4"),
        (lambda x: kernels.adamw_step(x, x, x, x, step=1), TypeError, "lr is missing"),
        (lambda x: kernels.adamw_step(x, x.copy(), x, x.copy(), lr=1, step=1), ValueError, "overlaps"),
        (
            lambda x: kernels.conv2d_forward(x[None, None], x[None, None], stride=(1, 2, 3)),
            ValueError,
            "one integer or two",
        ),
        (
            lambda x: kernels.conv2d_forward(x[None, None], x[None, None], stride=0),
            ValueError,
            "stride 0 is out of range",
        ),
        (lambda x: kernels.batch_norm_forward(x, training=False), ValueError, "are needed without training"),
        (lambda x: kernels.batch_norm_forward(x, None, None, x[0], x[0]), ValueError, "are needed without training"),
        (lambda x: kernels.batch_norm_forward(x[:1]), ValueError, "more than one value per channel"),
        (lambda x: kernels.max_pool2d_forward(x[None, None]), TypeError, "kernel is missing"),
        (lambda x: kernels.max_pool2d_forward(x[None, None], kernel=6), ValueError, "larger than the input"),
        (lambda x: kernels.max_pool2d_forward(x[None, None], kernel=2, padding=2), ValueError, "padding"),
        (
            lambda x: kernels.max_pool2d_backward(*[x[None, None]] * 2, wrong_places(x), kernel=1),
            IndexError,
            "no place",
        ),
    ],
)
def test_refusals(call: Any, error: type[Exception], says: str):
    with pytest.raises(error, match=says):
        call(random(4, 5))


def test_what_requires_grad_is_refused():
    for library in (torch, lc):
        x = library.ones(3, requires_grad=True)
        with pytest.raises(ValueError, match="x requires grad"):
            kernels.relu_forward(x)
        kernels.relu_forward(x.detach())
        with library.no_grad():
            kernels.relu_forward(x)


def test_capture_is_refused():
    @lc.capture
    def step(x: Any) -> Any:
        return kernels.relu_forward(x.detach())

    with pytest.raises(RuntimeError, match="captured"):
        for _ in range(3):
            step(lc.ones(3))


# ---- the functions themselves ----------------------------------------------------------------------


@pytest.mark.vacuous
def test_signatures_are_pythons():
    listed = Path(__file__).parents[2] / "cpp" / "c_api" / "kernels.def"
    assert kernels.__all__ == sorted(re.findall(r"^LC_KERNEL\((\w+)", listed.read_text(), re.MULTILINE))
    for name in kernels.__all__:
        f = getattr(kernels, name)
        assert f.__name__ == name and f.__module__ == "littlecore.kernels" and "Returns" in f.__doc__
        parameters = inspect.signature(f).parameters
        assert ("out" in parameters) == (not name.endswith("_step"))
    assert str(inspect.signature(kernels.layer_norm_forward)) == "(x, w=None, b=None, *, eps=1e-05, out=None)"
    assert list(inspect.signature(kernels.layer_norm_backward).parameters)[:3] == ["dy", "x", "w"]


def test_other_python_threads_run_meanwhile():
    a, stop, turns = random(700, 700), threading.Event(), [0]

    def count() -> None:
        while not stop.is_set():
            turns[0] += 1

    other = threading.Thread(target=count)
    other.start()
    before = turns[0]
    kernels.matmul_forward(a, a)
    after = turns[0]
    stop.set()
    other.join()
    assert after > before


def test_the_tensor_type_offers_its_c_functions():
    x = torch.arange(6, dtype=torch.float32)
    assert lc.Tensor.__dlpack_c_exchange_api__ is not None
    assert kernels.relu_forward(lc.from_dlpack(x)).dtype == lc.float32
