"""layer_norm over the last axis: y = (x - mean) / sqrt(var + eps) * w + b, row by row."""

import numpy as np


def centred(x):
    """x with its first element as zero: nothing but the mean changes, and the difference is exact in a wider type."""
    return x - x[..., :1]


def statistics(x, eps):
    mean = x.mean(axis=-1, keepdims=True)
    mean = mean + (x - mean).mean(axis=-1, keepdims=True)  # what rounding left in the mean
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return mean, 1 / np.sqrt(var + x.dtype.type(eps))


def layer_norm_forward(x, w=1, b=0, eps=1e-5):
    x = centred(x)
    mean, rstd = statistics(x, eps)
    return (x - mean) * rstd * w + b


def layer_norm_backward(dy, x, w=1, eps=1e-5):
    x = centred(x)
    mean, rstd = statistics(x, eps)
    xhat, g = (x - mean) * rstd, dy * w
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    dw = (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0)
    db = dy.reshape(-1, x.shape[-1]).sum(axis=0)
    return dx, dw, db


def layer_norm_backward_size(dy, x, w=1, eps=1e-5):
    """The same sums of absolute terms: what the rounding errors of dx, dw and db are measured by."""
    x = centred(x)
    mean, rstd = statistics(x, eps)
    h, g = np.abs((x - mean) * rstd) + 1, np.abs(dy * w)
    dx = rstd * (g + g.mean(axis=-1, keepdims=True) + h * (g * h).mean(axis=-1, keepdims=True))
    dw = (np.abs(dy) * h).reshape(-1, x.shape[-1]).sum(axis=0)
    db = np.abs(dy).reshape(-1, x.shape[-1]).sum(axis=0)
    return dx, dw, db
