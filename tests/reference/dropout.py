"""dropout: the word of an element decides whether it stays."""

import numpy as np

from reference.random import words


def mask(seed: int, offset: int, n: int, p: float) -> np.ndarray:
    return (words(seed, offset, n) >= np.uint64(int(p * 2**32))) / (1 - p)
