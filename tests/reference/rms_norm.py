"""rms_norm over the last axis: y = x / sqrt(mean(x^2) + eps) * w, row by row."""

import numpy as np


def rms_norm_forward(x, w=1, eps=1e-5):
    return x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(eps)) * w


def rms_norm_backward(dy, x, w=1, eps=1e-5):
    rstd = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
    xhat, g = x * rstd, dy * w
    dx = rstd * (g - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    return dx, (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0)


def rms_norm_backward_size(dy, x, w=1, eps=1e-5):
    """The same sums of absolute terms: what the rounding errors of dx and dw are measured by."""
    rstd = 1 / np.sqrt((x * x).mean(axis=-1, keepdims=True) + x.dtype.type(eps))
    h, g = np.abs(x * rstd), np.abs(dy * w)
    dx = rstd * (g + h * (g * h).mean(axis=-1, keepdims=True))
    return dx, (np.abs(dy) * h).reshape(-1, x.shape[-1]).sum(axis=0)
