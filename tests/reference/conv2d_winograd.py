"""Winograd's F(m x m, 3x3): y = A^T [(G w G^T) * (B^T x B)] A on tiles of m x m results, and its transpose for dw."""

import numpy as np

from reference.conv2d import by_groups


def matrices(points):
    """B^T [n, n], G [n, 3], A^T [n - 2, n] on these points and infinity: products of polynomials, and interpolation."""
    others = [[q for q in points if q != p] for p in points]
    input_rows = [[*np.poly(o)[::-1], 0] for o in others] + [np.poly(points)[::-1]]
    filter_rows = [np.power(p, range(3)) / np.prod(np.subtract(p, o)) for p, o in zip(points, others, strict=True)]
    out = len(points) - 1
    output_columns = [np.power(p, range(out)) for p in points] + [np.eye(out)[-1]]
    return np.array(input_rows), np.array([*filter_rows, [0, 0, 1]]), np.array(output_columns).T


WINOGRAD = {2: matrices([0.0, 1.0, -1.0]), 4: matrices([0.0, 0.75, -0.75, 1.5, -1.5])}


def tiles(x, size, step, rows, cols, pad=(0, 0)):
    """[n, c, rows, cols, size, size] windows of x, `step` apart, zero outside."""
    height, width = step * rows + size + x.shape[2], step * cols + size + x.shape[3]
    padded = np.zeros((*x.shape[:2], height + 2 * abs(pad[0]), width + 2 * abs(pad[1])), x.dtype)
    top, left = [abs(p) for p in pad]
    padded[:, :, top : top + x.shape[2], left : left + x.shape[3]] = x
    padded = padded[:, :, top - pad[0] :, left - pad[1] :]
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    return windows[:, :, : step * rows : step, : step * cols : step]


def winograd_forward(scheme, x, w, out, pad=(0, 0), groups=1, magnitude=False):
    """The convolution by tiles; with `magnitude`, sums of absolute values: the scale of rounding errors."""
    to_x, to_w, to_y = [np.abs(m) if magnitude else m for m in scheme]
    x, w = (np.abs(x), np.abs(w)) if magnitude else (x, w)
    size, step = len(to_x), len(to_y)
    rows, cols = -(-out[0] // step), -(-out[1] // step)
    v = to_x @ by_groups(tiles(x, size, step, rows, cols, pad), groups) @ to_x.T
    u = to_w @ w.reshape(groups, len(w) // groups, *w.shape[1:]) @ to_w.T
    y = to_y @ np.einsum("gkcab,ngctsab->ngktsab", u, v, optimize=True) @ to_y.T
    y = y.transpose(0, 1, 2, 3, 5, 4, 6).reshape(len(x), len(w), step * rows, step * cols)
    return y[:, :, : out[0], : out[1]]


def winograd_weight(scheme, dy, x, pad=(0, 0), groups=1, magnitude=False):
    """dw in the same domain: the transposed transforms around a sum over all tiles."""
    to_x, to_w, to_y = [np.abs(m) if magnitude else m for m in scheme]
    x, dy = (np.abs(x), np.abs(dy)) if magnitude else (x, dy)
    size, step = len(to_x), len(to_y)
    rows, cols = -(-dy.shape[2] // step), -(-dy.shape[3] // step)
    v = to_x @ by_groups(tiles(x, size, step, rows, cols, pad), groups) @ to_x.T
    e = to_y.T @ by_groups(tiles(dy, step, step, rows, cols), groups) @ to_y
    dw = to_w.T @ np.einsum("ngktsab,ngctsab->gkcab", e, v, optimize=True) @ to_w
    return dw.reshape(dy.shape[1], -1, 3, 3)


def turned(w, groups):
    """Filters whose correlation with dy is dx: [c, k / groups, ...], taps in reverse order."""
    k, c = len(w) // groups, w.shape[1]
    return w.reshape(groups, k, c, 3, 3).swapaxes(1, 2).reshape(groups * c, k, 3, 3)[..., ::-1, ::-1]
