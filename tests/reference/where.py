"""where: a where the condition holds, else b."""

import numpy as np


def where(condition, a, b):
    return np.where(condition, a, b)
