"""Resizing with a triangle filter: bilinear when enlarging, antialiased when shrinking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def _weights(source: int, target: int) -> npt.NDArray[np.float32]:
    """W [target, source]: row i holds the weights of the source pixels under output pixel i (rows sum to 1)."""
    scale = source / target
    reach = max(scale, 1.0)  # the triangle covers at least one source pixel on each side
    centre = (np.arange(target) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(source)[None, :] - centre[:, None]) / reach
    weights = np.maximum(0.0, 1.0 - distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize(images: npt.NDArray[np.float32], height: int, width: int | None = None) -> npt.NDArray[np.float32]:
    """Resize float32 [..., h, w] to [..., height, width] (width defaults to height); pixel centres at half-integers."""
    width = height if width is None else width
    h, w = images.shape[-2:]
    if min(h, w, height, width) < 1:
        raise ValueError(f"resize: cannot resize {h}x{w} to {height}x{width}")
    if (h, w) == (height, width):
        return images
    return _weights(h, height) @ images @ _weights(w, width).T
