"""quantized_linear: the codec is exact against NumPy, and the product is linear's with the same weight."""

import check
import numpy as np
import pytest
from reference.quantized_linear import quantize

import littlecore as lc
from littlecore import _core, models, nn
from littlecore.nn import functional as F

SIZES = [(5, 7), (4, 32), (3, 33), (6, 64), (70, 100), (130, 513), (37, 776), (21, 1031), (9, 2050)]


def weight(out, inputs, seed=0):
    random = np.random.default_rng(seed)
    w = random.standard_normal((out, inputs)).astype(np.float32)
    w[out // 2] = 0
    w[0, inputs // 2] *= 40
    return w


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("size", SIZES)
def test_weights_come_back_as_numpy_rounds_them(size, bits):
    w = weight(*size)
    q, scale = quantize(w, bits)
    back = _core.dequantize_weight(*_core.quantize_weight(lc.from_numpy(w), bits), size[1])
    check.same_bits(back, lc.from_numpy((q * scale).astype(np.float32) + np.float32(0)))
    assert np.all(np.abs(back.numpy() - w) <= scale * np.float32(0.50001))
    again = _core.dequantize_weight(*_core.quantize_weight(back, bits), size[1])
    np.testing.assert_allclose(again.numpy(), back.numpy(), rtol=3e-7)


@pytest.mark.parametrize("bits", [8, 4])
def test_every_code_is_kept(bits):
    most = 127 if bits == 8 else 7
    codes = np.arange(-most, most + 1, dtype=np.float32)
    w = np.concatenate([np.roll(codes, i)[None] for i in range(9)]) * 0.5
    w = np.pad(w[:, :32], ((0, 0), (0, 1)), constant_values=most / 2) if bits == 4 else w
    check.same_bits(
        _core.dequantize_weight(*_core.quantize_weight(lc.from_numpy(w), bits), w.shape[1]), lc.from_numpy(w)
    )


def operands(size, bits):
    random = np.random.default_rng(1)
    w, b = lc.from_numpy(weight(*size)), lc.from_numpy(random.standard_normal(size[0]).astype(np.float32))
    q = _core.quantize_weight(w, bits)
    x = lc.from_numpy(random.standard_normal((40, size[1])).astype(np.float32))
    return x, q, _core.dequantize_weight(*q, size[1]), b


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_8_bits_have_the_bits_of_linear(size, threads, isa):
    lc.set_num_threads(threads)
    x, q, dense, b = operands(size, 8)
    for rows in (1, 2, 3, 4, 7, 16, 17, 40):
        for bias in (b, None):
            check.same_bits(_core.quantized_linear(x[:rows], *q, bias), F.linear(x[:rows], dense, bias))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("size", SIZES)
def test_4_bits_are_as_exact_as_the_largest_of_a_group(size, threads, isa):
    lc.set_num_threads(threads)
    x, q, dense, b = operands(size, 4)
    largest = [np.abs(check.wide(x)[:, k // 32 * 32 :][:, :32]).max(1) for k in range(size[1])]
    magnitude = np.stack(largest, 1) @ np.abs(check.wide(dense)).T
    for bias in (b, None):
        exact = check.wide(x) @ check.wide(dense).T + (0 if bias is None else check.wide(b))
        one = lc.cat([_core.quantized_linear(x[i], *q, bias)[None] for i in range(16)])
        check.contraction(one, exact[:16], magnitude[:16] + np.abs(exact[:16]), size[1] + 2)
        for rows in (2, 3, 7, 16):
            check.same_bits(_core.quantized_linear(x[:rows], *q, bias), one[:rows])
        for rows in (17, 40):
            check.same_bits(_core.quantized_linear(x[:rows], *q, bias), F.linear(x[:rows], dense, bias))


@pytest.mark.parametrize("bits", [8, 4])
def test_integers_are_multiplied_exactly(bits, isa):
    random, most = np.random.default_rng(2), 127 if bits == 8 else 7
    w = random.integers(-most, most + 1, (9, 600)).astype(np.float32)
    w[:, ::32] = most  # the largest of its group: the scale is 1
    q = _core.quantize_weight(lc.from_numpy(w), bits)
    for size in (1, 127, 128, 255):
        x = (random.integers(-size, size + 1, (3, 600)) * (random.random((3, 600)) < 0.1)).astype(np.float32)
        x[0, :64] = size
        check.equal(_core.quantized_linear(lc.from_numpy(x), *q), x.astype(np.float64) @ w.T)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("scale", [2.0**-140, 2.0**-90, 2.0**40, 2.0**100])
def test_x_of_any_size(bits, scale, isa):
    x, q, dense, _ = operands((6, 520), bits)
    x = lc.from_numpy((check.wide(x[:4]) * scale).astype(np.float32))
    magnitude = np.abs(check.wide(x)) @ np.abs(check.wide(dense)).T
    check.contraction(_core.quantized_linear(x, *q), check.wide(x) @ check.wide(dense).T, magnitude + 2.0**-94, 520)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays_so(bits, value):
    x, q, *_ = operands((6, 520), bits)
    x = x[:3].clone()
    x[1, 77] = value
    y = _core.quantized_linear(x, *q).numpy()
    assert not np.isfinite(y[1]).any() and np.isfinite(y[[0, 2]]).all()


@pytest.mark.parametrize("bits", [8, 4])
def test_a_captured_call_reads_its_input_anew(bits):
    x, q, *_ = operands((6, 515), bits)
    step = lc.capture(lambda x: _core.quantized_linear(x, *q))
    for rows in (x[:2], x[2:4], x[4:6]):
        check.same_bits(step(rows), _core.quantized_linear(rows, *q))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("shape", [(515,), (3, 515), (2, 20, 515)])
def test_the_input_has_a_gradient(bits, shape):
    _, q, dense, b = operands((6, 515), bits)
    x, dy = lc.randn(*shape).requires_grad_(), lc.randn(*shape[:-1], dense.shape[0])
    y = _core.quantized_linear(x, *q, b)
    check.same_bits(y.detach(), _core.quantized_linear(x.detach(), *q, b))
    y.backward(dy)
    exact, magnitude = (f(check.wide(dy)) @ f(check.wide(dense)) for f in (np.asarray, np.abs))
    check.contraction(x.grad, exact, magnitude, dense.shape[0])


def test_shapes_and_strides():
    w = lc.from_numpy(weight(6, 600))
    q = _core.quantize_weight(w)
    x = lc.randn(600, 2, 3).permute(1, 2, 0)
    check.same_bits(
        _core.quantized_linear(x, *q), _core.quantized_linear(x.contiguous().reshape(6, 600), *q).reshape(2, 3, 6)
    )
    assert _core.quantized_linear(lc.zeros(0, 600), *q).shape == (0, 6)
    assert _core.quantized_linear(lc.zeros(600), *q).shape == (6,)


def test_what_it_does_not_take():
    w = lc.from_numpy(weight(6, 40))
    codes, scales = _core.quantize_weight(w)
    with pytest.raises(ValueError, match="quantize_weight: bits must be 8 or 4, got 3"):
        _core.quantize_weight(w, 3)
    with pytest.raises(TypeError, match="quantize_weight: wants a float32 matrix"):
        _core.quantize_weight(w.double())
    with pytest.raises(ValueError, match=r"quantize_weight: weight \[0, 1\] is inf"):
        _core.quantize_weight(lc.tensor([[1.0, float("inf")]]))
    with pytest.raises(ValueError, match="quantized_linear: codes"):
        _core.quantized_linear(lc.zeros(2, 48), codes, scales)
    with pytest.raises(ValueError, match=r"bias must be float32 \[6\]"):
        _core.quantized_linear(lc.zeros(2, 40), codes, scales, lc.zeros(5))
    with pytest.raises(RuntimeError, match="quantized_linear: bias"):
        _core.quantized_linear(lc.zeros(2, 40), codes, scales, lc.zeros(6).requires_grad_())


@pytest.mark.parametrize(("bits", "error"), [(8, 0.01), (4, 0.15)])
def test_a_model_is_quantized(bits, error):
    lc.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(64, 600), nn.GELU(), nn.Sequential(nn.Linear(600, 600, bias=False), nn.ReLU()), nn.Linear(600, 10)
    )
    x = lc.randn(3, 64)
    with lc.no_grad():
        before = net(x).numpy()
        small = nn.quantize(net, bits=bits)
        after = small(x).numpy()
    assert small is net and isinstance(net[2][0], nn.QuantizedLinear) and f"bits={bits}" in repr(net[0])
    assert np.linalg.norm(after - before) < error * np.linalg.norm(before)
    other = nn.Sequential(*(nn.QuantizedLinear(64, 600, bits=bits), nn.GELU()))
    other.load_state_dict({k: v for k, v in net.state_dict().items() if k[0] == "0"})
    with lc.no_grad():
        check.same_bits(other(x), net[:2](x))


def test_layers_that_are_attributes_are_quantized():
    model = models.gpt(vocab_size=40, block_size=8, n_layer=1, n_head=2, n_embd=32)
    tokens = lc.tensor([[1, 2, 3]])
    with lc.no_grad():
        before = model(tokens)
        assert nn.quantize(model, bits=4).lm_head is model._modules["lm_head"]
        assert isinstance(model.transformer["h"][0].attn.c_attn, nn.QuantizedLinear)
        after = model(tokens)
    assert 0 < (after - before).abs().max().item() < 0.1 * before.abs().max().item() + 0.1
