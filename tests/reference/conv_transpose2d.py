"""conv_transpose2d: every input pixel adds its multiple of the filters to a window of the output; by groups."""

import numpy as np


def output_size(size, kernel, stride, pad, extra, dilation):
    return (size - 1) * stride - 2 * pad + dilation * (kernel - 1) + extra + 1


def conv_transpose2d_forward(x, w, b, stride, pad, extra, dilation, groups):
    n, k, h, width = x.shape
    out = [output_size(*v) for v in zip(x.shape[2:], w.shape[2:], stride, pad, extra, dilation, strict=True)]
    y = np.zeros((n, groups, w.shape[1], out[0] + 2 * pad[0], out[1] + 2 * pad[1]), x.dtype)
    pixels, filters = x.reshape(n, groups, k // groups, h, width), w.reshape(groups, k // groups, *w.shape[1:])
    for i in range(h):
        for j in range(width):
            for r in range(w.shape[2]):
                for s in range(w.shape[3]):
                    row, col = i * stride[0] + r * dilation[0], j * stride[1] + s * dilation[1]
                    y[..., row, col] += np.einsum("ngk,gkc->ngc", pixels[..., i, j], filters[..., r, s])
    y = y[..., pad[0] : pad[0] + out[0], pad[1] : pad[1] + out[1]].reshape(n, groups * w.shape[1], *out)
    return y if b is None else y + b[:, None, None]
