"""matmul over the last two axes, batch axes broadcast; a 1-d operand is a row on the left, a column on the right."""

import numpy as np


def matmul_forward(a, b):
    return np.matmul(a, b)


def matmul_backward(dy, a, b):
    a2, b2 = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    dy = np.expand_dims(dy, -1) if b.ndim == 1 else dy
    dy = np.expand_dims(dy, -2) if a.ndim == 1 else dy
    da, db = dy @ np.swapaxes(b2, -1, -2), np.swapaxes(a2, -1, -2) @ dy
    return _sum_to(da, a2.shape).reshape(a.shape), _sum_to(db, b2.shape).reshape(b.shape)


def _sum_to(x, shape):
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1 and x.shape[i] != 1), keepdims=True)
