"""cross_entropy over axis 1: -sum_c weight[c] * q[c] * log softmax(x)[c], q being the smoothed target distribution.

Returns the loss and, for its gradient taken as 1 (or as dy, one number a row, without reduction), dx and dq.
"""

import numpy as np


def distribution(target, classes, ignore_index, dtype):
    """One row per element of target: one-hot, or nothing where it is ignored."""
    counted = target != ignore_index
    q = np.zeros((*target.shape, classes), dtype)
    np.put_along_axis(q, np.where(counted, target, 0)[..., None], counted[..., None].astype(dtype), -1)
    return np.moveaxis(q, -1, 1), counted


def weighted(x, target, weight, ignore_index, label_smoothing):
    """(weight * q for every row and class, weight, the divisor of the mean)"""
    classes = x.shape[1]
    w = (np.ones(classes, x.dtype) if weight is None else weight).reshape(-1, *[1] * (x.ndim - 2))
    if target.dtype.kind == "f":
        q, counted, divisor = target, np.ones((x.shape[0], *x.shape[2:]), bool), x.size // classes
    else:
        q, counted = distribution(target, classes, ignore_index, x.dtype)
        divisor = (w * q).sum()
    smooth = x.dtype.type(label_smoothing)
    return w * ((1 - smooth) * q + smooth / classes) * counted[:, None], w, divisor


def reduce(rows, reduction, divisor):
    return rows if reduction == "none" else rows.sum() / (divisor if reduction == "mean" else 1)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0, dy=1):
    wq, w, divisor = weighted(x, target, weight, ignore_index, label_smoothing)
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = -(wq * log_p).sum(axis=1)

    g = np.broadcast_to(np.asarray(dy, x.dtype), rows.shape)[:, None] / (divisor if reduction == "mean" else 1)
    dx = g * (np.exp(log_p) * wq.sum(axis=1, keepdims=True) - wq)
    return reduce(rows, reduction, divisor), dx, -g * w * (1 - x.dtype.type(label_smoothing)) * log_p


def magnitude(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """The loss with |x - max| + 8 for each logarithm, which is known to as many roundings of one."""
    wq, _, divisor = weighted(x, target, weight, ignore_index, label_smoothing)
    return reduce((np.abs(wq) * (x.max(axis=1, keepdims=True) - x + 8)).sum(axis=1), reduction, divisor)
