"""cosine_similarity along one axis."""

import numpy as np


def cosine_similarity(a, b, axis=1, eps=1e-8):
    def length(v):
        return np.maximum(np.sqrt((v * v).sum(axis=axis)), v.dtype.type(eps))

    a, b = np.broadcast_arrays(a, b)
    return (a * b).sum(axis=axis) / (length(a) * length(b))
