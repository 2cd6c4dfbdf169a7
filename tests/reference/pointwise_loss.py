"""Losses of one element against its target: value(x, t), and the derivatives by x and by t."""

import numpy as np


def log_or_zero(t):
    return np.log(np.where(t == 0, 1, t))


def clamped(a):
    return np.maximum(a, -100)


def sigmoid(x):
    return np.where(
        x < 0, np.exp(np.minimum(x, 0)) / (1 + np.exp(np.minimum(x, 0))), 1 / (1 + np.exp(-np.maximum(x, 0)))
    )


def softplus(x):
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, 0)


def mse_loss(x, t):
    return (x - t) ** 2, 2 * (x - t), 2 * (t - x)


def l1_loss(x, t):
    return np.abs(x - t), np.sign(x - t), np.sign(t - x)


def smooth_l1_loss(x, t, beta):
    d = np.abs(x - t)
    small = d < beta
    safe = beta if beta > 0 else 1
    slope = np.where(small, (x - t) / safe, np.sign(x - t))
    return np.where(small, d * d / (2 * safe), d - x.dtype.type(beta) / 2), slope, -slope


def huber_loss(x, t, delta):
    d = np.abs(x - t)
    slope = np.clip(x - t, -delta, delta)
    return np.where(d <= delta, d * d / 2, delta * (d - x.dtype.type(delta) / 2)), slope, -slope


def binary_cross_entropy(x, t):
    with np.errstate(divide="ignore"):
        yes, no = clamped(np.log(x)), clamped(np.log1p(-x))
    return -(t * yes + (1 - t) * no), (x - t) / np.maximum(x * (1 - x), 1e-12), no - yes


def binary_cross_entropy_with_logits(x, t, pos_weight=1):
    each = 1 + (pos_weight - 1) * t
    value = (1 - t) * x + each * softplus(-x)
    return value, each * sigmoid(x) - pos_weight * t, (pos_weight - 1) * softplus(-x) - x


def kl_div(x, t):
    return t * log_or_zero(t) - t * x, -t, np.where(t == 0, 0, log_or_zero(t) + 1) - x


def kl_div_log_target(x, t):
    return np.exp(t) * (t - x), -np.exp(t), np.exp(t) * (t - x + 1)


def reduced(value, reduction):
    """The loss, and the factor its gradients get."""
    if reduction == "none":
        return value, 1
    count = {"mean": value.size, "sum": 1, "batchmean": value.shape[0] if value.ndim else 1}[reduction]
    return value.sum() / count, value.dtype.type(1) / count
