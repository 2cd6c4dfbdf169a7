"""One step of each optimizer on one parameter, as its formula is written. Functions return what changed."""

import numpy as np


def sgd(p, g, b, lr, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False, first=False):
    g = (-g if maximize else g) + weight_decay * p
    if momentum:
        b = g if first else momentum * b + (1 - dampening) * g
        g = g + momentum * b if nesterov else b
    return p - lr * g, b


def adam(p, g, m, v, t, lr, beta1, beta2, eps, weight_decay=0.0, decoupled=False, maximize=False):
    g = -g if maximize else g
    if decoupled:
        p = p * (1 - lr * weight_decay)
    else:
        g = g + weight_decay * p
    m = beta1 * m + (1 - beta1) * g
    v = beta2 * v + (1 - beta2) * g * g
    return p - lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps), m, v


def rmsprop(p, g, v, b, lr, alpha, eps, weight_decay=0.0, momentum=0.0):
    g = g + weight_decay * p
    v = alpha * v + (1 - alpha) * g * g
    b = momentum * b + g / (np.sqrt(v) + eps)
    return p - lr * b, v, b


def total_norm(tensors, order):
    x = np.abs(np.concatenate([t.ravel() for t in tensors]))
    return np.max(x, initial=0) if np.isinf(order) else np.sum(x**order) ** (1 / order)
