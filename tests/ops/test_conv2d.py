"""conv2d: generated geometries in exact integers; the bounds in floats; the bits of an image alone and in a batch."""

import os
import subprocess
import sys

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.conv2d import conv2d_backward, conv2d_forward, output_size
from reference.conv2d_winograd import WINOGRAD, turned, winograd_forward, winograd_weight

import littlecore as lc

CHANNELS = (1, 2, 3, 6, 8, 4, 7, 16, 17, 33, 48, 0)
SIZES = (5, 8, 4, 12, 7, 9, 16, 28, 3, 33, 2, 1)


def draw(case: Case, limit: float = 3e6):
    """A geometry whose windows fit, with at most `limit` multiplications: the arguments of conv2d and the shapes."""
    group = case.pick("groups", (1, 2, 3, 8))
    depthwise = group > 1 and case.pick("depthwise", (False, True))
    c = group * (1 if depthwise else case.pick("c", CHANNELS if group == 1 else CHANNELS[:4]))
    k = group * case.pick("k", CHANNELS[:-1] if group == 1 else CHANNELS[:4])
    kernel = [case.pick(f"kernel.{a}", (3, 1, 2, 5, 4, 7, 6)) for a in "hw"]
    stride = [case.pick(f"stride.{a}", (1, 2, 3, 4)) for a in "hw"]
    pad = [case.pick(f"pad.{a}", (0, 1, 2, 3)) for a in "hw"]
    dilation = [case.pick(f"dilation.{a}", (1, 2, 3)) for a in "hw"]
    size = [case.pick(f"size.{a}", SIZES) for a in "hw"]
    size = [max(v, d * (kr - 1) + 1 - 2 * p) for v, kr, p, d in zip(size, kernel, pad, dilation, strict=True)]
    n = case.pick("n", (1, 2, 3, 5, 9, 0))
    out = [output_size(*v) for v in zip(size, kernel, stride, pad, dilation, strict=True)]
    while n * k * c * np.prod(out) * np.prod(kernel) / group > limit and n > 1:
        n -= 1
    arguments = {"stride": tuple(stride), "padding": tuple(pad), "dilation": tuple(dilation), "groups": group}
    return (n, c, *size), (k, c // group, *kernel), (n, k, *out), arguments


@pytest.fixture
def exact():
    lc._core.set_exact(True)


def in_reference(arguments):
    return [arguments[name] for name in ("stride", "padding", "dilation", "groups")]


@pytest.mark.usefixtures("exact")
@cases(600)
def test_forward_is_exact_in_integers(case: Case):
    x_shape, w_shape, y_shape, arguments = draw(case)
    x, w = case.tensor("x", x_shape, "integer"), case.tensor("w", w_shape, "integer")
    b = case.tensor("b", (w_shape[0],), "integer") if case.pick("bias", (True, False)) else None

    y = lc.conv2d(x, w, b, **arguments)

    want = conv2d_forward(*[None if t is None else check.wide(t) for t in (x, w, b)], *in_reference(arguments))
    assert want.shape == y_shape
    check.equal(y, want)
    return y


@pytest.mark.usefixtures("exact")
@cases(600)
def test_backward_is_exact_in_integers(case: Case):
    x_shape, w_shape, y_shape, arguments = draw(case, 1e6)
    x, w = case.tensor("x", x_shape, "integer", grad=True), case.tensor("w", w_shape, "integer", grad=True)
    b, dy = case.tensor("b", (w_shape[0],), "integer", grad=True), case.tensor("dy", y_shape, "integer")

    lc.conv2d(x, w, b, **arguments).backward(dy)

    wanted = conv2d_backward(*[check.wide(t) for t in (dy, x, w)], *in_reference(arguments))
    for got, want in zip((x.grad, w.grad, b.grad), wanted, strict=True):
        check.equal(got, want)
    return x.grad, w.grad, b.grad


@cases(60)
def test_adjoint(case: Case):
    x_shape, w_shape, y_shape, arguments = draw(case, 1e6)
    x, w, dy = [
        case.tensor(n, s, "integer", dtype="float64") for n, s in (("x", x_shape), ("w", w_shape), ("dy", y_shape))
    ]
    check.adjoint(lambda x, w: lc.conv2d(x, w, **arguments), x, w, dy=dy)


@pytest.mark.usefixtures("exact")
@cases(150)
def test_error_of_floats(case: Case):
    x_shape, w_shape, y_shape, arguments = draw(case, 1e6)
    x, w, dy = [case.tensor(n, s) for n, s in (("x", x_shape), ("w", w_shape), ("dy", y_shape))]
    b = case.tensor("b", (w_shape[0],))
    leaves = [t.detach().requires_grad_() for t in (x, w, b)]

    y = lc.conv2d(*leaves, **arguments)
    y.backward(dy)

    exact = [check.wide(t) for t in (x, w, b)]
    size = [np.abs(v) for v in exact]
    depth = int(np.prod(w_shape[1:]))
    check.contraction(
        y, conv2d_forward(*exact, *in_reference(arguments)), conv2d_forward(*size, *in_reference(arguments)), depth + 1
    )
    g = check.wide(dy)
    wanted = conv2d_backward(g, *exact[:2], *in_reference(arguments))
    sizes = conv2d_backward(np.abs(g), *size[:2], *in_reference(arguments))
    pixels = y_shape[0] * y_shape[2] * y_shape[3]
    for leaf, want, magnitude, length in zip(leaves, wanted, sizes, (depth, pixels, pixels), strict=True):
        check.contraction(leaf.grad, want, magnitude, length)


SHAPES = [  # c, size, k, kernel, stride, padding: what networks are made of, large enough for every plan
    (1, 28, 6, 5, 1, 2), (6, 14, 16, 5, 1, 0), (32, 8, 64, 5, 1, 0), (3, 32, 64, 3, 1, 1), (64, 14, 48, 3, 1, 1),
    (40, 17, 70, 3, 2, 1), (300, 4, 20, 3, 1, 1), (96, 16, 32, 1, 1, 0), (64, 7, 80, 1, 2, 0), (3, 40, 16, 7, 2, 3),
    (64, 32, 64, 3, 1, 1), (300, 4, 150, 3, 1, 1), (520, 4, 20, 3, 1, 1), (70, 8, 129, 3, 1, 1),
]  # fmt: skip


@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize("c, size, k, kernel, stride, padding", SHAPES)
def test_layers_of_networks(c, size, k, kernel, stride, padding):
    random = np.random.default_rng(c)
    x, w, b = [random.integers(-2, 3, s).astype(np.float32) for s in ((7, c, size, size), (k, c, kernel, kernel), (k,))]
    leaves = [lc.from_numpy(v).requires_grad_() for v in (x, w, b)]
    y = lc.conv2d(*leaves, stride=stride, padding=padding)
    dy = random.integers(-2, 3, tuple(y.shape)).astype(np.float32)
    y.backward(lc.from_numpy(dy))
    pair = (stride, stride), (padding, padding)
    check.equal(y, conv2d_forward(*[v.astype(float) for v in (x, w, b)], *pair))
    for leaf, want in zip(leaves, conv2d_backward(*[v.astype(float) for v in (dy, x, w)], *pair), strict=True):
        check.equal(leaf.grad, want)


@pytest.mark.parametrize("each", [1, 2])
@pytest.mark.parametrize("h, w", [(14, 14), (7, 8), (1, 9), (5, 16), (4, 23), (10, 33), (6, 4), (70, 40)])
def test_depthwise_with_a_border_of_one(h, w, each):
    random = np.random.default_rng(w)
    shapes = (3, 5, h, w), (5 * each, 1, 3, 3), (5 * each,)
    leaves = [lc.from_numpy(random.integers(-3, 4, s).astype(np.float32)).requires_grad_() for s in shapes]
    y = lc.conv2d(*leaves, padding=1, groups=5)
    dy = random.integers(-3, 4, tuple(y.shape)).astype(np.float32)
    y.backward(lc.from_numpy(dy))
    how = (1, 1), (1, 1), (1, 1), 5
    exact = [check.wide(t) for t in leaves]
    check.equal(y, conv2d_forward(*exact, *how))
    wanted = conv2d_backward(dy.astype(float), *exact[:2], *how)
    for leaf, want in zip(leaves, wanted, strict=True):
        check.equal(leaf.grad, want)

    pixels = exact[0].copy()
    pixels[..., -1, :] = np.inf  # no pixel of it is under the upper taps
    x = lc.from_numpy(pixels.astype(np.float32))
    w = leaves[1].detach().requires_grad_()
    lc.conv2d(x, w, padding=1, groups=5).backward(lc.from_numpy(dy))
    check.equal(w.grad[:, :, 0], wanted[1][:, :, 0])


@pytest.mark.parametrize("c, size, k, kernel, stride, padding", SHAPES)
def test_an_image_does_not_depend_on_its_batch(c, size, k, kernel, stride, padding):
    random = np.random.default_rng(c)
    x, w = [random.standard_normal(v).astype(np.float32) for v in ((9, c, size, size), (k, c, kernel, kernel))]
    out = output_size(size, kernel, stride, padding, 1)
    dy = random.standard_normal((9, k, out, out)).astype(np.float32)

    def run(first, last):
        leaf = lc.from_numpy(x[first:last].copy()).requires_grad_()
        y = lc.conv2d(leaf, lc.from_numpy(w), stride=stride, padding=padding)
        y.backward(lc.from_numpy(dy[first:last].copy()))
        return check.array(y), check.array(leaf.grad)

    together = run(0, 9)
    for first, last in ((0, 1), (3, 4), (8, 9), (2, 7)):
        for got, want in zip(run(first, last), together, strict=True):
            check.same_bits(got, want[first:last])


IN_LANES = [  # c, size, k, kernel, padding, groups, stride, dilation
    (1, 28, 6, 5, 2, 1, 1, 1), (6, 14, 16, 5, 0, 1, 1, 1), (4, 9, 6, 3, 1, 2, 1, 1), (40, 7, 9, 1, 0, 1, 1, 1),
    (2, 12, 3, 4, 3, 1, 1, 1), (2, 9, 3, 3, 1, 1, 2, 2), (3, 9, 5, 1, 0, 1, 2, 1), (3, 9, 5, 3, 1, 1, 2, 1),
]  # fmt: skip


@pytest.mark.parametrize("n", [15, 16])
@pytest.mark.parametrize("c, size, k, kernel, padding, groups, stride, dilation", IN_LANES)
def test_images_in_lanes(c, size, k, kernel, padding, groups, stride, dilation, n):
    """Batches of whole registers, the last lanes of some empty: the integers, and the bits of images alone."""
    lc.set_num_threads(1)
    random = np.random.default_rng(n)
    out = output_size(size, kernel, stride, padding, dilation)
    shapes = (n, c, size, size), (k, c // groups, kernel, kernel), (k,), (n, k, out, out)

    def run(x, w, b, dy):
        leaves = [lc.from_numpy(v.copy()).requires_grad_() for v in (x, w, b)]
        y = lc.conv2d(*leaves, stride=stride, padding=padding, dilation=dilation, groups=groups)
        y.backward(lc.from_numpy(dy.copy()))
        return [check.array(t) for t in (y, *[leaf.grad for leaf in leaves])]

    x, w, b, dy = integers = [random.integers(-2, 3, s).astype(np.float32) for s in shapes]
    y, *gradients = run(*integers)
    how = (stride, stride), (padding, padding), (dilation, dilation), groups
    check.equal(y, conv2d_forward(*[v.astype(float) for v in (x, w, b)], *how))
    for got, want in zip(gradients, conv2d_backward(*[v.astype(float) for v in (dy, x, w)], *how), strict=True):
        check.equal(got, want)

    x, w, b, dy = [random.standard_normal(s).astype(np.float32) for s in shapes]
    together = run(x, w, b, dy)[:2]
    for i in (0, 5, n - 1):
        for got, want in zip(run(x[i : i + 1], w, b, dy[i : i + 1])[:2], together, strict=True):
            check.same_bits(got, want[i : i + 1])


@pytest.mark.parametrize("c, size, k, kernel, stride, padding", SHAPES)
def test_threads_do_not_change_bits(c, size, k, kernel, stride, padding):
    random = np.random.default_rng(c)
    arrays = [random.standard_normal(s).astype(np.float32) for s in ((6, c, size, size), (k, c, kernel, kernel), (k,))]
    out = output_size(size, kernel, stride, padding, 1)
    dy = lc.from_numpy(random.standard_normal((6, k, out, out)).astype(np.float32))

    def run(threads):
        lc.set_num_threads(threads)
        leaves = [lc.from_numpy(v).requires_grad_() for v in arrays]
        y = lc.conv2d(*leaves, stride=stride, padding=padding)
        y.backward(dy)
        return y, *[leaf.grad for leaf in leaves]

    one = run(1)
    for threads in (2, 3, 8):
        for got, want in zip(run(threads), one, strict=True):
            check.same_bits(got, want)


@pytest.mark.parametrize("shape, w, arguments", [
    ((1, 2, 4, 4), (4, 1, 2, 2), {"groups": 2}),
    ((1, 2, 5, 3), (1, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
    ((1, 1, 5, 5), (2, 1, 2, 3), {"dilation": 2}),
])  # fmt: skip
def test_gradients(shape, w, arguments):
    random = np.random.default_rng(3)
    inputs = [random.standard_normal(s) for s in (shape, w, w[:1])]
    check.gradients(lambda x, w, b: lc.conv2d(x, w, b, **arguments), *inputs)


@pytest.mark.parametrize("kernel, dilation", [((3, 3), 1), ((2, 4), 1), ((4, 3), 2), ((1, 1), 1)])
def test_same_padding(kernel, dilation):
    x, w = (
        np.random.default_rng(0).integers(-4, 5, (2, 3, 8, 9)),
        np.random.default_rng(1).integers(-4, 5, (5, 3, *kernel)),
    )
    y = lc.conv2d(
        lc.from_numpy(x.astype(np.float32)), lc.from_numpy(w.astype(np.float32)), padding="same", dilation=dilation
    )
    total = [dilation * (k - 1) for k in kernel]
    padded = np.pad(x, ((0, 0), (0, 0), *[(t // 2, t - t // 2) for t in total])).astype(float)
    check.equal(y, conv2d_forward(padded, w.astype(float), dilation=(dilation, dilation)))
    valid = lc.conv2d(
        lc.from_numpy(x.astype(np.float32)), lc.from_numpy(w.astype(np.float32)), padding="valid", dilation=dilation
    )
    check.equal(valid, conv2d_forward(x.astype(float), w.astype(float), dilation=(dilation, dilation)))


@cases(80)
def test_sequences(case: Case):
    x_shape, w_shape, _, arguments = draw(case, 1e5)
    x, w = (
        case.tensor("x", (*x_shape[:2], x_shape[3]), "integer"),
        case.tensor("w", (*w_shape[:2], w_shape[3]), "integer"),
    )
    last = {name: v if name == "groups" else v[1] for name, v in arguments.items()}
    y = lc.conv1d(x, w, None, **last)
    flat = [(1, last["stride"]), (0, last["padding"]), (1, last["dilation"]), last["groups"]]
    check.equal(y, conv2d_forward(check.wide(x)[:, :, None], check.wide(w)[:, :, None], None, *flat)[:, :, 0])
    return y


def test_one_image_without_a_batch():
    x, w = np.random.default_rng(0).integers(-4, 5, (3, 8, 9)), np.random.default_rng(1).integers(-4, 5, (5, 3, 3, 3))
    y = lc.conv2d(lc.from_numpy(x.astype(np.float32)), lc.from_numpy(w.astype(np.float32)), padding=1)
    check.equal(y, conv2d_forward(x[None].astype(float), w.astype(float), pad=(1, 1))[0])


def test_nan_reaches_exactly_the_pixels_that_read_it():
    x = np.zeros((1, 2, 9, 9), np.float32)
    x[0, 1, 4, 5] = np.nan
    y = lc.conv2d(lc.from_numpy(x), lc.ones(3, 2, 3, 3), padding=1).numpy()
    want = np.zeros((1, 3, 9, 9), bool)
    want[:, :, 3:6, 4:7] = True
    assert np.array_equal(np.isnan(y), want)


# ---- Winograd's scheme -----------------------------------------------------------------------------------------------


def draw_winograd(case: Case):
    groups = case.pick("groups", (1, 2))
    c, k = [groups * case.pick(a, (16, 33, 40, 64, 17) if groups == 1 else (16, 17)) for a in "ck"]
    pad = [case.pick(f"pad.{a}", (1, 0, 2, 3)) for a in "hw"]
    out = [case.pick(f"size.{a}", (8, 7, 9, 10, 4, 5, 6, 12, 15, 16, 23)) for a in "hw"]
    x_shape = (case.pick("n", (1, 2, 3)), c, *[o + 2 - 2 * p for o, p in zip(out, pad, strict=True)])
    return x_shape, (k, c // groups, 3, 3), (x_shape[0], k, *out), {"padding": tuple(pad), "groups": groups}


@cases(120)
def test_error_of_winograd(case: Case):
    """A bound of the same form as for any sum, its terms those of the transforms."""
    case.draw_dtype("float32")
    x_shape, w_shape, y_shape, arguments = draw_winograd(case)
    x, w, dy = [case.tensor(n, s) for n, s in (("x", x_shape), ("w", w_shape), ("dy", y_shape))]
    b = case.tensor("b", w_shape[:1])
    x, w = [t.detach().requires_grad_() for t in (x, w)]
    pad, groups = arguments["padding"], arguments["groups"]

    y = lc.conv2d(x, w, b, **arguments)
    y.backward(dy)

    exact, g, bias = [check.wide(t) for t in (x, w)], check.wide(dy), check.wide(b)
    roundings = 26  # of the three transforms, each by two axes
    scheme = WINOGRAD[4 if min(y_shape[2:]) >= 7 else 2]
    size = winograd_forward(scheme, *exact, y_shape[2:], pad, groups, magnitude=True) + np.abs(bias)[:, None, None]
    want = conv2d_forward(*exact, bias, (1, 1), pad, (1, 1), groups)
    check.contraction(y, want, size, w_shape[1] + roundings)
    dx, dw, _ = conv2d_backward(g, *exact, (1, 1), pad, (1, 1), groups)
    rest, flipped = [2 - p for p in pad], turned(exact[1], groups)
    size = winograd_forward(scheme, g, flipped, x_shape[2:], rest, groups, magnitude=True)
    check.contraction(x.grad, dx, size, w_shape[0] // groups + roundings)
    size = winograd_weight(WINOGRAD[4], g, exact[0], pad, groups, magnitude=True)
    check.contraction(w.grad, dw, size, y_shape[0] * -(-y_shape[2] // 4) * -(-y_shape[3] // 4) + roundings)
    return y, x.grad, w.grad


@pytest.mark.parametrize("out", [2, 4])
def test_winograd_reference(out):
    scheme = WINOGRAD[out]
    random = np.random.default_rng(0)
    x, w = random.standard_normal((2, 4, 9, 10)), random.standard_normal((6, 2, 3, 3))
    want = conv2d_forward(x, w, None, (1, 1), (2, 1), (1, 1), 2)
    np.testing.assert_allclose(winograd_forward(scheme, x, w, want.shape[2:], (2, 1), 2), want, atol=1e-11)
    dy = random.standard_normal(want.shape)
    dx, dw, _ = conv2d_backward(dy, x, w, (1, 1), (2, 1), (1, 1), 2)
    np.testing.assert_allclose(winograd_forward(scheme, dy, turned(w, 2), x.shape[2:], (0, 1), 2), dx, atol=1e-11)
    np.testing.assert_allclose(winograd_weight(scheme, dy, x, (2, 1), 2), dw, atol=1e-11)


def test_winograd_keeps_nan_within_its_tiles():
    x = np.ones((2, 32, 12, 12), np.float32)
    x[0, 5, 6, 6] = np.nan  # read by the tile of rows 4 to 7 alone: its window is rows 3 to 8
    y = lc.conv2d(lc.from_numpy(x), lc.ones(32, 32, 3, 3), padding=1).numpy()
    want = np.zeros(y.shape, bool)
    want[0, :, 4:8, 4:8] = True
    assert np.isnan(y[0, :, 5:8, 5:8]).all()
    assert not np.isnan(y[~want]).any()


CHOSEN = """
import littlecore as lc
for n in (1, 32):
    for c, size, k, kernel, stride in {shapes}:
        lc.conv2d(lc.zeros(n, c, size, size), lc.zeros(k, c, kernel, kernel), stride=stride, padding=kernel // 2)
lc.conv2d(lc.zeros(1, 64, 8, 8, dtype=lc.float64), lc.zeros(64, 64, 3, 3, dtype=lc.float64), padding=1)
"""


@pytest.mark.parametrize("exact", ["", "0", "1"])
def test_scheme_is_told_and_does_not_depend_on_the_batch(exact):
    shapes = {(64, 32, 64, 3, 1): "winograd4", (32, 8, 32, 3, 1): "winograd4", (64, 8, 64, 3, 2): "direct",
              (64, 4, 64, 3, 1): "winograd2", (64, 3, 64, 3, 1): "direct", (3, 32, 64, 3, 1): "direct",
              (15, 32, 64, 3, 1): "direct", (64, 16, 64, 5, 1): "direct", (64, 16, 64, 1, 1): "direct"}  # fmt: skip
    code = CHOSEN.format(shapes=list(shapes))
    environment = {**os.environ, "LITTLECORE_LOG": "1", "LITTLECORE_EXACT": exact}
    log = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    told = [line.split()[2] for line in log.stderr.splitlines() if line.startswith("[conv2d] forward")]
    want = list(shapes.values()) if exact != "1" else ["direct"] * len(shapes)
    assert told == [*want, *want, "direct"]


REFUSED = [
    ((1, 4, 5, 5), (2, 3, 3, 3), {}, "wants 3 input channels in 1 group, input has 4"),
    ((1, 1, 2, 5), (1, 1, 3, 3), {}, "kernel is larger than the input"),
    ((1, 1, 5, 5), (1, 1, 3, 3), {"dilation": 3}, "kernel is larger than the input"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"groups": 2}, "groups = 2 must divide"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"groups": 0}, "groups = 0"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"stride": 0}, "stride must be positive"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"stride": (1, 2, 3)}, "stride takes one int or two"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"stride": 2**62}, "out of range"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"padding": -1}, "padding must not be negative"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"padding": "full"}, "padding is a number, 'same' or 'valid'"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"padding": "same", "stride": 2}, "needs stride 1"),
    ((1, 3, 5, 5), (2, 3, 0, 3), {}, "has no taps"),
    ((3, 5), (2, 3, 3, 3), {}, "input must have channels"),
    ((1, 3, 5, 5), (2, 3, 3), {}, "weight must be"),
    ((1, 3, 5, 5), (2, 3, 3, 3), {"bias": (3,)}, r"bias must be \[2\]"),
]


@pytest.mark.parametrize("x, w, arguments, message", REFUSED)
def test_refused(x, w, arguments, message):
    bias = lc.zeros(*arguments["bias"]) if "bias" in arguments else None
    with pytest.raises(ValueError, match="conv2d: .*" + message):
        lc.conv2d(lc.zeros(*x), lc.zeros(*w), bias, **{n: v for n, v in arguments.items() if n != "bias"})


def test_mixed_dtypes_are_refused():
    with pytest.raises(TypeError, match="conv2d: input is float64, weight float32"):
        lc.conv2d(lc.zeros(1, 1, 5, 5, dtype=lc.float64), lc.zeros(1, 1, 3, 3))
