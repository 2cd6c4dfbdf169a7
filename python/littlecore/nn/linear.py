"""Linear, Identity, Flatten, Unflatten."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from .. import _core
from .._core import Tensor
from . import functional as F
from . import init
from .activation import GELU, ReLU, Sigmoid, SiLU, Tanh
from .dropout import Dropout
from .module import Module
from .parameter import uninitialized


class Linear(Module):
    """y = x @ weight.T + bias.    x [..., in_features] -> [..., out_features], weight [out_features, in_features]"""

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = uninitialized((out_features, in_features), device, dtype)
        if bias:
            self.bias = uninitialized(out_features, device, dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight and bias uniform in +-1/sqrt(in_features)."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


# ---- a Linear and what follows it, in one pass over the result ------------------------------------------------------

_NAMES: dict[Any, str] = {
    ReLU: "relu", GELU: "gelu", SiLU: "silu", Sigmoid: "sigmoid", Tanh: "tanh",
    F.relu: "relu", F.silu: "silu", F.sigmoid: "sigmoid", F.tanh: "tanh", F.gelu: "gelu",
}  # fmt: skip


def is_plain(module: Module) -> bool:
    """Nobody watches its calls or has replaced them."""
    return not module._hooked and "forward" not in module.__dict__


def fused_name(activation: Callable[[Tensor], Tensor]) -> str | None:
    """What F.linear calls this module or function, if it has it."""
    if not isinstance(activation, Module):
        return _NAMES.get(activation)
    name = _NAMES.get(type(activation))
    if name is None or not is_plain(activation):
        return None
    return "gelu_tanh" if name == "gelu" and activation.approximate == "tanh" else name


def linear_activation(linear: Module, activation: Callable[[Tensor], Tensor], input: Tensor) -> Tensor:
    """activation(linear(input)), in one pass where both are known and plain."""
    name = fused_name(activation) if type(linear) is Linear and is_plain(linear) else None
    return activation(linear(input)) if name is None else F.linear(input, linear.weight, linear.bias, name)


def drops(dropout: Module | None) -> bool:
    """Whether it changes anything, or may: it is none of ours, or watched."""
    idle = dropout is None or (type(dropout) is Dropout and is_plain(dropout) and not (dropout.training and dropout.p))
    return not idle


def linear_residual(linear: Module, input: Tensor, residual: Tensor | None, dropout: Module | None = None) -> Tensor:
    """residual + dropout(linear(input)), in one pass on CUDA where the linear is plain and nothing is dropped."""
    if type(linear) is Linear and is_plain(linear) and not drops(dropout):
        return F.linear(input, linear.weight, linear.bias, "none", residual)
    y = linear(input) if dropout is None else dropout(linear(input))
    return y if residual is None else residual + y


def feed_forward(
    input: Tensor, first: Module, activation: Callable[[Tensor], Tensor], second: Module, residual: Tensor | None,
    inner: Module | None = None, outer: Module | None = None,
) -> Tensor:  # fmt: skip
    """residual + outer(second(inner(activation(first(input))))): on CUDA in two products, three backward."""
    name = fused_name(activation)
    plain = all(type(layer) is Linear and is_plain(layer) for layer in (first, second))
    if plain and name is not None and not drops(inner) and not drops(outer):
        return _core.feed_forward(input, first.weight, second.weight, first.bias, second.bias, name, residual)
    h = linear_activation(first, activation, input)
    return linear_residual(second, h if inner is None else inner(h), residual, outer)


def add_to(residual: Tensor, module: Module, *inputs: Any) -> Tensor:
    """residual + module(*inputs) of a module that can add it itself; not where somebody watches what it returns."""
    return module(*inputs, residual=residual) if is_plain(module) else residual + module(*inputs)


class Identity(Module):
    """Returns its input; takes any arguments and ignores them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """Joins the dimensions start_dim..end_dim.    [N, C, H, W] -> [N, C*H*W]"""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits dimension `dim` into `unflattened_size`.    [N, C*H*W] -> [N, C, H, W]"""

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
