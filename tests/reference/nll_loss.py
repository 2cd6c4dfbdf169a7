"""nll_loss: -weight[t] * x[t] over axis 1 of log-probabilities; the loss and, for dy, dx."""

import numpy as np

from reference.cross_entropy import distribution


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean", dy=1):
    w = (np.ones(x.shape[1], x.dtype) if weight is None else weight).reshape(-1, *[1] * (x.ndim - 2))
    chosen = w * distribution(target, x.shape[1], ignore_index, x.dtype)[0]
    loss = -(chosen * x).sum(axis=1)
    if reduction == "none":
        return loss, -np.expand_dims(np.broadcast_to(dy, loss.shape), 1) * chosen
    divisor = chosen.sum() if reduction == "mean" else 1
    with np.errstate(invalid="ignore"):  # nothing counted: 0 / 0
        return loss.sum() / divisor, np.where(chosen == 0, 0, -dy * chosen / divisor)
