"""linear: y = act(x w' + b), w: [out, in]; and the activations with their derivatives."""

import math

import numpy as np

PHI = np.vectorize(lambda z: 0.5 * math.erfc(-z / math.sqrt(2)), otypes=[np.float64])


def sigmoid(z):
    return np.where(z >= 0, 1, np.exp(np.minimum(z, 0))) / (1 + np.exp(-np.abs(z)))


def tanh_gate(z):
    return sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))


def tanh_slope(z):
    s = tanh_gate(z)
    return s + z * s * (1 - s) * 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z**2)


ACTIVATIONS = {  # name: (act, act')
    "none": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.where(z <= 0, 0, z), lambda z: np.where(z <= 0, 0.0, 1.0)),
    "gelu": (lambda z: z * PHI(z), lambda z: PHI(z) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)),
    "gelu_tanh": (lambda z: z * tanh_gate(z), tanh_slope),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) * (1 + z * (1 - sigmoid(z)))),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
}


def linear_forward(x, w, b=0, activation="none"):
    return ACTIVATIONS[activation][0](x @ w.T + b)


def linear_backward(dy, x, w, b=0, activation="none"):
    dz = dy * ACTIVATIONS[activation][1](x @ w.T + b)
    count = int(np.prod(x.shape[:-1]))
    rows = dz.reshape(count, dz.shape[-1])
    return dz @ w, rows.T @ x.reshape(count, x.shape[-1]), rows.sum(axis=0)
