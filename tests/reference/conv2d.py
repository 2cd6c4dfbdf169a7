"""conv2d: y[n,k,i,j] = b[k] + sum over c, r, s of x[n, c, i*stride + r*dilation - pad, ...] * w[k,c,r,s], by groups."""

import numpy as np


def output_size(size, kernel, stride, pad, dilation):
    return (size + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1


def taps(x, w, stride, pad, dilation):
    """For each tap (r, s): its row and column, and the window of the padded image it sees."""
    padded = np.zeros((*x.shape[:2], x.shape[2] + 2 * pad[0], x.shape[3] + 2 * pad[1]), x.dtype)
    padded[:, :, pad[0] : pad[0] + x.shape[2], pad[1] : pad[1] + x.shape[3]] = x
    h, w_ = [output_size(x.shape[2 + a], w.shape[2 + a], stride[a], pad[a], dilation[a]) for a in (0, 1)]
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            top, left = r * dilation[0], s * dilation[1]
            rows = slice(top, top + (h - 1) * stride[0] + 1, stride[0])
            cols = slice(left, left + (w_ - 1) * stride[1] + 1, stride[1])
            yield r, s, padded[:, :, rows, cols], (rows, cols), padded


def by_groups(x, groups):
    return x.reshape(x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])


def conv2d_forward(x, w, b=None, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1):
    filters = w.reshape(groups, len(w) // groups, *w.shape[1:])
    y = 0
    for r, s, window, _, _ in taps(x, w, stride, pad, dilation):
        y = y + np.einsum("ngchw,gkc->ngkhw", by_groups(window, groups), filters[..., r, s])
    y = y.reshape(x.shape[0], w.shape[0], *y.shape[3:])
    return y if b is None else y + b[:, None, None]


def conv2d_backward(dy, x, w, stride=(1, 1), pad=(0, 0), dilation=(1, 1), groups=1):
    filters, g = w.reshape(groups, len(w) // groups, *w.shape[1:]), by_groups(dy, groups)
    dw, dx = np.zeros_like(filters), None
    for r, s, window, (rows, cols), padded in taps(x, w, stride, pad, dilation):
        dw[..., r, s] = np.einsum("ngkhw,ngchw->gkc", g, by_groups(window, groups))
        dx = np.zeros_like(padded) if dx is None else dx
        dx[:, :, rows, cols] += np.einsum("ngkhw,gkc->ngchw", g, filters[..., r, s]).reshape(window.shape)
    dx = dx[:, :, pad[0] : pad[0] + x.shape[2], pad[1] : pad[1] + x.shape[3]]
    return dx, dw.reshape(w.shape), dy.sum(axis=(0, 2, 3))
