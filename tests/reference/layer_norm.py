"""layer_norm over the last axis: y = (x - mean) / sqrt(var + eps) * w + b, row by row."""

import numpy as np


def statistics(x, eps):
    mean = x.mean(axis=-1, keepdims=True)
    mean = mean + (x - mean).mean(axis=-1, keepdims=True)  # what rounding left in the mean
    var = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
    return mean, 1 / np.sqrt(var + x.dtype.type(eps))


def layer_norm_forward(x, w=1, b=0, eps=1e-5):
    mean, rstd = statistics(x, eps)
    return (x - mean) * rstd * w + b


def layer_norm_backward(dy, x, w=1, eps=1e-5):
    mean, rstd = statistics(x, eps)
    xhat, g = (x - mean) * rstd, dy * w
    dx = rstd * (g - g.mean(axis=-1, keepdims=True) - xhat * (g * xhat).mean(axis=-1, keepdims=True))
    dw = (dy * xhat).reshape(-1, x.shape[-1]).sum(axis=0)
    db = dy.reshape(-1, x.shape[-1]).sum(axis=0)
    return dx, dw, db
