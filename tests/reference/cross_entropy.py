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


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0, dy=1):
    classes = x.shape[1]
    w = (np.ones(classes, x.dtype) if weight is None else weight).reshape(-1, *[1] * (x.ndim - 2))
    if target.dtype.kind == "f":
        q, counted, divisor = target, np.ones((x.shape[0], *x.shape[2:]), bool), x.size // classes
    else:
        q, counted = distribution(target, classes, ignore_index, x.dtype)
        divisor = (w * q).sum()
    smooth = x.dtype.type(label_smoothing)
    q = ((1 - smooth) * q + smooth / classes) * counted[:, None]
    shifted = x - x.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = -(w * q * log_p).sum(axis=1)

    g = np.broadcast_to(np.asarray(dy, x.dtype), loss.shape)[:, None]
    if reduction == "mean":
        loss, g = loss.sum() / divisor, g / divisor
    elif reduction == "sum":
        loss = loss.sum()
    dx = g * (np.exp(log_p) * (w * q).sum(axis=1, keepdims=True) - w * q)
    return loss, dx, -g * w * (1 - smooth) * log_p
