"""RNN, GRU and LSTM of several layers, in one or both directions; each layer and direction is one fused op."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from .. import _core
from .._core import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import uninitialized


class _Recurrent(Module):
    """input [T, N, in] (batch_first: [N, T, in]; or [T, in]) -> output [T, N, D*H], final state [layers*D, N, H]

    D is 2 if bidirectional, else 1. dropout acts on the output of every layer but the last, in training.
    """

    gates: int
    proj_size = 0  # LSTM only

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if hidden_size <= 0 or num_layers <= 0:
            raise ValueError(f"hidden_size {hidden_size} and num_layers {num_layers} must be positive")
        if not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.suffixes = ("", "_reverse") if bidirectional else ("",)
        rows, out = self.gates * hidden_size, self.proj_size or hidden_size
        for layer in range(num_layers):
            columns = input_size if layer == 0 else out * len(self.suffixes)
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, columns), "weight_hh": (rows, out)}
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
            if self.proj_size:
                shapes |= {"weight_hr": (out, hidden_size)}
            for suffix in self.suffixes:
                for name, shape in shapes.items():
                    value = uninitialized(shape, device, dtype)
                    self.register_parameter(f"{name}_l{layer}{suffix}", value)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Everything uniform in +-1/sqrt(hidden_size)."""
        bound = 1 / math.sqrt(self.hidden_size)
        for p in self.parameters():
            init.uniform_(p, -bound, bound)

    def weights(self, layer: int, suffix: str) -> tuple[Tensor | None, ...]:
        """weight_ih [G*H, in], weight_hh [G*H, H], bias_ih [G*H], bias_hh [G*H] of a layer and direction."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(self._parameters.get(f"{name}_l{layer}{suffix}") for name in names)

    @staticmethod
    def call(layer: Callable[..., Any], *args: Any) -> tuple[Tensor, ...]:
        return tuple(layer(*args))

    @abstractmethod
    def one_layer(self, x: Tensor, state: tuple[Tensor, ...], layer: int, suffix: str) -> tuple[Tensor, ...]:
        """(output, final states...) of one layer in one direction.    x [T, N, in], state [N, H] each"""

    def run(
        self, input: Tensor, states: tuple[Tensor, ...] | None, widths: tuple[int, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """All layers. `widths`: of the state tensors the cell has (LSTM: 2)."""
        batched = input.dim() == 3
        if input.dim() not in (2, 3) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{type(self).__name__}: input is {tuple(input.shape)}, "
                f"expected 2 or 3 dimensions, the last {self.input_size}"
            )
        x = (input.transpose(0, 1) if self.batch_first else input) if batched else input.unsqueeze(1)  # [T, N, in]
        total, n = self.num_layers * len(self.suffixes), x.shape[1]
        if states is None:
            states = tuple(_core.zeros((total, n, width), dtype=x.dtype, device=x.device) for width in widths)
        elif not batched:
            states = tuple(s.unsqueeze(1) for s in states)
        for s, width in zip(states, widths, strict=True):
            if tuple(s.shape) != (total, n, width):
                raise ValueError(f"{type(self).__name__}: state is {tuple(s.shape)}, expected {(total, n, width)}")

        finals: list[tuple[Tensor, ...]] = []
        for layer in range(self.num_layers):
            outputs = []
            for suffix in self.suffixes:
                start = tuple(s[len(finals)] for s in states)  # [N, H]
                y, *final = self.one_layer(x, start, layer, suffix)
                outputs.append(y)
                finals.append(tuple(final))
            x = outputs[0] if len(outputs) == 1 else _core.cat(outputs, -1)  # [T, N, D*H]
            if self.dropout > 0 and self.training and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout)

        last = tuple(_core.stack(list(kind), 0) for kind in zip(*finals, strict=True))  # [layers*D, N, H] each
        if not batched:
            return x.squeeze(1), tuple(s.squeeze(1) for s in last)
        return (x.transpose(0, 1) if self.batch_first else x), last

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
        y, (h,) = self.run(input, None if hx is None else (hx,), (self.hidden_size,))
        return y, h

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        shown = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        return text + "".join(
            f", {k}={getattr(self, k)}" for k, default in shown.items() if getattr(self, k) != default
        )


class RNN(_Recurrent):
    """h = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)
        self.nonlinearity = nonlinearity

    def one_layer(self, x: Tensor, state: tuple[Tensor, ...], layer: int, suffix: str) -> tuple[Tensor, ...]:
        return self.call(_core.rnn_layer, x, *state, *self.weights(layer, suffix), self.nonlinearity, bool(suffix))


class GRU(_Recurrent):
    """r, z gates and candidate n: h = (1 - z) n + z h."""

    gates = 3

    def one_layer(self, x: Tensor, state: tuple[Tensor, ...], layer: int, suffix: str) -> tuple[Tensor, ...]:
        return self.call(_core.gru_layer, x, *state, *self.weights(layer, suffix), bool(suffix))


class LSTM(_Recurrent):
    """i, f, g, o gates: c = f c + i g, h = o tanh(c); with proj_size P, h = W_hr (o tanh(c)) is P wide."""

    gates = 4

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if proj_size and not 0 < proj_size < hidden_size:
            raise ValueError(f"proj_size {proj_size} must be 0 (none) or smaller than hidden_size {hidden_size}")
        object.__setattr__(self, "proj_size", proj_size)
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype)

    def one_layer(self, x: Tensor, state: tuple[Tensor, ...], layer: int, suffix: str) -> tuple[Tensor, ...]:
        projection = self._parameters.get(f"weight_hr_l{layer}{suffix}")
        return self.call(_core.lstm_layer, x, *state, *self.weights(layer, suffix), projection, bool(suffix))

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, (h, c) = self.run(input, hx, (self.proj_size or self.hidden_size, self.hidden_size))
        return y, (h, c)
