"""group_norm: every group of channels of one sample to mean 0 and variance 1, then scaled and shifted per channel."""

import numpy as np

from reference.batch_norm import per_channel
from reference.layer_norm import layer_norm_backward, layer_norm_backward_size, layer_norm_forward


def rows(x, groups):
    return x.reshape(x.shape[0], groups, int(np.prod(x.shape[1:])) // groups)


def group_norm_forward(x, groups, w=1, b=0, eps=1e-5):
    h = layer_norm_forward(rows(x, groups), eps=eps).reshape(x.shape)
    return h * per_channel(w, x) + per_channel(b, x)


def group_norm_backward(dy, x, groups, w=1, eps=1e-5):
    dx = layer_norm_backward(rows(dy * per_channel(w, x), groups), rows(x, groups), 1, eps)[0].reshape(x.shape)
    h = layer_norm_forward(rows(x, groups), eps=eps).reshape(x.shape)
    axes = (0, *range(2, x.ndim))
    return dx, (dy * h).sum(axis=axes), dy.sum(axis=axes)


def normal_size(x, groups, eps=1e-5):
    """|h| + 1, the magnitude its rounding error is measured by."""
    with np.errstate(invalid="ignore"):
        return np.abs(group_norm_forward(x, groups, eps=eps)) + 1


def group_norm_backward_size(dy, x, groups, w=1, eps=1e-5):
    dx = layer_norm_backward_size(rows(dy * per_channel(w, x), groups), rows(x, groups), 1, eps)[0].reshape(x.shape)
    axes = (0, *range(2, x.ndim))
    return dx, (np.abs(dy) * normal_size(x, groups, eps)).sum(axis=axes), np.abs(dy).sum(axis=axes)
