"""Creation: NumPy's in float64, rounded once."""

import numpy as np


def arange(start, end, step):
    count = max(0, int(np.ceil((end - start) / step)))
    return start + np.arange(count) * step


def linspace(start, end, steps):
    i = np.arange(steps)
    step = (end - start) / max(steps - 1, 1)
    return np.where(2 * i < steps, start + i * step, end - (steps - 1 - i) * step)
