"""triplet_margin_loss over the last axis."""

import numpy as np


def triplet_margin_loss(anchor, positive, negative, margin=1.0, p=2.0, eps=1e-6, swap=False):
    def distance(x, y):
        return (np.abs(x - y + x.dtype.type(eps)) ** p).sum(axis=-1) ** (1 / p)

    far = distance(anchor, negative)
    if swap:
        far = np.minimum(far, distance(positive, negative))
    return np.maximum(0, margin + distance(anchor, positive) - far)
