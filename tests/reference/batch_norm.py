"""batch_norm: y = (x - mean) / sqrt(var + eps) * w + b with one mean and one variance per channel, axis 1 of x."""

import numpy as np


def per_channel(v, x):
    return np.asarray(v, x.dtype).reshape(-1, *[1] * (x.ndim - 2))


def centred(x):
    """x with every channel's first element as zero, and what was taken off: exact in a wider type."""
    start = x[:1].reshape(1, x.shape[1], -1)[:, :, :1].reshape(1, -1, *[1] * (x.ndim - 2))
    return x - start, start


def statistics(x):
    """Mean and (biased) variance per channel, keeping the axes."""
    axes = (0, *range(2, x.ndim))
    mean = x.mean(axis=axes, keepdims=True)
    mean = mean + (x - mean).mean(axis=axes, keepdims=True)  # what rounding left in the mean
    return mean, ((x - mean) ** 2).mean(axis=axes, keepdims=True)


def batch_norm_forward(x, mean, var, w=1, b=0, eps=1e-5):
    return (x - mean) / np.sqrt(var + x.dtype.type(eps)) * per_channel(w, x) + per_channel(b, x)


def batch_norm_backward(dy, x, mean, var, w, eps, training):
    axes = (0, *range(2, x.ndim))
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    xhat = (x - mean) * rstd
    dw, db = (dy * xhat).sum(axis=axes), dy.sum(axis=axes)
    pull = dy.mean(axis=axes, keepdims=True) + xhat * (dy * xhat).mean(axis=axes, keepdims=True) if training else 0
    return per_channel(w, x) * rstd * (dy - pull), dw, db


def moved(running, statistic, momentum):
    return (1 - momentum) * running + momentum * statistic


def batch_norm_backward_size(dy, x, mean, var, w, eps, training):
    """The same sums of absolute terms: what the rounding errors of dx, dw and db are measured by."""
    axes = (0, *range(2, x.ndim))
    rstd = 1 / np.sqrt(var + x.dtype.type(eps))
    h, g = np.abs((x - mean) * rstd) + 1, np.abs(dy)
    pull = g.mean(axis=axes, keepdims=True) + h * (g * h).mean(axis=axes, keepdims=True) if training else 0
    return np.abs(per_channel(w, x)) * rstd * (g + pull), (g * h).sum(axis=axes), g.sum(axis=axes)
