"""resample's members: pad, interpolate, unfold and fold, a loop over the places of the output each."""

import numpy as np


def padded_index(i, size, mode):
    """The source of place i of an axis of `size`; None where the constant goes."""
    if 0 <= i < size:
        return i
    if mode == "reflect":
        return -i if i < 0 else 2 * (size - 1) - i
    if mode == "replicate":
        return 0 if i < 0 else size - 1
    return i % size if mode == "circular" else None


def pad_forward(x, padding, mode, value):
    for axis, (before, after) in enumerate(zip(padding[::2], padding[1::2], strict=True)):
        x = np.moveaxis(x, -1 - axis, 0)
        index = [padded_index(i, len(x), mode) for i in range(-before, len(x) + after)]
        rows = [np.full(x.shape[1:], value, x.dtype) if i is None else x[i] for i in index]
        x = np.moveaxis(np.stack(rows) if rows else x[:0], 0, -1 - axis)
    return x


def interpolation_weights(size, out, mode, align_corners, scale):
    """[out, size]: what each input contributes to each output of one axis."""
    weights = np.zeros((out, size))
    step = 1 / scale if scale else size / out
    if align_corners:
        step = (size - 1) / (out - 1) if out > 1 else 0
    for i in range(out):
        if mode == "nearest":
            weights[i, min(int(np.floor(np.float32(i) * np.float32(step))), size - 1)] = 1
        elif mode == "area":
            begin, end = i * size // out, -(-(i + 1) * size // out)
            weights[i, begin:end] = 1 / (end - begin)
        elif mode == "linear":
            at = i * step if align_corners else max((i + 0.5) * step - 0.5, 0)
            low = min(int(at), size - 1)
            share = min(at - low, 1)
            weights[i, low] += 1 - share
            weights[i, min(low + 1, size - 1)] += share
        else:
            at = i * step if align_corners else (i + 0.5) * step - 0.5
            for p in range(int(np.floor(at)) - 1, int(np.floor(at)) + 3):
                t = abs(at - p)
                w = 1.25 * t**3 - 2.25 * t**2 + 1 if t <= 1 else -0.75 * (t**3 - 5 * t**2 + 8 * t - 4)
                weights[i, min(max(p, 0), size - 1)] += w
    return weights


def interpolate_forward(x, weights):
    """x: [n, c, ...]; weights: one matrix per axis after those."""
    for axis, w in enumerate(weights):
        x = np.moveaxis(np.tensordot(x, w, axes=(2 + axis, 1)), -1, 2 + axis)
    return x


def unfold_places(size, kernel, dilation, pad, stride):
    """(row of the unfolded tensor without its channel, window, h, w) for every tap inside the image."""
    out = [
        (s + 2 * p - d * (k - 1) - 1) // st + 1
        for s, k, d, p, st in zip(size, kernel, dilation, pad, stride, strict=True)
    ]
    places = []
    for r, s, i, j in np.ndindex(*kernel, *out):
        h, w = i * stride[0] + r * dilation[0] - pad[0], j * stride[1] + s * dilation[1] - pad[1]
        if 0 <= h < size[0] and 0 <= w < size[1]:
            places.append((r * kernel[1] + s, i * out[1] + j, h, w))
    return out[0] * out[1], places


def unfold_forward(x, kernel, *geometry):
    n, c, *size = x.shape
    windows, places = unfold_places(size, kernel, *geometry)
    y = np.zeros((n, c, kernel[0] * kernel[1], windows), x.dtype)
    for row, window, h, w in places:
        y[:, :, row, window] = x[:, :, h, w]
    return y.reshape(n, -1, windows) if y.size else y.reshape(n, c * kernel[0] * kernel[1], windows)


def fold_forward(y, size, kernel, *geometry):
    windows, places = unfold_places(size, kernel, *geometry)
    taps = kernel[0] * kernel[1]
    y = y.reshape(y.shape[0], y.shape[1] // taps, taps, windows)
    x = np.zeros((*y.shape[:2], *size), y.dtype)
    for row, window, h, w in places:
        x[:, :, h, w] += y[:, :, row, window]
    return x
