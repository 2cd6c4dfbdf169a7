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


# Winograd's F(4x4, 3x3) on the points 0, +-a, +-b and infinity: y = A^T [(G w G^T) * (B^T x B)] A on tiles.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)


def winograd_matrices():
    """B^T [6, 6], G [6, 3], A^T [4, 6]: products of polynomials at the points, and their interpolation."""
    others = [[q for q in POINTS if q != p] for p in POINTS]
    input_rows = [[*np.poly(o)[::-1], 0] for o in others] + [np.poly(POINTS)[::-1]]
    filter_rows = [np.power(p, range(3)) / np.prod(np.subtract(p, o)) for p, o in zip(POINTS, others, strict=True)]
    output_columns = [np.power(p, range(4)) for p in POINTS] + [[0, 0, 0, 1]]
    return np.array(input_rows), np.array([*filter_rows, [0, 0, 1]]), np.array(output_columns).T


def tiles(x, size, rows, cols, pad=(0, 0)):
    """[n, c, rows, cols, size, size] windows of x 4 apart, zero outside."""
    padded = np.zeros((*x.shape[:2], 4 * rows + 8, 4 * cols + 8), x.dtype)
    low = [max(-p, 0) for p in pad]
    kept = x[:, :, low[0] :, low[1] :][:, :, : 4 * rows + 8 - max(pad[0], 0), : 4 * cols + 8 - max(pad[1], 0)]
    top, left = max(pad[0], 0), max(pad[1], 0)
    padded[:, :, top : top + kept.shape[2], left : left + kept.shape[3]] = kept
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    return windows[:, :, : 4 * rows : 4, : 4 * cols : 4]


def winograd_forward(x, w, out, pad=(0, 0), groups=1, magnitude=False):
    """The convolution by tiles; with `magnitude`, sums of absolute values: the scale of rounding errors."""
    to_x, to_w, to_y = [np.abs(m) if magnitude else m for m in winograd_matrices()]
    x, w = (np.abs(x), np.abs(w)) if magnitude else (x, w)
    rows, cols = -(-out[0] // 4), -(-out[1] // 4)
    v = to_x @ by_groups(tiles(x, 6, rows, cols, pad), groups) @ to_x.T
    u = to_w @ w.reshape(groups, len(w) // groups, *w.shape[1:]) @ to_w.T
    y = to_y @ np.einsum("gkcab,ngctsab->ngktsab", u, v, optimize=True) @ to_y.T
    y = y.transpose(0, 1, 2, 3, 5, 4, 6).reshape(len(x), len(w), 4 * rows, 4 * cols)
    return y[:, :, : out[0], : out[1]]


def winograd_weight(dy, x, pad=(0, 0), groups=1, magnitude=False):
    """dw in the same domain: the transposed transforms around a sum over all tiles."""
    to_x, to_w, to_y = [np.abs(m) if magnitude else m for m in winograd_matrices()]
    x, dy = (np.abs(x), np.abs(dy)) if magnitude else (x, dy)
    rows, cols = -(-dy.shape[2] // 4), -(-dy.shape[3] // 4)
    v = to_x @ by_groups(tiles(x, 6, rows, cols, pad), groups) @ to_x.T
    e = to_y.T @ by_groups(tiles(dy, 4, rows, cols), groups) @ to_y
    dw = to_w.T @ np.einsum("ngktsab,ngctsab->gkcab", e, v, optimize=True) @ to_w
    return dw.reshape(dy.shape[1], -1, 3, 3)


def turned(w, groups):
    """Filters whose correlation with dy is dx: [c, k / groups, ...], taps in reverse order."""
    k, c = len(w) // groups, w.shape[1]
    return w.reshape(groups, k, c, 3, 3).swapaxes(1, 2).reshape(groups * c, k, 3, 3)[..., ::-1, ::-1]
