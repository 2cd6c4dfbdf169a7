"""quantized_linear: the codec is exact against NumPy, and the product has the bits of linear with the same weight."""

import check
import numpy as np
import pytest
from reference.quantized_linear import quantize, quantized_linear_forward

import littlecore as lc
from littlecore import _core, models, nn

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


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("size", SIZES)
def test_the_product_has_the_bits_of_linear(size, bits, threads, isa):
    lc.set_num_threads(threads)
    random = np.random.default_rng(1)
    w, b = lc.from_numpy(weight(*size)), lc.from_numpy(random.standard_normal(size[0]).astype(np.float32))
    codes, scales = _core.quantize_weight(w, bits)
    dense = _core.dequantize_weight(codes, scales, size[1])
    for rows in (1, 2, 3, 4, 7, 16, 17, 40):
        x = lc.from_numpy(random.standard_normal((rows, size[1])).astype(np.float32))
        for bias in (b, None):
            y = _core.quantized_linear(x, codes, scales, bias)
            check.same_bits(y, lc.linear(x, dense, bias))
    exact = quantized_linear_forward(check.wide(x), w.numpy(), 0, bits)
    check.contraction(y, exact, np.abs(check.wide(x)) @ np.abs(check.wide(dense)).T, size[1] + 2)


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
    with pytest.raises(RuntimeError, match="quantized_linear"):
        _core.quantized_linear(lc.zeros(2, 40).requires_grad_(), codes, scales)


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
