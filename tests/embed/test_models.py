"""Unmodified models of transformers and timm on littlecore's kernels: the same outputs and gradients, nothing left out.

Small, with random weights; in training, so that a batch norm's running statistics are compared, too.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import littlecore.interop.torch as interop  # noqa: E402

SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
CALM = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def words() -> Any:
    return torch.randint(0, 300, (2, 32))


def gpt2(t: Any) -> tuple[Any, dict[str, Any]]:
    still = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0, "bos_token_id": 0, "eos_token_id": 0}
    i = words()
    config = t.GPT2Config(vocab_size=300, n_positions=64, n_embd=64, n_layer=2, n_head=4, **still)
    return t.GPT2LMHeadModel(config), {"input_ids": i, "labels": i}


def bert(t: Any) -> tuple[Any, dict[str, Any]]:
    padded = torch.tensor([[1] * 32, [1] * 20 + [0] * 12])
    model = t.BertForSequenceClassification(t.BertConfig(vocab_size=300, **SIZES, **CALM))
    return model, {"input_ids": words(), "attention_mask": padded, "labels": torch.tensor([0, 1])}


def images(size: int) -> dict[str, Any]:
    return {"pixel_values": torch.randn(2, 3, size, size), "labels": torch.tensor([0, 1])}


def vit(t: Any) -> tuple[Any, dict[str, Any]]:
    return t.ViTForImageClassification(t.ViTConfig(image_size=32, patch_size=8, **SIZES, **CALM)), images(32)


def resnet(t: Any) -> tuple[Any, dict[str, Any]]:
    config = t.ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="bottleneck"
    )
    return t.ResNetForImageClassification(config), images(64)


def compare(model: Any, run: Callable[[Any], tuple[Any, Any]]) -> Any:
    """run(model) -> outputs, loss. The report of a run on our kernels, held against PyTorch's."""
    model.train()
    theirs = copy.deepcopy(model)
    want, loss = run(theirs)
    loss.backward()
    with interop.kernels() as report:
        got, loss = run(model)
    loss.backward()
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    for name, p in theirs.named_parameters():
        if p.grad is not None:
            scale = max(float(p.grad.abs().max()), 1e-3)
            torch.testing.assert_close(model.get_parameter(name).grad, p.grad, rtol=0, atol=1e-4 * scale)
    for name, statistic in theirs.named_buffers():
        torch.testing.assert_close(model.get_buffer(name), statistic, rtol=1e-5, atol=1e-5)
    return report


@pytest.mark.filterwarnings("ignore")  # of the libraries, about themselves
@pytest.mark.parametrize(
    "make, replaced",
    [
        (gpt2, {"addmm": 8, "layer_norm": 5, "scaled_dot_product_attention": 2, "tanh": 2, "linear": 1}),
        (bert, {"linear": 14, "layer_norm": 5, "scaled_dot_product_attention": 2, "gelu": 2, "tanh": 1}),
        (vit, {"linear": 13, "layer_norm": 5, "scaled_dot_product_attention": 2, "gelu": 2, "conv2d": 1}),
        (resnet, {"conv2d": 16, "batch_norm": 16, "relu": 13, "max_pool2d": 1, "linear": 1}),
    ],
)
def test_transformers(make: Any, replaced: dict[str, int]):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, inputs = make(transformers)

    def run(model: Any) -> tuple[Any, Any]:
        result = model(**inputs)
        return result.logits, result.loss

    report = compare(model, run)
    assert dict(report.replaced) == {**replaced, "cross_entropy": 1} and not report.kept, report


def test_a_decoder():
    nn = torch.nn
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(6, 8, 3, stride=2, padding=1, output_padding=1, groups=2)
    pools = [nn.AvgPool2d(2), nn.AvgPool2d(3, 1, 1, count_include_pad=False)]
    model = nn.Sequential(up, nn.GroupNorm(4, 8), nn.LeakyReLU(0.2), *pools)

    def run(model: Any) -> tuple[Any, Any]:
        y = model(torch.linspace(-1, 1, 2 * 6 * 5 * 7).reshape(2, 6, 5, 7).sin())
        return y, y.square().sum()

    report = compare(model, run)
    counts = {"conv_transpose2d": 1, "group_norm": 1, "leaky_relu": 1, "avg_pool2d": 2}
    assert dict(report.replaced) == counts and not report.kept


@pytest.mark.filterwarnings("ignore")
def test_timm():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    model, x = timm.create_model("resnet18", num_classes=5), torch.randn(2, 3, 64, 64)

    def run(model: Any) -> tuple[Any, Any]:
        y = model(x)
        return y, torch.nn.functional.cross_entropy(y, torch.tensor([0, 1]))

    report = compare(model, run)
    counts = {"conv2d": 20, "batch_norm": 20, "max_pool2d": 1, "linear": 1, "cross_entropy": 1}
    assert {name: report.replaced[name] for name in counts} == counts
    assert set(report.kept) <= {("relu", "in place"), ("relu_", "in place")}, report
