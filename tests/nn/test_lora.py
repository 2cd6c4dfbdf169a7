"""LoRALinear: nothing at first, gradients of the adapters alone, the same as one Linear in the end."""

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import models, nn


def network():
    return nn.Sequential(nn.Linear(24, 40), nn.ReLU(), nn.Sequential(nn.Linear(40, 3, bias=False)))


def learned(model):
    for module in model.modules():
        if isinstance(module, nn.LoRALinear):
            nn.init.normal_(module.lora_B, std=0.1)
    return model


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_a_new_adapter_changes_nothing(bits):
    model, x = network(), lc.randn(5, 24)
    expected = network()
    expected.load_state_dict(model.state_dict())
    expected = nn.quantize(expected, bits) if bits else expected
    model = nn.add_lora(model, rank=2, bits=bits)
    check.same_bits(model(x).detach(), expected(x).detach())
    check.same_bits(model(x.requires_grad_()).detach(), expected(x.detach()).detach())


def test_the_formula_and_its_gradients():
    base = nn.Linear(6, 4)
    layer = nn.LoRALinear(base, rank=2, alpha=6)
    nn.init.normal_(layer.lora_B)
    x = lc.randn(5, 6).requires_grad_()
    a, b, w, c = (t.detach().numpy().astype(np.float64) for t in (layer.lora_A, layer.lora_B, base.weight, base.bias))
    y = layer(x)
    xs, dy = x.detach().numpy().astype(np.float64), np.ones((5, 4))
    np.testing.assert_allclose(y.detach().numpy(), xs @ (w + 3 * b @ a).T + c, rtol=1e-5, atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(layer.lora_A.grad.numpy(), 3 * b.T @ dy.T @ xs, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(layer.lora_B.grad.numpy(), 3 * dy.T @ xs @ a.T, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(x.grad.numpy(), dy @ (w + 3 * b @ a), rtol=1e-5, atol=1e-5)
    assert base.weight.grad is None and base.bias.grad is None


@pytest.mark.parametrize("bits", [None, 4])
def test_gradients_pass_a_frozen_weight(bits):
    model, x = learned(nn.add_lora(network(), rank=2, bits=bits)), lc.randn(5, 24)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert names == ["0.lora_A", "0.lora_B", "2.0.lora_A", "2.0.lora_B"]
    model(x).sum().backward()
    assert all(model.get_parameter(name).grad.abs().sum().item() > 0 for name in names)


@pytest.mark.parametrize("bits", [None, 8, 4])
def test_merged_is_one_linear_that_computes_the_same(bits):
    model, x = learned(nn.add_lora(network(), rank=3, alpha=1.5, bits=bits)), lc.randn(50, 24)
    expected = model(x).detach().numpy()
    model = nn.merge_lora(model)
    assert {type(m) for m in model.modules()} == {nn.Linear, nn.ReLU, nn.Sequential}
    assert not any(isinstance(m, nn.LoRALinear) for m in model.modules())
    np.testing.assert_allclose(model(x).detach().numpy(), expected, atol=2e-6 * np.abs(expected).max())
    assert nn.merge_lora(nn.LoRALinear(nn.Linear(4, 4))).in_features == 4


def test_in_a_gpt():
    """Its readout shares the embedding's weight, which stays shared and frozen."""
    model = models.gpt(vocab_size=11, block_size=8, n_layer=1, n_head=2, n_embd=8)
    tokens = lc.tensor([[1, 2, 3]])
    expected = model(tokens).detach()
    nn.add_lora(model, rank=2)
    check.same_bits(model(tokens).detach(), expected)
    assert model.lm_head.base.weight is model.transformer["wte"].weight
    assert all("lora_" in name for name, p in model.named_parameters() if p.requires_grad)


def test_the_rank_is_checked_and_fits_narrow_layers():
    with pytest.raises(ValueError, match="rank must be 1 to 3 for a layer from 8 to 3 features, got 4"):
        nn.LoRALinear(nn.Linear(8, 3), rank=4)
    with pytest.raises(ValueError, match="rank must be 1 to 3"):
        nn.LoRALinear(nn.Linear(8, 3), rank=0)
    assert nn.add_lora(nn.Linear(8, 3), rank=4).rank == 3
