"""The optimizer and schedule that the recipes share: AdamW, linear warm-up, cosine decay to 0."""

from __future__ import annotations

import math
from typing import Any

from .config import Config


def adamw(model: Any, config: Config, betas: tuple[float, float] = (0.9, 0.999)) -> Any:
    """AdamW that decays weight matrices and kernels, and leaves biases, norms and other vectors alone."""
    from littlecore import optim

    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return optim.AdamW([group for group in groups if group["params"]], lr=config.lr, betas=betas)


def warmup_cosine(optimizer: Any, steps: int, warmup: float) -> Any:
    """The rate rises linearly over the first `warmup` part of `steps`, then falls to 0 along half a cosine."""
    from littlecore.optim.lr_scheduler import LambdaLR

    rise = max(1, round(warmup * steps))

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))

    return LambdaLR(optimizer, factor)
