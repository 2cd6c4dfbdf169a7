"""quantized_linear: weights rounded to small integers times a scale, one for a row (8 bits) or 32 columns (4 bits)."""

import numpy as np


def quantize(w, bits):
    """(q, scale), both [out, in]: w is near q * scale. In float32, as the scales are."""
    most, (out, inputs) = np.float32(127 if bits == 8 else 7), w.shape
    group = max(inputs, 1) if bits == 8 else 32
    padded = np.zeros((out, -(-inputs // group) * group), np.float32)
    padded[:, :inputs] = w
    groups = padded.reshape(out, -1, group)
    scale = np.abs(groups).max(-1, keepdims=True) / most
    scale[scale < 2.0**-90] = 0
    q = np.rint(np.divide(groups, scale, out=np.zeros_like(groups), where=scale > 0)).clip(-most, most)
    return [np.broadcast_to(a, groups.shape).reshape(out, -1)[:, :inputs] for a in (q, scale)]


def quantized_linear_forward(x, w, b, bits):
    q, scale = quantize(w, bits)
    return x @ (q * scale).astype(np.float64).T + b
