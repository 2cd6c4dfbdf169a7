"""littlecore.kernels on a device: every pair against the CPU's, streams, and what is refused."""

from __future__ import annotations

import pytest
from compare import FLOATS, close, normal

import littlecore as lc
from littlecore import kernels

REAL = [lc.float32, lc.float64]


def run(name: str, *inputs: lc.Tensor | None, units: float = 1, **options: object) -> list[lc.Tensor]:
    """The kernel here and there, with the same results; those of the CPU."""
    kernel = getattr(kernels, name)
    copies = [x if x is None else x.cuda() for x in inputs]
    here, there = kernel(*inputs, **options), kernel(*copies, **options)
    if here is None:  # in place
        here, there = inputs, copies
    here, there = ([y] if isinstance(y, lc.Tensor) else list(y) for y in (here, there))
    for y in there:
        assert y.device == "cuda:0"
    alike = here, there
    if "norm_forward" in name and len(here) == 4:  # two numbers that make a mean
        alike = tuple([y, base + rest, var] for y, base, rest, var in alike)
    for theirs, ours in zip(*alike, strict=True):
        if theirs.dtype is lc.int64:
            assert ours.tolist() == theirs.tolist()
        else:
            close(ours, theirs, units)
    return here


def some(dtype: lc.dtype, *shapes: tuple[int, ...]) -> list[lc.Tensor]:
    return [normal(shape, dtype, seed, grad=False) for seed, shape in enumerate(shapes)]


def integers(*values: object) -> lc.Tensor:
    return lc.tensor(list(values), dtype=lc.int64)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_matmul(dtype: lc.dtype):
    for a, b, y in (
        ((3, 4, 5), (5, 6), (3, 4, 6)),  # db is a sum over the batch: one product
        ((4, 2, 3), (4, 3, 1), (4, 2, 1)),
        ((2, 0), (0, 3), (2, 3)),
    ):
        given = some(dtype, y, a, b)
        run("matmul_forward", *given[1:])
        run("matmul_backward", *given)
    run("matmul_forward", normal((5, 4), dtype, grad=False).T, normal((6, 5), dtype, 1, grad=False).T)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_matmul_adds_products_entry_by_entry(dtype: lc.dtype):
    given = some(dtype, (2, 5, 3, 2), (2, 1, 3, 4), (5, 4, 2))
    run("matmul_forward", *given[1:])
    run("matmul_backward", *given)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_linear(dtype: lc.dtype):
    dy, x, w, b = some(dtype, (2, 3, 4), (2, 3, 5), (4, 5), (4,))
    run("linear_forward", x, w, b)
    run("linear_backward", dy, x, w)
    for activation in ("relu", "gelu", "silu"):
        saved = run(f"linear_{activation}_forward", x, w, b)[-1]
        run(f"linear_{activation}_backward", dy, x, w, saved)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_elementwise(dtype: lc.dtype):
    dy, x = some(dtype, (3, 35), (3, 35))
    for name in ("relu", "gelu", "silu", "sigmoid", "tanh", "leaky_relu", "elu", "softplus"):
        y = run(f"{name}_forward", x)[0]
        run(f"{name}_backward", dy, y if name in ("relu", "sigmoid", "tanh") else x)
        run(f"{name}_forward", x[:0])
    key = integers(5, 1 << 40)
    for p in (0.0, 0.4, 1.0):
        run("dropout_forward", x, key, p=p)
        run("dropout_backward", dy, key, p=p)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_norms(dtype: lc.dtype):
    dy, x, w, b = some(dtype, (2, 3, 7), (2, 3, 7), (7,), (7,))
    saved = run("layer_norm_forward", x, w, b)[1:]
    run("layer_norm_backward", dy, x, w, *saved)
    both = kernels.layer_norm_backward(*[t.cuda() for t in (dy, x, w, *saved)])
    alone = kernels.layer_norm_backward(*[t.cuda() for t in (dy, x, w, *saved)], out=(None, False, None))
    assert alone[1] is None and alone[2].tolist() == both[2].tolist()
    run("rms_norm_backward", dy, x, w, run("rms_norm_forward", x, w)[1])


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_norms_of_channels(dtype: lc.dtype):
    dy, x, w, b = some(dtype, (3, 4, 5), (3, 4, 5), (4,), (4,))
    x = x + 1000  # base alone is not the mean
    saved = run("batch_norm_forward", x, w, b, units=100)[1:]
    run("batch_norm_backward", dy, x, w, *saved)
    mean, var = lc.ones(4, dtype=dtype), 2 * lc.ones(4, dtype=dtype)
    saved = run("batch_norm_forward", x, w, b, mean, var, training=False)[1:]
    run("batch_norm_backward", dy, x, w, *saved, training=False)
    run("batch_norm_backward", dy[:0], x[:0], w, *saved)
    saved = run("group_norm_forward", x, w, b, groups=2, units=100)[1:]
    run("group_norm_backward", dy, x, w, *saved, groups=2, units=10)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_batch_norm_keeps_what_the_mean_rounds_away(dtype: lc.dtype):
    x = normal((64, 2), dtype, grad=False).cuda() + 1000
    _, base, rest, _ = kernels.batch_norm_forward(x)
    mean = base.cpu().double() + rest.cpu().double()
    close(mean.cuda(), x.cpu().double().mean(0))
    assert rest.tolist() != [0, 0] or dtype is lc.float64


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_softmax_and_cross_entropy(dtype: lc.dtype):
    dy, x, w = some(dtype, (3, 5, 4), (3, 5, 4), (5,))
    for options in ({}, {"dim": 1}, {"dim": 0, "log": True}):
        run("softmax_backward", dy, run("softmax_forward", x, **options)[0], **options)
    target = integers([0, 1, 2, 3], [4, 0, -100, 1], [2, 2, 3, 4])
    for weight, options in ((None, {}), (w.exp(), {"smoothing": 0.1})):
        _, *saved = run("cross_entropy_forward", x, target, weight, **options)
        run("cross_entropy_backward", dy[:, 0].contiguous(), x, target, weight, *saved, **options)
        run("cross_entropy_backward", lc.ones(1, dtype=dtype).expand(3, 4), x, target, weight, *saved, **options)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": (1, 0), "groups": 2}])
