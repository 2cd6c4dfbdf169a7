"""reduce: f(x, axes) by name, NumPy's own on wide values; var and norm as their formulas say."""

import numpy as np


def var(x, axis, correction=1, keepdims=False):
    n = np.prod([x.shape[a] for a in axis])
    deviation = x - x.mean(axis=axis, keepdims=True)
    return (deviation**2).sum(axis=axis, keepdims=keepdims) / max(n - correction, 0)


def logsumexp(x, axis, keepdims=False):
    m = x.max(axis=axis, keepdims=True)
    m = np.where(np.isfinite(m), m, 0)
    y = np.log(np.exp(x - m).sum(axis=axis, keepdims=True)) + m
    return y if keepdims else np.squeeze(y, axis)


def norm(x, axis, p=2, keepdims=False):
    return (np.abs(x) ** p).sum(axis=axis, keepdims=keepdims) ** (1 / p)


FORWARD = {
    "sum": np.sum,
    "mean": np.mean,
    "prod": np.prod,
    "amax": np.max,
    "amin": np.min,
    "var": var,
    "std": lambda x, axis, keepdims=False: np.sqrt(var(x, axis, 1, keepdims)),
    "norm": norm,
    "logsumexp": logsumexp,
    "any": np.any,
    "all": np.all,
}
