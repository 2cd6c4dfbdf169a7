"""binary: f(a, b) by name, on values wider than the tensors' own, and both partial derivatives."""

import numpy as np

FORWARD = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "remainder": np.mod,
    "floor_divide": np.floor_divide,
    "pow": np.power,
}
COMPARE = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
LOGICAL = {"logical_and": np.logical_and, "logical_or": np.logical_or, "logical_xor": np.logical_xor}
BITWISE = {"bitwise_and": np.bitwise_and, "bitwise_or": np.bitwise_or, "bitwise_xor": np.bitwise_xor}


def share(a, b):
    """Which part of the gradient goes to a in maximum(a, b): halves where they are equal."""
    return np.where(a == b, 0.5, (a > b) * 1.0)


DERIVATIVES = {
    "add": lambda a, b: (np.ones_like(a), np.ones_like(b)),
    "sub": lambda a, b: (np.ones_like(a), -np.ones_like(b)),
    "mul": lambda a, b: (b, a),
    "div": lambda a, b: (1 / b, -a / b**2),
    "maximum": lambda a, b: (share(a, b), share(b, a)),
    "minimum": lambda a, b: (share(b, a), share(a, b)),
    "remainder": lambda a, b: (np.ones_like(a), -np.floor(a / b)),
    "pow": lambda a, b: (b * a ** (b - 1), a**b * np.log(a)),
}


def sum_to(x, shape):
    """Sums x over what broadcasting added to reach its shape from `shape`."""
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(d for d, n in enumerate(shape) if n == 1 and x.shape[d] != 1), keepdims=True)
