"""One recurrent layer over [steps, batch, in], step by step; weights and gate order as PyTorch's."""

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def rnn_forward(x, h, w_ih, w_hh, b_ih=0, b_hh=0, nonlinearity="tanh"):
    ys = []
    for x_t in x:
        z = x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh
        h = np.tanh(z) if nonlinearity == "tanh" else np.maximum(z, 0)
        ys.append(h)
    return np.array(ys), h


def gru_forward(x, h, w_ih, w_hh, b_ih=0, b_hh=0):
    ys = []
    for x_t in x:
        p_r, p_u, p_n = np.split(x_t @ w_ih.T + b_ih, 3, axis=-1)
        q_r, q_u, q_n = np.split(h @ w_hh.T + b_hh, 3, axis=-1)
        r, u = sigmoid(p_r + q_r), sigmoid(p_u + q_u)
        n = np.tanh(p_n + r * q_n)
        h = (1 - u) * n + u * h
        ys.append(h)
    return np.array(ys), h


def lstm_forward(x, h, c, w_ih, w_hh, b_ih=0, b_hh=0, w_hr=None):
    ys = []
    for x_t in x:
        i, f, g, o = np.split(x_t @ w_ih.T + b_ih + h @ w_hh.T + b_hh, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        h = h if w_hr is None else h @ w_hr.T
        ys.append(h)
    return np.array(ys), h, c
