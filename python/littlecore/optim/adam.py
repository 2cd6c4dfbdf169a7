"""Adam, and AdamW, whose weight decay does not pass through the moments."""

from __future__ import annotations

from typing import Any

from .. import _core
from .optimizer import Optimizer, Params, require


class Adam(Optimizer):
    """g += weight_decay p;  m += (1-b1)(g - m);  v = b2 v + (1-b2) g^2;  p -= lr m' / (sqrt(v') + eps)

    with m' = m / (1-b1^t), v' = v / (1-b2^t). amsgrad: v is the largest so far.
    """

    decoupled = False

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 0, amsgrad: bool = False, *, maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        require(lr >= 0, "learning rate", lr)
        require(eps >= 0, "epsilon value", eps)
        require(0 <= betas[0] < 1, "beta parameter at index 0", betas[0])
        require(0 <= betas[1] < 1, "beta parameter at index 1", betas[1])
        require(weight_decay >= 0, "weight_decay value", weight_decay)
        defaults = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults, master_weights)

    def slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _step_group(self, group: dict[str, Any], lists: dict[str, Any]) -> bool:
        beta1, beta2 = group["betas"]
        return _core.adam_step(
            group["params"], lists["masters"], lists["steps"], lists["exp_avg"], lists["exp_avg_sq"],
            lists.get("max_exp_avg_sq", []), group["lr"], beta1, beta2, group["eps"], group["weight_decay"],
            group["amsgrad"], self.decoupled, group["maximize"],
        )  # fmt: skip


class AdamW(Adam):
    """Adam with p *= 1 - lr weight_decay before the step instead of weight_decay p in the gradient."""

    decoupled = True

    def __init__(
        self, params: Params, lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
        weight_decay: float = 1e-2, amsgrad: bool = False, *, maximize: bool = False, master_weights: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, master_weights=master_weights
        )
