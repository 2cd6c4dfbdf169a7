"""unary: each function and its derivative, by name. x is wider than the tensor it came from; p, q are parameters."""

import math

import numpy as np


def _each(f):
    """A function of math applied element by element; longdouble goes through double."""
    return lambda x: np.array([f(float(v)) for v in np.ravel(x)], dtype=np.float64).reshape(np.shape(x))


erf, erfc = _each(math.erf), _each(math.erfc)
SQRT_PI, SQRT_2 = math.sqrt(math.pi), math.sqrt(2)


def sigmoid(x):
    t = np.exp(-np.abs(x))
    return np.where(x < 0, t / (1 + t), 1 / (1 + t))


def normal_cdf(x):
    return erfc(-x / SQRT_2) / 2


def gelu(x):
    return np.where(x == -np.inf, -0.0, x * normal_cdf(x))  # the limit, not the NaN of inf * 0


def tanh_argument(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def gelu_tanh_slope(x):
    s, u = sigmoid(2 * tanh_argument(x)), 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    return s + x * s * (1 - s) * u


def softplus(x, beta=1.0, threshold=20.0):
    z = x * beta
    return np.where(z > threshold, x, np.log1p(np.exp(np.minimum(z, threshold))) / beta)


def silu(x):
    return x * sigmoid(x)


FORWARD = {
    "neg": lambda x: -x,
    "abs": np.abs,
    "square": lambda x: x * x,
    "relu": lambda x: np.where(np.isnan(x), x, np.maximum(x, 0)),
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "reciprocal": lambda x: 1 / x,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "erf": erf,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "silu": silu,
    "gelu": gelu,
    "softplus": softplus,
}

DERIVATIVE = {
    "neg": lambda x: -np.ones_like(x),
    "abs": np.sign,
    "square": lambda x: 2 * x,
    "relu": lambda x: (x > 0) * 1.0,
    "reciprocal": lambda x: -1 / x**2,
    "sqrt": lambda x: 0.5 / np.sqrt(x),
    "rsqrt": lambda x: -0.5 / (x * np.sqrt(x)),
    "exp": np.exp,
    "expm1": np.exp,
    "log": lambda x: 1 / x,
    "log1p": lambda x: 1 / (1 + x),
    "sin": np.cos,
    "cos": lambda x: -np.sin(x),
    "erf": lambda x: 2 / SQRT_PI * np.exp(-(x**2)),
    "tanh": lambda x: 1 - np.tanh(x) ** 2,
    "sigmoid": lambda x: sigmoid(x) * sigmoid(-x),
    "silu": lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    "gelu": lambda x: normal_cdf(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
    "softplus": lambda x: np.where(x > 20, 1, sigmoid(x)),
}
