"""The functions behind the layers, with PyTorch's signatures.

Most are ops of littlecore itself, passed on as they are; the rest are made of ops in a line or two. `inplace` is
accepted where PyTorch has it and changes nothing: results never alias their inputs.
"""

from __future__ import annotations

from .. import _core
from .._core import (
    Tensor,
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    batch_norm,
    binary_cross_entropy_with_logits,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cosine_similarity,
    cross_entropy,
    fold,
    gelu,
    group_norm,
    huber_loss,
    instance_norm,
    interpolate,
    kl_div,
    l1_loss,
    layer_norm,
    linear,
    log_softmax,
    max_pool1d,
    max_pool2d,
    mse_loss,
    nll_loss,
    one_hot,
    pad,
    rms_norm,
    rotary_embedding,
    scaled_dot_product_attention,
    sigmoid,
    smooth_l1_loss,
    softmax,
    softplus,
    tanh,
    triplet_margin_loss,
    unfold,
)

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d", "avg_pool1d",
    "avg_pool2d", "batch_norm", "binary_cross_entropy", "binary_cross_entropy_with_logits", "conv1d", "conv2d",
    "conv_transpose1d", "conv_transpose2d",
    "cosine_embedding_loss", "cosine_similarity", "cross_entropy", "dropout", "dropout1d", "dropout2d", "elu",
    "embedding", "fold", "gelu", "glu", "group_norm", "hardsigmoid", "hardswish", "hardtanh", "huber_loss",
    "instance_norm", "interpolate", "kl_div", "l1_loss", "layer_norm", "leaky_relu", "linear", "log_softmax",
    "logsigmoid", "max_pool1d", "max_pool2d", "mish", "mse_loss", "nll_loss", "normalize", "one_hot", "pad", "prelu",
    "relu", "relu6", "rms_norm", "rotary_embedding", "scaled_dot_product_attention", "selu", "sigmoid", "silu",
    "smooth_l1_loss", "softmax", "softmin", "softplus", "softsign", "tanh", "tanhshrink", "threshold",
    "triplet_margin_loss", "unfold",
]  # fmt: skip


def __dir__() -> list[str]:
    return __all__


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


# ---- activations -----------------------------------------------------------------------------------------------------


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(0, x)"""
    return _core.relu(input)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, negative_slope * x elsewhere"""
    return _core.leaky_relu(input, negative_slope)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x * sigmoid(x)"""
    return _core.silu(input)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(0, x), 6)"""
    return _core.clamp(input, 0, 6)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """min(max(min_val, x), max_val)"""
    return _core.clamp(input, min_val, max_val)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """relu6(x + 3) / 6"""
    return relu6(input + 3) / 6


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * relu6(x + 3) / 6"""
    return input * hardsigmoid(input)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x * tanh(softplus(x))"""
    return input * _core.tanh(_core.softplus(input))


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, alpha * (exp(x) - 1) elsewhere"""
    return _core.elu(input, alpha)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """SELU_SCALE * elu(x, SELU_ALPHA)"""
    return SELU_SCALE * elu(input, SELU_ALPHA)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, weight * x elsewhere; weight has one element, or one per channel (dim 1)"""
    if weight.numel() > 1:
        channels = input.shape[1] if input.dim() > 1 else 1
        if weight.numel() != channels:
            raise ValueError(f"prelu: weight has {weight.numel()} elements, input has {channels} channels")
        weight = weight.reshape((-1,) + (1,) * (input.dim() - 2))  # [C] -> [C, 1, ...]
    return _core.where(input > 0, input, weight * input)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x))"""
    return -_core.softplus(-input)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)"""
    return input / (1 + input.abs())


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)"""
    return input - _core.tanh(input)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x where x > threshold, value elsewhere"""
    return _core.where(input > threshold, input, value)


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a * sigmoid(b), the halves of x along dim"""
    if input.shape[dim] % 2:
        raise ValueError(f"glu: size {input.shape[dim]} of dim {dim} is odd")
    a, b = input.chunk(2, dim)
    return a * _core.sigmoid(b)


def softmin(input: Tensor, dim: int) -> Tensor:
    """softmax(-x)"""
    return _core.softmax(-input, dim)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x / max(|x|_p, eps) along dim"""
    return input / _core.clamp(input.norm(p, dim, True), min=eps)


# ---- dropout, embedding ----------------------------------------------------------------------------------------------


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Each element 0 with probability p, else divided by 1 - p."""
    return _core.dropout(input, p, training)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [N, C, L] or [C, L]."""
    return _core.dropout1d(input, p, training)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Whole channels of [N, C, H, W] or [C, H, W]."""
    return _core.dropout2d(input, p, training)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """weight[input]; row padding_idx gets no gradient.    int64 [...], [N, D] -> [..., D]"""
    return _core.embedding(input, weight, padding_idx)


# ---- losses made of ops ----------------------------------------------------------------------------------------------


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """mean, sum or none."""
    if reduction == "mean":
        return loss.mean()
    if reduction == "sum":
        return loss.sum()
    if reduction == "none":
        return loss
    raise ValueError(f"{reduction} is not a valid value for reduction")


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """-(t log p + (1 - t) log(1 - p)); each logarithm at least -100."""
    if input.shape != target.shape:
        raise ValueError(f"binary_cross_entropy: input is {tuple(input.shape)}, target {tuple(target.shape)}")
    loss = -(target * _core.clamp(input.log(), min=-100) + (1 - target) * _core.clamp((1 - input).log(), min=-100))
    return reduced(loss if weight is None else loss * weight, reduction)


def cosine_embedding_loss(
    input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos where target is 1, max(0, cos - margin) where it is -1.    [N, D], [N, D], [N]"""
    cos = _core.cosine_similarity(input1, input2, -1)
    return reduced(_core.where(target > 0, 1 - cos, _core.clamp(cos - margin, min=0)), reduction)
