"""group_norm: every group of channels of one sample to mean 0 and variance 1, then scaled and shifted per channel."""

import numpy as np

from reference.batch_norm import per_channel
from reference.layer_norm import layer_norm_backward, layer_norm_forward


def group_norm_forward(x, groups, w=1, b=0, eps=1e-5):
    h = layer_norm_forward(x.reshape(x.shape[0], groups, -1), eps=eps).reshape(x.shape)
    return h * per_channel(w, x) + per_channel(b, x)


def group_norm_backward(dy, x, groups, w=1, eps=1e-5):
    rows = (x.shape[0], groups, -1)
    g = dy * per_channel(w, x)
    dx = layer_norm_backward(g.reshape(rows), x.reshape(rows), 1, eps)[0].reshape(x.shape)
    h = layer_norm_forward(x.reshape(rows), eps=eps).reshape(x.shape)
    axes = (0, *range(2, x.ndim))
    return dx, (dy * h).sum(axis=axes), dy.sum(axis=axes)


def normal_size(x, groups, eps):
    """|h| + 1, the magnitude its rounding error is measured by."""
    with np.errstate(invalid="ignore"):
        return np.abs(group_norm_forward(x, groups, eps=eps)) + 1
