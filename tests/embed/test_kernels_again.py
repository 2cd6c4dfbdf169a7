"""littlecore.kernels: a call like one before, of which less is checked, and calls that only look like one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from littlecore import kernels


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def near(got: np.ndarray, want: np.ndarray) -> None:
    np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


def misaligned(a: np.ndarray) -> np.ndarray:
    moved = np.zeros(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    moved[:] = a
    return moved


@pytest.mark.parametrize(
    "call, error, says",
    [
        (lambda x, out: kernels.relu_forward(x, out=x), ValueError, "y overlaps x"),
        (lambda x, out: kernels.relu_forward(out[:4], out=out[2:6]), ValueError, "y overlaps x"),
        (lambda x, out: kernels.relu_forward(misaligned(x), out=out[:4]), ValueError, "x is not aligned"),
        (lambda x, out: kernels.relu_forward(x, out=misaligned(out[:4])), ValueError, "y is not aligned"),
        (lambda x, out: kernels.relu_forward(random(4, 10)[:, ::2], out=out[:4]), ValueError, "must be contiguous"),
        (lambda x, out: kernels.relu_forward(x, out=random(4, 10)[:, ::2]), ValueError, "must be contiguous"),
        (lambda x, out: kernels.relu_forward(x, out=out[:5]), ValueError, "y has shape"),
        (lambda x, out: kernels.relu_forward(x, out=out[:4].astype("float32")), TypeError, "y is float32"),
        (lambda x, out: kernels.relu_forward(x.astype("int64"), out=out[:4]), TypeError, "x is int64"),
    ],
)
def test_the_second_call_is_refused_as_the_first_would_be(call: Any, error: type[Exception], says: str):
    x, out = random(4, 5), np.zeros((6, 5))
    for _ in range(2):
        near(kernels.relu_forward(x, out=out[:4]), np.maximum(x, 0))
    with pytest.raises(error, match=says):
        call(x, out)
    near(kernels.relu_forward(x, out=out[:4]), np.maximum(x, 0))


def test_what_is_updated_in_place_must_not_overlap_the_second_time_either():
    p, g, m, v = (random(6, seed=i) ** 2 for i in range(4))
    for _ in range(2):
        kernels.adamw_step(p, g, m, v, lr=0.1, step=1)
    for arguments in ((p, p, m, v), (p, g, g, v), (p, g, m, m), (p, m, m, v)):
        with pytest.raises(ValueError, match="overlaps"):
            kernels.adamw_step(*arguments, lr=0.1, step=1)


def test_inputs_may_lie_in_one_another_but_no_output_in_them_wherever_they_lie_the_second_time():
    memory = random(400)
    w = memory[210:220]  # in x, too
    for at in (0, 100, 300):
        x, y = memory[200:300].reshape(10, 10), memory[at : at + 100].reshape(10, 10)
        want = kernels.layer_norm_forward(x.copy(), w.copy())[0]
        kernels.layer_norm_forward(x, w, out=(y, None, None, None))
        near(y, want)
        for overlap in (250, 150, 200, 299, 101):
            y = memory[overlap : overlap + 100].reshape(10, 10)
            with pytest.raises(ValueError, match="y overlaps x"):
                kernels.layer_norm_forward(x, w, out=(y, None, None, None))


def test_strides_options_and_what_is_left_out_count():
    a, b = random(4, 4), random(4, 4, seed=1)
    x, w, bias = random(1, 2, 6, 6), random(3, 2, 3, 3, seed=1), random(3, seed=2)
    for _ in range(3):
        near(kernels.matmul_forward(a, b), a @ b)
        near(kernels.matmul_forward(a.T, b), a.T @ b)
        near(kernels.matmul_forward(a, np.broadcast_to(b[0], (4, 4))), a @ np.broadcast_to(b[0], (4, 4)))
        whole = kernels.conv2d_forward(x, w)
        near(kernels.conv2d_forward(x, w, stride=2), whole[:, :, ::2, ::2])
        near(kernels.conv2d_forward(x, w, bias), whole + bias[:, None, None])
        dx, dw, db = kernels.linear_backward(a, b, a)
        assert kernels.linear_backward(a, b, a, out=(None, False, False))[1:] == (None, None)
        near(dx, a @ a)
        near(dw, a.T @ b)
        near(db, a.sum(0))


def test_options_that_change_every_time_are_used():
    x = random(3, 4)
    for slope in (0.1, 0.5, 0.1):
        near(kernels.leaky_relu_forward(x, slope=slope), np.where(x > 0, x, slope * x))


def test_more_shapes_than_are_remembered():
    for _ in range(3):
        for n in range(20):
            for dtype in ("float32", "float64"):
                x = random(n, 3).astype(dtype)
                assert np.array_equal(kernels.relu_forward(x), np.maximum(x, 0))
