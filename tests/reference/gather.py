"""gather and scatter, an element at a time."""

import numpy as np


def places(index, dim):
    """(where in index, where in x) for every element."""
    for at in np.ndindex(index.shape):
        yield at, (*at[:dim], int(index[at]), *at[dim + 1 :])


def gather(x, dim, index):
    y = np.zeros(index.shape, x.dtype)
    for at, there in places(index, dim):
        y[at] = x[there]
    return y


def scatter(x, dim, index, src):
    y = x.copy()
    for at, there in places(index, dim):
        y[there] = src[at]
    return y


def scatter_add(x, dim, index, src):
    y = x.copy()
    for at, there in places(index, dim):
        y[there] += src[at]
    return y
