"""Linear layers with frozen weights of 8 or 4 bits."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import Tensor
from .linear import Linear
from .module import Module


class QuantizedLinear(Module):
    """A Linear whose weight is kept in 8 bits, with one scale a row, or in 4, with one for every 32 columns. It has a
    gradient for its input alone. `quantize` makes these of a model's Linear layers."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, bits: int = 8) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.bits = bits
        codes, scales = _core.quantize_weight(_core.zeros((out_features, in_features)), bits)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", _core.zeros((out_features,)) if bias else None)

    @classmethod
    def from_float(cls, linear: Linear, bits: int = 8) -> QuantizedLinear:
        """What `linear` computes, to within half a scale in each weight."""
        own = cls(0, 0, False, bits)
        own.in_features, own.out_features = linear.in_features, linear.out_features
        own.codes, own.scales = _core.quantize_weight(linear.weight.detach(), bits)
        own.bias = None if linear.bias is None else linear.bias.detach()
        own.training = linear.training
        return own

    def dequantized(self) -> Tensor:
        """The weight that it multiplies with, as float32 [out_features, in_features]."""
        return _core.dequantize_weight(self.codes, self.scales, self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        return _core.quantized_linear(input, self.codes, self.scales, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}, "
            f"bits={self.bits}"
        )


def quantize(model: Any, bits: int = 8) -> Any:
    """`model` with every Linear in it replaced by a QuantizedLinear; one that shares its weight becomes a copy."""
    if type(model) is Linear:
        return QuantizedLinear.from_float(model, bits)
    for name, child in list(model._modules.items()):
        if child is not None:
            setattr(model, name, quantize(child, bits))
    return model
