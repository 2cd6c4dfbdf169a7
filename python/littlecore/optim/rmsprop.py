"""RMSprop."""

from __future__ import annotations

from typing import Any

from .. import _core
from .optimizer import Optimizer, Params, require


class RMSprop(Optimizer):
    """v = alpha v + (1-alpha) g^2;  d = g / (sqrt(v) + eps) (centered: v less the mean's square);  b = momentum b + d;
    p -= lr b
    """

    def __init__(
        self, params: Params, lr: float = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, *, maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        require(lr >= 0, "learning rate", lr)
        require(eps >= 0, "epsilon value", eps)
        require(momentum >= 0, "momentum value", momentum)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        require(alpha >= 0, "alpha value", alpha)
        defaults = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, master_weights)

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return tuple(names)

    def _step_group(self, group: dict[str, Any], lists: dict[str, Any]) -> bool:
        return _core.rmsprop_step(
            group["params"], lists["masters"], lists["steps"], lists["square_avg"], lists.get("momentum_buffer", []),
            lists.get("grad_avg", []), group["lr"], group["alpha"], group["eps"], group["weight_decay"],
            group["momentum"], group["centered"], group["maximize"],
        )  # fmt: skip
