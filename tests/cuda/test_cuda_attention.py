"""Attention on a device beside the CPU's: lengths around the tiles, every kind of mask, shared key heads, dropout."""

from __future__ import annotations

import numpy as np
import pytest
from compare import FLOATS, both, normal

import littlecore as lc
import littlecore.nn.functional as F

CASES = [  # batch, heads, key heads, tq, tk, dim, dim_v
    (1, 1, 1, 1, 1, 1, 1),
    (2, 3, 3, 5, 33, 16, 8),
    (1, 4, 2, 40, 40, 17, 33),
    (1, 2, 1, 70, 31, 64, 64),
]


def operands(case, dtype):
    batch, heads, kv_heads, tq, tk, dim, dim_v = case
    return (
        normal((batch, heads, tq, dim), dtype, 1),
        normal((batch, kv_heads, tk, dim), dtype, 2),
        normal((batch, kv_heads, tk, dim_v), dtype, 3),
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention(case, dtype):
    for causal in (False, True):
        both(
            lambda q, k, v, c=causal: F.scaled_dot_product_attention(q, k, v, is_causal=c, enable_gqa=True),
            *operands(case, dtype),
            units=3,
        )


@pytest.mark.parametrize("shape", [(33,), (5, 33), (3, 5, 33), (2, 1, 5, 1)], ids=str)
def test_masks(shape):
    rng = np.random.default_rng(4)
    q, k, v = operands(CASES[1], lc.float32)
    mask = lc.tensor(rng.normal(0, 1, shape)).float().requires_grad_(True)
    both(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m), q, k, v, mask, units=3)
    seen = lc.tensor(rng.random(shape) < 0.5)
    both(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, seen.to(q.device)), q, k, v, units=3)


def test_dropout_draws_the_cpus_numbers():
    def f(q, k, v):
        lc.manual_seed(5)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.3)

    both(f, *operands(CASES[1], lc.float64))


def test_heads_inside_rows():
    x = normal((2, 9, 3, 3, 16), lc.float32)
    both(lambda x: F.scaled_dot_product_attention(*(x[:, :, i].transpose(1, 2) for i in range(3))), x)