def test_conv2d(dtype: lc.dtype, options: dict[str, object]):
    x, w, b = some(dtype, (2, 4, 9, 8), (6, 4 // options.get("groups", 1), 3, 2), (6,))
    y = run("conv2d_forward", x, w, b, **options)[0]
    run("conv2d_backward", normal(tuple(y.shape), dtype, 3, grad=False), x, w, **options)


@pytest.mark.parametrize("dtype", REAL, ids=lambda d: d.name)
def test_pools(dtype: lc.dtype):
    x = normal((2, 3, 7, 6), dtype, grad=False)
    for options in ({"kernel": 2}, {"kernel": (3, 2), "stride": 2, "padding": 1, "ceil_mode": True}):
        y, index = run("max_pool2d_forward", x, **options)
        dy = normal(tuple(y.shape), dtype, 1, grad=False)
        run("max_pool2d_backward", dy, x, index, **options)
        y = run("avg_pool2d_forward", x, **options)[0]
        run("avg_pool2d_backward", dy, x, **options)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("causal", [False, True])
def test_attention(dtype: lc.dtype, causal: bool):
    d_o, q, k, v, mask = some(dtype, (2, 4, 5, 8), (2, 4, 5, 8), (2, 2, 7, 8), (2, 2, 7, 8), (1, 4, 5, 7))
    for m in (None, mask, mask > -0.5):
        o, lse = run("attention_forward", q, k, v, m, causal=causal)
        given = [t if t is None else t.cuda() for t in (d_o, q, k, v, o, lse, m)]
        there = kernels.attention_backward(*given, causal=causal)
        here = kernels.attention_backward(d_o, q, k, v, o, lse, m, causal=causal)
        for ours, theirs in zip(there, here, strict=True):
            assert (ours is None) == (theirs is None)
            if ours is not None:
                close(ours, theirs, 4)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_sequences(dtype: lc.dtype):
    w, dy, x = some(dtype, (6, 5), (2, 3, 5), (2, 3, 4))
    index = integers([0, 5, 2], [5, 5, 1])
    run("embedding_forward", w, index)
    run("embedding_backward", dy, index, w)
    run("embedding_backward", dy, index, w, padding_index=5)
    acc = lc.float64 if dtype is lc.float64 else lc.float32
    cos, sin = some(acc, (3, 2), (3, 2))
    for interleaved in (False, True):
        run("rotary_embedding_forward", x, cos, sin, interleaved=interleaved)
        run("rotary_embedding_backward", x, cos, sin, interleaved=interleaved)


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
def test_steps(dtype: lc.dtype):
    n = (1 << 14) + 3  # more than what the CPU's threads take at once
    acc = lc.float64 if dtype is lc.float64 else lc.float32
    p, g = some(dtype, (n,), (n,))
    m, v, top = normal((n,), acc, 2, grad=False), lc.ones(n, dtype=acc), lc.zeros(n, dtype=acc)
    run("adamw_step", p, g, m, v, top, lr=0.1, step=3)
    run("sgd_step", p, g, lr=0.1, step=1)
    for step in (1, 2):
        run("sgd_step", p, g, m, lr=0.1, step=step, momentum=0.9)


# ---- memory, streams, refusals ---------------------------------------------------------------------


def test_out_is_written():
    x, y = lc.tensor([-1.0, 2.0]).cuda(), lc.full((2,), float("nan"), device="cuda")
    before = y._version
    assert kernels.relu_forward(x, out=y) is y and y.tolist() == [0, 2] and y._version > before


def test_work_is_on_the_current_stream():
    """Scratch belongs to the stream it was asked for on, and no other stream's is reused."""
    given = [t.cuda() for t in some(lc.float32, (2, 3), (2, 5), (3, 5), (2, 3))]
    out = tuple(lc.zeros(*shape, device="cuda") for shape in ((2, 5), (3, 5), (3,)))

    def asked() -> int:
        before = lc.cuda.memory_stats()["system_allocations"]
        kernels.linear_gelu_backward(*given, out=out)
        return lc.cuda.memory_stats()["system_allocations"] - before

    asked()
    assert asked() == 0
    with lc.cuda.Stream():
        assert asked() > 0 and asked() == 0
    assert asked() == 0


def test_mixed_devices_are_refused():
    a, b = lc.ones(2, 2), lc.ones(2, 2)
    with pytest.raises(TypeError, match=r"matmul_forward: b is on cpu, but a on cuda:0"):
        kernels.matmul_forward(a.cuda(), b)
    with pytest.raises(TypeError, match=r"matmul_forward: b is on cuda:0, but a on cpu"):
        kernels.matmul_forward(a, b.cuda())
    with pytest.raises(TypeError, match=r"relu_forward: y is on cpu, but x on cuda:0"):
        kernels.relu_forward(a.cuda(), out=b)
    kernels.relu_forward(a, out=b)  # known by now, and not taken for the one below
    with pytest.raises(TypeError, match=r"relu_forward: y is on cuda:0, but x on cpu"):
        kernels.relu_forward(a, out=b.cuda())


def test_what_is_wrong_is_refused_as_on_the_cpu():
    x = lc.ones(4, 5).cuda()
    with pytest.raises(ValueError, match="y overlaps x"):
        kernels.relu_forward(x, out=x)
    with pytest.raises(ValueError, match=r"b has shape \[4, 5\], needs \[k=5, n\]"):
        kernels.matmul_forward(x, x)
