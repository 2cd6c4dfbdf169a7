"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any

from .. import _core
from .optimizer import Optimizer, Params, require


class SGD(Optimizer):
    """g += weight_decay p;  b = momentum b + (1 - dampening) g, g at first;  p -= lr b (nesterov: g + momentum b)"""

    def __init__(
        self, params: Params, lr: float = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: float = 0,
        nesterov: bool = False, *, maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        require(lr >= 0, "learning rate", lr)
        require(momentum >= 0, "momentum value", momentum)
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, master_weights)

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("momentum_buffer",) if group["momentum"] else ()

    def _step_group(self, group: dict[str, Any], lists: dict[str, Any]) -> bool:
        return _core.sgd_step(
            group["params"], lists["masters"], lists["steps"], lists.get("momentum_buffer", []), group["lr"],
            group["momentum"], group["dampening"], group["weight_decay"], group["nesterov"], group["maximize"],
        )  # fmt: skip

    def _fill(self, p: Any, state: dict[str, Any], slots: tuple[str, ...]) -> None:
        if "step" not in state and "momentum_buffer" in state:  # from PyTorch, which keeps no count: not the first step
            state["step"] = _core.ones((), dtype=_core.float32)
        super()._fill(p, state, slots)
