"""embedding: y[p] = w[index[p]]."""

import numpy as np


def embedding_forward(index, w):
    return w[index]


def embedding_backward(dy, index, rows, padding=None):
    dw = np.zeros((rows, dy.shape[-1]), dy.dtype)
    for p in np.ndindex(index.shape):
        if padding is None or index[p] != padding % rows:
            dw[index[p]] += dy[p]
    return dw
