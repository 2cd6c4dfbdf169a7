"""pool2d: each output looks at one window of its plane. Loops over outputs; x is [..., h, w]."""

import numpy as np


def strided_windows(size, kernel, stride, pad, dilation=1, ceil_mode=False):
    """For each output: the indices it looks at, and how many the average counts with the padding."""
    reach = dilation * (kernel - 1) + 1
    room = size + 2 * pad - reach
    outputs = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (outputs - 1) * stride >= size + pad:
        outputs -= 1
    first = [i * stride - pad for i in range(outputs)]
    inside = [[p for p in range(f, f + reach, dilation) if 0 <= p < size] for f in first]
    return inside, [min(f + reach, size + pad) - f for f in first]


def adaptive_windows(size, outputs):
    inside = [list(range(i * size // outputs, -(-(i + 1) * size // outputs))) for i in range(outputs)]
    return inside, [len(p) for p in inside]


def max_pool_forward(x, rows, cols):
    """The maxima and their flat index in the plane: the first NaN, else the first of the largest."""
    shape = (*x.shape[:-2], len(rows), len(cols))
    y, index = np.full(shape, -np.inf, x.dtype), np.full(shape, -1)
    for at in np.ndindex(*shape):
        *plane, i, j = at
        for r in rows[i]:
            for c in cols[j]:
                v = x[(*plane, r, c)]
                if index[at] < 0 or v > y[at] or (np.isnan(v) and not np.isnan(y[at])):
                    y[at], index[at] = v, r * x.shape[-1] + c
    return y, index


def max_pool_backward(dy, index, shape):
    dx = np.zeros((*shape[:-2], shape[-2] * shape[-1]), dy.dtype)
    for at in np.ndindex(*dy.shape):
        if index[at] >= 0:
            dx[(*at[:-2], index[at])] += dy[at]
    return dx.reshape(shape)


def avg_pool_forward(x, rows, cols, divisors):
    y = np.zeros((*x.shape[:-2], len(rows), len(cols)), x.dtype)
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            y[..., i, j] = x[..., r, :][..., c].sum(axis=(-2, -1)) / divisors[i][j]
    return y


def avg_pool_backward(dy, rows, cols, divisors, shape):
    dx = np.zeros(shape, dy.dtype)
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            for p in r:
                dx[..., p, c] += (dy[..., i, j] / divisors[i][j])[..., None]
    return dx
