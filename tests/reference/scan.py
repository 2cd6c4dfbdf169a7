"""cumsum and cumprod, and the gradient of cumprod by its definition."""

import numpy as np
from numpy import cumprod, cumsum

__all__ = ["cumprod", "cumprod_backward", "cumsum"]


def cumprod_backward(dy, x, axis):
    """dx[i] = sum over j >= i of dy[j] * product of x[k], k <= j, k != i."""
    x, dy = np.moveaxis(x, axis, 0), np.moveaxis(dy, axis, 0)
    dx = np.zeros_like(dy)
    for i in range(len(x)):
        others = x.copy()
        others[i] = 1
        dx[i] = (dy * np.cumprod(others, 0))[i:].sum(0)
    return np.moveaxis(dx, 0, axis)
