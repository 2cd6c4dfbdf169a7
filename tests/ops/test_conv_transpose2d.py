"""conv_transpose2d: exact in integers, and exactly the adjoint of conv2d."""

import check
import numpy as np
import pytest
from cases import Case, cases
from reference.conv_transpose2d import conv_transpose2d_forward, output_size

import littlecore as lc


def draw(case: Case):
    groups = case.pick("groups", (1, 2, 3))
    k = groups * case.pick("k", (1, 2, 3, 8, 17) if groups == 1 else (1, 2, 3))
    c = case.pick("c", (1, 2, 3, 8, 17) if groups == 1 else (1, 2, 3))
    kernel = [case.pick(f"kernel.{a}", (3, 1, 2, 4, 5)) for a in "hw"]
    stride = [case.pick(f"stride.{a}", (1, 2, 3)) for a in "hw"]
    dilation = [case.pick(f"dilation.{a}", (1, 2)) for a in "hw"]
    extra = [
        min(case.pick(f"extra.{a}", (0, 1, 2)), max(s, d) - 1) for a, s, d in zip("hw", stride, dilation, strict=True)
    ]
    size = [case.pick(f"size.{a}", (4, 5, 7, 8, 3, 2, 1)) for a in "hw"]
    pad = [case.pick(f"pad.{a}", (0, 1, 2)) for a in "hw"]
    for a in (0, 1):
        while output_size(size[a], kernel[a], stride[a], pad[a], extra[a], dilation[a]) <= 0:
            size[a] += 1
    n = case.pick("n", (1, 2, 3, 0))
    arguments = dict(
        stride=tuple(stride), padding=tuple(pad), output_padding=tuple(extra), groups=groups, dilation=tuple(dilation)
    )
    return (n, k, *size), (k, c, *kernel), arguments


def in_reference(arguments):
    return [arguments[name] for name in ("stride", "padding", "output_padding", "dilation", "groups")]


@cases(250)
def test_exact_in_integers(case: Case):
    x_shape, w_shape, arguments = draw(case)
    x, w = case.tensor("x", x_shape, "integer"), case.tensor("w", w_shape, "integer")
    b = case.tensor("b", (w_shape[1] * arguments["groups"],), "integer") if case.pick("bias", (True, False)) else None
    y = lc.conv_transpose2d(x, w, b, **arguments)
    check.equal(
        y,
        conv_transpose2d_forward(*[None if t is None else check.wide(t) for t in (x, w, b)], *in_reference(arguments)),
    )
    return y


@cases(200)
def test_adjoint_of_conv2d(case: Case):
    """<conv2d(a), x> == <a, conv_transpose2d(x)>, and the same for what backward gives."""
    x_shape, w_shape, arguments = draw(case)
    x = case.tensor("x", x_shape, "integer", dtype="float64", grad=True)
    w = case.tensor("w", w_shape, "integer", dtype="float64", grad=True)
    b = case.tensor("b", (w_shape[1] * arguments["groups"],), "integer", dtype="float64", grad=True)
    y = lc.conv_transpose2d(x, w, **arguments)
    a = case.tensor("a", tuple(y.shape), "integer", dtype="float64")
    same = {name: v for name, v in arguments.items() if name != "output_padding"}
    x_wide, a_wide, y_wide = [check.array(t) for t in (x, a, y)]
    want = check.array(lc.conv2d(a, w.detach(), **same))[
        :, :, : x_shape[2], : x_shape[3]
    ]  # output_padding may add windows
    assert np.sum(want * x_wide) == np.sum(a_wide * y_wide)

    lc.conv_transpose2d(x, w, b, **arguments).backward(a)
    check.equal(x.grad, want)
    assert np.sum(check.array(w.grad) * check.array(w)) == np.sum(a_wide * y_wide)  # linear in w as well
    check.equal(b.grad, a_wide.sum(axis=(0, 2, 3)))
    return x.grad, w.grad, b.grad


@pytest.mark.parametrize("arguments", [{"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "dilation": 2}])
def test_gradients(arguments):
    random = np.random.default_rng(0)
    x, w = random.standard_normal((1, 2, 3, 3)), random.standard_normal((2, 2, 2, 2))
    b = random.standard_normal(2 * arguments.get("groups", 1))
    check.gradients(lambda x, w, b: lc.conv_transpose2d(x, w, b, **arguments), x, w, b)


@cases(60)
def test_sequences(case: Case):
    x_shape, w_shape, arguments = draw(case)
    x, w = (
        case.tensor("x", (*x_shape[:2], x_shape[3]), "integer"),
        case.tensor("w", (*w_shape[:2], w_shape[3]), "integer"),
    )
    last = {name: v if name == "groups" else v[1] for name, v in arguments.items()}
    y = lc.conv_transpose1d(x, w, None, **last)
    flat = [
        (1, last["stride"]),
        (0, last["padding"]),
        (0, last["output_padding"]),
        (1, last["dilation"]),
        last["groups"],
    ]
    want = conv_transpose2d_forward(check.wide(x)[:, :, None], check.wide(w)[:, :, None], None, *flat)
    check.equal(y, want[:, :, 0])
    return y


REFUSED = [
    ((1, 3, 4, 4), (2, 3, 3, 3), {}, "wants 2 input channels, input has 3"),
    ((1, 2, 4, 4), (2, 3, 3, 3), {"output_padding": 1}, "output_padding must be smaller"),
    ((1, 2, 1, 4), (2, 3, 1, 3), {"padding": 1}, "gives an output of -1"),
    ((1, 2, 4, 4), (2, 3, 3, 3), {"stride": 0}, "must be positive"),
    ((1, 3, 4, 4), (3, 3, 3, 3), {"groups": 2}, "groups = 2 must divide"),
    ((4, 4), (2, 3, 3, 3), {}, "must have a batch"),
]


@pytest.mark.parametrize("x, w, arguments, message", REFUSED)
def test_refused(x, w, arguments, message):
    with pytest.raises(ValueError, match="conv_transpose2d: .*" + message):
        lc.conv_transpose2d(lc.zeros(*x), lc.zeros(*w), **arguments)
