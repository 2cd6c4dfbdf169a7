"""scaled_dot_product_attention, the whole matrix at once: softmax(q k^T scale + mask) v; q, k, v: [batch, heads, ...].

mask is additive; a row that is -inf everywhere gives 0. A key head serves heads / kv_heads query heads in a row.
keep holds 0 or 1 / (1 - dropout) for every score. Gradients: of q, k, v and of the mask, [batch, heads, tq, tk].
"""

import numpy as np


def shared(k, heads):
    return np.repeat(k, heads // k.shape[1], axis=1)


def probabilities(q, k, scale, mask):
    s = q @ shared(k, q.shape[1]).swapaxes(-1, -2) * q.dtype.type(scale) + mask
    top = s.max(axis=-1, keepdims=True, initial=-np.inf)
    e = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = e.sum(axis=-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def attention_forward(q, k, v, scale, mask=0, keep=1):
    return (probabilities(q, k, scale, mask) * keep) @ shared(v, q.shape[1])


def attention_backward(do, q, k, v, scale, mask=0, keep=1):
    return gradients(probabilities(q, k, scale, mask), do, q, k, v, scale, keep, -1)


def attention_backward_size(do, q, k, v, scale, mask=0, keep=1):
    """The same sums of absolute terms: what the rounding errors are measured by."""
    return gradients(probabilities(q, k, scale, mask), *(np.abs(t) for t in (do, q, k, v)), scale, keep, 1)


def gradients(p, do, q, k, v, scale, keep, sign):
    heads, group = q.shape[1], q.shape[1] // k.shape[1]
    dv = (p * keep).swapaxes(-1, -2) @ do
    dp = do @ shared(v, heads).swapaxes(-1, -2) * keep
    ds = p * (dp + sign * (dp * p).sum(axis=-1, keepdims=True))
    dq = ds @ shared(k, heads) * q.dtype.type(scale)
    dk = ds.swapaxes(-1, -2) @ q * q.dtype.type(scale)
    return dq, *(d.reshape(d.shape[0], k.shape[1], group, *d.shape[2:]).sum(axis=2) for d in (dk, dv)), ds


def causal_mask(tq, tk):
    return np.where(np.arange(tk) <= np.arange(tq)[:, None], 0.0, -np.inf)
