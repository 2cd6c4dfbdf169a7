"""rotary_embedding: pairs of features turned by angles, as complex numbers times exp(i angle)."""

import numpy as np


def rotary_embedding_forward(x, cos, sin, interleaved=False):
    pairs, y = cos.shape[1], x.copy()
    first, second = (
        (slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)) if interleaved else (slice(0, pairs), slice(pairs, 2 * pairs))
    )
    a, b = x[..., first], x[..., second]
    y[..., first], y[..., second] = a * cos - b * sin, a * sin + b * cos
    return y


def rotary_embedding_backward(dy, cos, sin, interleaved=False):
    return rotary_embedding_forward(dy, cos, -sin, interleaved)


def angles(positions, pairs, base=10000.0):
    return np.outer(np.arange(positions), base ** (-np.arange(pairs) / max(pairs, 1)))
