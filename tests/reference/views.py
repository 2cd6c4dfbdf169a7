"""views: NumPy's own views, under the names they have here."""

import numpy as np


def narrow(x, dim, start, length):
    return np.moveaxis(np.moveaxis(x, dim, 0)[start : start + length], 0, dim)


def select(x, dim, index):
    return np.moveaxis(x, dim, 0)[index, ...]


def unflatten(x, dim, sizes):
    dim %= x.ndim
    return x.reshape(x.shape[:dim] + tuple(sizes) + x.shape[dim + 1 :])


def flatten(x, start, end):
    start, end = start % x.ndim, end % x.ndim
    return x.reshape((*x.shape[:start], -1 if x.size else int(np.prod(x.shape[start : end + 1])), *x.shape[end + 1 :]))


def split(x, size, dim):
    return np.split(x, range(size, x.shape[dim], size), axis=dim)


def chunk(x, chunks, dim):
    return split(x, max(1, -(-x.shape[dim] // chunks)), dim)


def unbind(x, dim):
    return [select(x, dim, i) for i in range(x.shape[dim])]


def shares_memory_when_reshaped(x, shape):
    """Whether strides can show x in this shape."""
    try:
        np.reshape(x, shape, copy=False)
    except ValueError:
        return False
    return True
