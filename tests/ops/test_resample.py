"""resample: pad moves values and sums their gradients, interpolate mixes neighbours, fold is the adjoint of unfold."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.resample import (
    fold_forward,
    interpolate_forward,
    interpolation_weights,
    pad_forward,
    unfold_forward,
)

import littlecore as lc
from littlecore.nn import functional as F

SIZES = (4, 5, 7, 3, 8, 9, 16, 2, 1)


# ---- pad ---------------------------------------------------------------------------------------


@cases(300)
def test_pad(case: Case):
    mode = case.pick("mode", ("constant", "reflect", "replicate", "circular"))
    dims = case.pick("dims", (2, 3, 4))
    shape = tuple(case.pick(f"size.{d}", SIZES) for d in range(dims))
    padding = []
    for axis in range(case.pick("padded", (1, 2, 0))):
        size = shape[-1 - axis]
        most = {"reflect": size - 1, "circular": size}.get(mode, 5)
        low = -(size // 2) if mode == "constant" else 0
        padding += [
            max(low, min(most, case.pick(f"{side}.{axis}", (1, 0, 2, 3, -1, 7)))) for side in ("before", "after")
        ]
    value = case.pick("value", (0, 2.5)) if mode == "constant" else 0
    x = case.tensor("x", shape, ("integer", "special"), grad=True)
    y = F.pad(x, padding, mode, value)
    check.equal(y, pad_forward(check.wide(x), padding, mode, value))

    dy = case.tensor("dy", tuple(y.shape), "integer")
    y.backward(dy)
    ones, g = np.zeros(shape), check.wide(dy)
    places = pad_forward(np.arange(ones.size, dtype=float).reshape(shape), padding, mode, -1)
    np.add.at(ones.reshape(-1), places[places >= 0].astype(int), g[places >= 0].astype(float))
    check.equal(x.grad, ones)
    return y, x.grad


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "bool", "bfloat16", "float16"])
def test_pad_of_any_dtype(dtype):
    x = lc.from_numpy(np.array([[1, 0, 3], [4, 5, 0]], np.float32)).to(getattr(lc, dtype))
    y = F.pad(x, (1, 0, 0, 1), value=1)
    want = np.array([[1, 1, 0, 3], [1, 4, 5, 0], [1, 1, 1, 1]])
    check.equal(y, want.astype(bool) if dtype == "bool" else want)


@pytest.mark.parametrize(
    "padding", [(1, 0), (0, 2), (2, 1, 1, 0), (1, -3, 0, 2), (-1, 1, 2, -2, 1, 0), (0, 0, 0, 0, 0, 1)]
)
def test_pad_with_a_thin_border(padding):
    x = np.random.default_rng(0).standard_normal((30, 60, 70), np.float32)
    y = F.pad(lc.from_numpy(x), padding, value=2.5)
    pairs = [padding[i : i + 2] for i in range(0, len(padding), 2)] + [(0, 0)] * (3 - len(padding) // 2)
    want = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs[::-1]], constant_values=2.5)
    kept = tuple(slice(max(-a, 0), min(b, 0) or None) for a, b in pairs[::-1])
    check.equal(y, want[kept])


def test_pad_by_nothing_is_a_copy():
    x = lc.ones(2, 3)
    y = F.pad(x, (0, 0))
    assert y.data_ptr() != x.data_ptr() and tuple(y.shape) == (2, 3)


# ---- interpolate -------------------------------------------------------------------------------


MODES = (
    ("nearest", "nearest"),
    ("bilinear", "linear"),
    ("linear", "linear"),
    ("bicubic", "cubic"),
    ("area", "area"),
    ("trilinear", "linear"),
)


@cases(300)
def test_interpolate(case: Case):
    mode, kind = case.pick("mode", MODES)
    axes = {"linear": 1, "trilinear": 3, "bilinear": 2, "bicubic": 2}.get(mode) or case.pick("axes", (2, 1))
    shape = (*case.pick("batch", ((2, 3), (1, 1), (0, 2))), *(case.pick(f"size.{a}", SIZES) for a in range(axes)))
    corners = kind in ("linear", "cubic") and case.pick("align_corners", (False, True))
    arguments: dict = {"mode": mode, "align_corners": corners if kind in ("linear", "cubic") else None}
    scale = None
    if case.pick("by", ("size", "scale")) == "scale":
        scale = case.pick("scale", (2.0, 1.0, 3.0, 1.5, 2.7))
        out = [int(np.floor(s * scale)) for s in shape[2:]]
        arguments["scale_factor"] = scale
        if case.pick("recompute", (False, True)):
            arguments["recompute_scale_factor"], scale = True, None
    else:
        out = [case.pick(f"out.{a}", (8, 1, 2, 3, 5, 16, 17)) for a in range(axes)]
        arguments["size"] = tuple(out)
    x = case.tensor("x", shape, grad=True)
    y = F.interpolate(x, **arguments)
    dy = case.tensor("dy", tuple(y.shape))
    y.backward(dy)

    weights = [interpolation_weights(s, o, kind, corners, scale) for s, o in zip(shape[2:], out, strict=True)]
    exact, g = check.wide(x), check.wide(dy)
    if kind == "nearest":
        check.equal(y, interpolate_forward(exact, weights))
    else:
        # a position is rounded to its size times u, and so is every weight that follows from it
        near = [(w != 0).astype(float) for w in weights]
        factor = 4 * axes * (4 + max(*shape[2:], *out))
        check.bounded(y, interpolate_forward(exact, weights), interpolate_forward(np.abs(exact), near), factor)
        back = [w.T for w in weights], [w.T for w in near]
        check.bounded(x.grad, interpolate_forward(g, back[0]), interpolate_forward(np.abs(g), back[1]), factor)
    return y, x.grad


# ---- unfold and fold ---------------------------------------------------------------------------


def draw_windows(case: Case):
    kernel, dilation, pad, stride, size = [], [], [], [], []
    for a in "hw":
        kernel.append(case.pick(f"kernel.{a}", (2, 3, 1, 4)))
        dilation.append(case.pick(f"dilation.{a}", (1, 2)))
        pad.append(case.pick(f"pad.{a}", (0, 1, 2)))
        stride.append(case.pick(f"stride.{a}", (1, 2, 3)))
        size.append(max(case.pick(f"size.{a}", SIZES), dilation[-1] * (kernel[-1] - 1) + 1 - 2 * pad[-1]))
    return [tuple(v) for v in (size, kernel, dilation, pad, stride)]


@cases(200)
def test_unfold(case: Case):
    size, *geometry = draw_windows(case)
    x = case.tensor("x", (*case.pick("batch", ((2, 3), (1, 1), (0, 2))), *size), "integer", grad=True)
    y = F.unfold(x, *geometry)
    check.equal(y, unfold_forward(check.wide(x), *geometry))
    dy = case.tensor("dy", tuple(y.shape), "integer")
    y.backward(dy)
    check.equal(x.grad, fold_forward(check.wide(dy), size, *geometry))
    return y, x.grad


@cases(200)
def test_fold(case: Case):
    size, *geometry = draw_windows(case)
    batch = case.pick("batch", ((2, 3), (1, 1), (0, 2)))
    rows, windows = unfold_forward(np.zeros((*batch, *size)), *geometry).shape[1:]
    y = case.tensor("y", (batch[0], rows, windows), "integer", grad=True)
    x = F.fold(y, size, *geometry)
    check.equal(x, fold_forward(check.wide(y), size, *geometry))
    dx = case.tensor("dx", tuple(x.shape), "integer")
    x.backward(dx)
    check.equal(y.grad, unfold_forward(check.wide(dx), *geometry))
    return x, y.grad


@pytest.mark.parametrize("call", [
    lambda x: F.pad(x, (1, 2), "reflect"),
    lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    lambda x: F.interpolate(x, size=(3, 5), mode="bicubic", align_corners=True),
    lambda x: F.unfold(x, (2, 3), padding=1, stride=2),
    lambda x: F.fold(F.unfold(x, 2), (3, 4), 2),
    lambda x: x.unfold(-1, 3, 1),
    lambda x: x.unfold(2, 2, 1)[:, :, 1:].unfold(3, 2, 2),
])  # fmt: skip
def test_gradients(call):
    check.gradients(call, np.random.default_rng(0).standard_normal((1, 2, 3, 4)))


@pytest.mark.parametrize("dim, size, step", [(0, 1, 1), (1, 3, 1), (1, 2, 3), (2, 5, 2), (-1, 9, 4)])
def test_windows_along_a_dim_are_a_view_and_its_adjoint(dim, size, step):
    a = np.random.default_rng(1).integers(-8, 9, (4, 7, 9)).astype(np.float32)
    x = lc.from_numpy(a.copy()).requires_grad_()
    y = x.unfold(dim, size, step)
    windows = np.lib.stride_tricks.sliding_window_view(a, size, dim)
    want = np.moveaxis(np.moveaxis(windows, dim % 3, 0)[::step], 0, dim % 3)
    check.equal(y, want)
    assert y.data_ptr() == x.data_ptr()
    dy = np.random.default_rng(2).integers(-8, 9, want.shape).astype(np.float32)
    y.backward(lc.from_numpy(dy))
    dx, along = np.zeros_like(a), np.moveaxis(dy, dim % 3, 0)
    for i, window in enumerate(along):  # [..., size]
        np.moveaxis(dx, dim, -1)[..., i * step : i * step + size] += window
    check.equal(x.grad, dx)


REFUSED = [
    (lambda: F.pad(lc.zeros(2, 3), (3, 0), "reflect"), "pad: 3 before and 0 after a dim of size 3"),
    (lambda: F.pad(lc.zeros(2, 3), (0, 4), "circular"), "pad: 0 before and 4 after a dim of size 3"),
    (lambda: F.pad(lc.zeros(2, 3), (-2, -2)), "pad: -2 and -2 leave nothing"),
    (lambda: F.pad(lc.zeros(2, 3), (1, 1, 1)), "pad: takes"),
    (lambda: F.pad(lc.zeros(2, 3), (1, 1), "mirror"), "pad: mode is"),
    (lambda: F.pad(lc.zeros(2, 3), (2**62, 0)), "pad: .* leave nothing sensible"),
    (lambda: F.interpolate(lc.zeros(1, 1, 4), 3, mode="bilinear"), "interpolate: input of shape"),
    (lambda: F.interpolate(lc.zeros(1, 1, 4)), "interpolate: give either size or scale_factor"),
    (lambda: F.interpolate(lc.zeros(1, 1, 4), 3, 2.0), "interpolate: give either size or scale_factor"),
    (lambda: F.interpolate(lc.zeros(1, 1, 4), 0), "interpolate: cannot make 0 elements of 4"),
    (lambda: F.interpolate(lc.zeros(1, 1, 4), 3, align_corners=True), "interpolate: align_corners has no meaning"),
    (lambda: F.unfold(lc.zeros(1, 1, 2, 2), 3), "unfold: the kernel is larger than the input"),
    (lambda: F.fold(lc.zeros(1, 4, 3), (3, 3), 2), "fold: input of shape"),
]


@pytest.mark.parametrize("call, message", REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
