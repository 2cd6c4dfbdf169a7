"""unary: generated cases of every function, its derivative, and a sweep of all float32 for units in the last place."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference import unary as reference

import littlecore as lc
import littlecore.nn.functional as F

IN_FUNCTIONAL = ("silu", "gelu", "softplus")
CALLS = {name: getattr(F if name in IN_FUNCTIONAL else lc, name) for name in reference.FORWARD}
EXACT = ("neg", "abs", "relu", "sign", "floor", "ceil", "round")
ONE_ULP = ("square", "reciprocal", "sqrt", "exp", "log", "sin", "cos", "tanh", "sigmoid")
POSITIVE = ("sqrt", "rsqrt", "log", "log1p")  # where differentiated


def ulps(name: str, dtype: str) -> float:
    if dtype == "float64":
        return 4  # the C library's, and a product or two
    return 1 if name in ONE_ULP else 4 if name == "softplus" else 2


@cases(900)
def test_forward(case: Case):
    name, dtype = case.pick("op", tuple(CALLS)), case.draw_dtype(*STORED_FLOATS)
    kinds = ("normal", "positive", "uniform", "integer", "spread", "special")
    x = case.tensor("x", case.shape("shape"), kinds)
    y = CALLS[name](x)
    with np.errstate(all="ignore"):
        want = reference.FORWARD[name](check.wide(x))
    if name in EXACT:
        check.equal(y, want)
    elif name == "gelu" and dtype == "float64":  # the argument of erfc is rounded, here as in the reference
        exact = check.wide(x)
        check.bounded(y, want, np.abs(want) * (1 + np.where(np.isfinite(exact), exact, 0) ** 2), 8)
    else:
        check.elementwise(y, want, ulps(name, dtype))
    return y


@cases(900)
def test_backward(case: Case):
    name = case.pick("op", tuple(reference.DERIVATIVE))
    case.draw_dtype(*STORED_FLOATS)
    shape = case.shape("shape")
    kinds = (
        ("normal", "uniform") if name in ("exp", "expm1") else ("normal", "positive", "uniform")
    )  # float16 ends at 65504
    x = case.tensor("x", shape, "positive" if name in POSITIVE else kinds, grad=True)
    dy = case.tensor("dy", shape)
    y = CALLS[name](x)
    y.backward(dy)
    with np.errstate(all="ignore"):
        slope = reference.DERIVATIVE[name](check.wide(x))
    # Functions that save y see it rounded: one unit of y moves the derivative by |d slope / d y| of about 1 + |slope|.
    saved = check.UNIT[check.dtype_name(x)] / check.accumulate_unit(x)
    magnitude = np.abs(check.wide(dy)) * (1 + np.abs(slope))
    check.bounded(x.grad, check.wide(dy) * slope, magnitude, 8 + 4 * saved)
    return x.grad


@pytest.mark.parametrize("name", tuple(reference.DERIVATIVE))
def test_gradients(name):
    random = np.random.default_rng(len(name))
    x = random.uniform(0.2, 2.5, (3, 5)) * (1 if name in POSITIVE else random.choice([-1, 1], (3, 5)))
    check.gradients(CALLS[name], x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: F.leaky_relu(x, 0.2),
        lambda x: F.elu(x, 1.7),
        lambda x: F.gelu(x, approximate="tanh"),
        lambda x: F.softplus(x, 2.0, 3.0),
        lambda x: x.clamp(-1.1, 1.3),
        lambda x: x.clamp(min=0.05),
        lambda x: x**3,
        lambda x: 1.5**x,
        lambda x: 2 / x,
    ],
)
def test_gradients_with_parameters(call):
    random = np.random.default_rng(3)
    check.gradients(call, random.uniform(0.2, 2.5, (3, 7)) * random.choice([-1, 1], (3, 7)))


def all_floats(step: int = 9973) -> np.ndarray:
    """Every step-th float32 by its bits, and the special ones."""
    special = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 88.72, 88.73, -87.33, -87.34, -103.97, -103.98, 1e5, -1e5]
    with np.errstate(invalid="ignore"):
        return np.concatenate([np.arange(0, 2**32, step, dtype=np.uint32).view(np.float32), np.float32(special)])


@pytest.mark.parametrize("name", [n for n in CALLS if n not in EXACT])
def test_units_in_the_last_place(name, isa):
    x = all_floats()
    with np.errstate(all="ignore"):
        want = reference.FORWARD[name](x.astype(np.float64))
        check.elementwise(
            CALLS[name](lc.from_numpy(x)), want, max(ulps(name, "float32"), 4 if isa == "baseline" else 0)
        )


def test_the_tail_of_gelu():
    x = np.linspace(-14, 0, 200001).astype(np.float32)
    want = reference.gelu(x.astype(np.float64))
    assert -1e-42 < want[0] < -1e-44
    check.elementwise(F.gelu(lc.from_numpy(x)), want, ulps("gelu", "float32"))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", ["exp", "tanh", "sigmoid", "gelu", "sqrt", "sin"])
def test_every_16_bit_input(name, dtype):
    bits = np.arange(65536, dtype=np.uint32)
    wide = (
        bits.astype(np.uint16).view(np.float16).astype(np.float32)
        if dtype == "float16"
        else (bits << 16).view(np.float32)
    )
    x = lc.from_numpy(wide).to(getattr(lc, dtype))
    with np.errstate(all="ignore"):
        check.elementwise(CALLS[name](x), reference.FORWARD[name](wide.astype(np.float64)), 1)


def test_gelu_by_tanh():
    x = all_floats(99991)
    x = x[np.abs(x) < 1e4]
    with np.errstate(all="ignore"):
        u = reference.tanh_argument(x.astype(np.float64))
        want = x * reference.sigmoid(2 * u)
        check.bounded(
            F.gelu(lc.from_numpy(x), approximate="tanh"), want, np.abs(want) * (2 + np.abs(2 * u)) + 2.0**-100, 2
        )


def test_gelu_by_tanh_in_float64():
    x = np.linspace(-6, 6, 1001)
    u = reference.tanh_argument(x.astype(np.longdouble))
    want = x * reference.sigmoid(2 * u)
    check.bounded(F.gelu(lc.from_numpy(x), approximate="tanh"), want, np.abs(want) * (2 + np.abs(2 * u)), 4)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
def test_integers_stay_integers(dtype):
    x = np.array([0, 1, 2, 7, 100] + ([] if dtype == "uint8" else [-1, -5, -100]), dtype=dtype)
    for name in ("abs", "square", "relu", "sign", "floor", "ceil", "round"):
        y = CALLS[name](lc.from_numpy(x))
        assert check.dtype_name(y) == dtype
        with np.errstate(over="ignore"):
            check.equal(
                y, {"square": x * x, "sign": np.sign(x), "relu": np.maximum(x, 0), "abs": np.abs(x)}.get(name, x)
            )
    check.equal(lc.from_numpy(x).clamp(1, 50), np.clip(x, 1, 50))
    assert check.dtype_name(lc.from_numpy(x).exp()) == "float32"


def test_clamp():
    x = np.array([-2, -1, 0, 1, 2, np.nan, np.inf, -np.inf], np.float32)
    check.equal(lc.from_numpy(x).clamp(-1, 1), np.clip(x, -1, 1))
    check.equal(lc.from_numpy(x).clamp(max=0.5), np.minimum(x, 0.5))
    check.equal(lc.from_numpy(x).clamp(2, 1), np.where(np.isnan(x), x, 1))  # as PyTorch: max wins
    with pytest.raises(ValueError, match="clamp"):
        lc.from_numpy(x).clamp()


def test_what_is_not_a_number():
    x = np.array([0, -0.0, 1, np.nan, np.inf, -np.inf, 3e38], np.float32)
    check.equal(lc.isnan(lc.from_numpy(x)), np.isnan(x))
    check.equal(lc.isinf(lc.from_numpy(x)), np.isinf(x))
    check.equal(lc.isfinite(lc.from_numpy(x)), np.isfinite(x))
    check.equal(lc.logical_not(lc.from_numpy(x)), x == 0)


@pytest.mark.vacuous
def test_steps_have_gradient_zero():
    for name in ("sign", "floor", "ceil", "round"):
        x = lc.tensor([-1.5, 0.25, 2.5], requires_grad=True)
        CALLS[name](x).sum().backward()
        check.equal(x.grad, np.zeros(3))


def test_bool_has_no_arithmetic():
    with pytest.raises(TypeError, match="neg"):
        lc.neg(lc.tensor([True, False]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_as_in_pieces(dtype):  # large results are written past the caches
    x, dy = np.random.default_rng(0).standard_normal((2, 3_300_003), dtype)
    for name in ("neg", "relu", "gelu"):
        pieces = [CALLS[name](lc.tensor(p)) for p in np.array_split(x, 7)]
        check.equal(CALLS[name](lc.tensor(x)), np.concatenate([p.numpy() for p in pieces]))
    leaf = lc.tensor(x, requires_grad=True)
    lc.abs(leaf).backward(lc.tensor(dy))
    check.equal(leaf.grad, dy * np.sign(x))
    y = lc.tensor(x)
    view = y[3:]  # not aligned, and in place
    view.clamp_(-1, 1)
    check.equal(y, np.concatenate([x[:3], x[3:].clip(-1, 1)]))
