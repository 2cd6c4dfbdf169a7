"""index: x[key] in two steps, as PyTorch does it: integers, slices and None make a view, then arrays index the view.

(NumPy lets an integer take part with the arrays, which moves dims to the front in x[0, :, [1, 2]].)
"""

import numpy as np


def spread(key, ndim):
    """The key with its Ellipsis, or the end it leaves out, as slices."""
    used = sum(
        k.ndim
        if isinstance(k, np.ndarray) and k.dtype == bool
        else k is not None and k is not Ellipsis and k is not True
        for k in key
    )
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    return key[:at] + (slice(None),) * (ndim - used) + key[at + 1 :]


def steps(x, key):
    key = spread(key, x.ndim)
    view = tuple(
        part
        for k in key
        for part in ((slice(None),) * (k.ndim if k.dtype == bool else 1) if isinstance(k, np.ndarray) else (k,))
    )
    arrays = tuple(k if isinstance(k, np.ndarray) else slice(None) for k in key if not isinstance(k, int))
    return view, arrays


def getitem(x, key):
    view, arrays = steps(x, key)
    return np.asarray(x[(*view, Ellipsis)][arrays])


def setitem(x, key, v):
    view, arrays = steps(x, key)
    window = x[(*view, Ellipsis)]
    window[arrays] = v


def getitem_backward(dy, x, key):
    view, arrays = steps(x, key)
    dx = np.zeros_like(x)
    np.add.at(dx[(*view, Ellipsis)], arrays, dy)
    return dx
