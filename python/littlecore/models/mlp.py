"""Multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from .. import nn
from .._core import Tensor


class MLP(nn.Module):
    """Linear layers of the given widths with an activation between them.    [N, sizes[0]] -> [N, sizes[-1]]

    The default, 50-25-10-2, is the network of The Little Book of Deep Learning, section 5.1: 1,557 parameters.
    """

    def __init__(
        self, sizes: Sequence[int] = (50, 25, 10, 2), activation: Callable[[], nn.Module] = nn.ReLU,
        dropout: float = 0.0, device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if len(sizes) < 2:
            raise ValueError(f"MLP: at least an input and an output width are needed, got {tuple(sizes)}")
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            if i > 0:
                layers.append(activation())
                if dropout > 0:
                    layers.append(nn.Dropout(dropout))
            layers.append(nn.Linear(inputs, outputs, device=device, dtype=dtype))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1))  # [N, C, H, W] -> [N, C*H*W]


def mlp(sizes: Sequence[int] = (50, 25, 10, 2), **options: Any) -> MLP:
    """An MLP of these widths."""
    return MLP(sizes, **options)
