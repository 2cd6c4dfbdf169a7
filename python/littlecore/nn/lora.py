"""Low-rank adapters (Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022), also on weights of few
bits (Dettmers et al., QLoRA: Efficient Finetuning of Quantized LLMs, NeurIPS 2023)."""

from __future__ import annotations

import math
from typing import Any

from .. import _core
from .._core import Tensor
from ..autograd import no_grad
from . import functional as F
from . import init
from .linear import Linear
from .module import Module
from .parameter import Parameter
from .quantization import QuantizedLinear


class LoRALinear(Module):
    """base(x) + scale * (x @ lora_A.T) @ lora_B.T, with a frozen base.    [..., in_features] -> [..., out_features]

    base: a Linear or a QuantizedLinear. lora_A [rank, in_features] starts Gaussian and lora_B [out_features, rank] as
    zeros, so that at first nothing is added. scale is alpha / rank; alpha defaults to rank.
    """

    def __init__(self, base: Linear | QuantizedLinear, rank: int = 4, alpha: float | None = None) -> None:
        super().__init__()
        if not 1 <= rank <= min(base.in_features, base.out_features):
            raise ValueError(
                f"LoRALinear: rank must be 1 to {min(base.in_features, base.out_features)} for a layer from "
                f"{base.in_features} to {base.out_features} features, got {rank}"
            )
        self.base = base.requires_grad_(False)
        self.rank, self.scale = rank, (rank if alpha is None else alpha) / rank
        self.lora_A = Parameter(init.normal_(_core.empty((rank, base.in_features)), std=1 / math.sqrt(rank)))
        self.lora_B = Parameter(_core.zeros((base.out_features, rank)))
        self.training = base.training

    def forward(self, input: Tensor) -> Tensor:
        return self.base(input) + self.scale * F.linear(F.linear(input, self.lora_A), self.lora_B)

    def merged(self) -> Linear:
        """One Linear that computes the same."""
        base = self.base
        own = Linear(base.in_features, base.out_features, bias=base.bias is not None)
        weight = base.dequantized() if isinstance(base, QuantizedLinear) else base.weight
        with no_grad():
            own.weight.copy_(weight + self.scale * (self.lora_B @ self.lora_A))
            if base.bias is not None:
                own.bias.copy_(base.bias)
        return own.train(self.training)

    def extra_repr(self) -> str:
        return f"rank={self.rank}, scale={self.scale:g}"


def add_lora(model: Any, rank: int = 4, alpha: float | None = None, bits: int | None = None) -> Any:
    """`model` with all its parameters frozen and every Linear in it replaced by a LoRALinear.

    bits: keep the frozen weights in 8 or 4 bits. rank is reduced to the smaller side of a layer that is narrower. A
    Linear that shares its weight with another module keeps sharing it unless `bits` makes it a copy.
    """
    model.requires_grad_(False)
    return _wrapped(model, rank, alpha, bits)


def _wrapped(model: Any, rank: int, alpha: float | None, bits: int | None) -> Any:
    if type(model) is Linear:
        base = model if bits is None else QuantizedLinear.from_float(model, bits)
        return LoRALinear(base, min(rank, model.in_features, model.out_features), alpha)
    for name, child in list(model._modules.items()):
        if child is not None:
            setattr(model, name, _wrapped(child, rank, alpha, bits))
    return model


def merge_lora(model: Any) -> Any:
    """`model` with every LoRALinear in it replaced by the Linear that computes the same."""
    if isinstance(model, LoRALinear):
        return model.merged()
    for name, child in list(model._modules.items()):
        if child is not None:
            setattr(model, name, merge_lora(child))
    return model
