"""Attention on a device beside the CPU's: lengths around the tiles, every kind of mask, shared key heads, dropout."""

from __future__ import annotations

import check
import numpy as np
import pytest
from compare import FLOATS, both, normal
from reference.attention import attention_backward, attention_backward_size, attention_forward, causal_mask

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


TENSOR_CASES = [  # as above: around tiles of 128 or 192 queries and 32 to 128 keys, widths beside 64 and 128
    (1, 1, 1, 1, 1, 64, 64),
    (2, 1, 1, 129, 65, 8, 64),
    (1, 2, 1, 34, 97, 64, 40),
    (1, 1, 1, 131, 130, 128, 72),
    (1, 3, 3, 33, 70, 80, 128),
    (1, 1, 1, 5, 40, 13, 7),
    (1, 1, 1, 200, 270, 64, 64),
    (1, 1, 1, 70, 300, 128, 128),
    (1, 1, 1, 300, 20, 16, 64),
]


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], ids=lambda d: d.name)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("case", TENSOR_CASES, ids=str)
def test_tensor_cores(case, causal, dtype):
    """Beside the formula in float64. A probability becomes 16 bits before it is multiplied."""
    q, k, v = (x.detach().cuda().requires_grad_() for x in operands(case, dtype))
    o = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    do = normal(o.shape, dtype, 4, grad=False)
    o.backward(do.cuda())

    exact = [check.wide(x.detach().cpu()) for x in (do, q, k, v)]
    tq, tk, scale = case[3], case[4], case[5] ** -0.5
    mask = causal_mask(tq, tk) if causal else np.zeros((tq, tk))
    units = check.UNIT[dtype.name] / check.UNIT["float32"]
    size = attention_forward(*exact[1:3], np.abs(exact[3]), scale, mask)
    check.bounded(o.cpu(), attention_forward(*exact[1:], scale, mask), size, 1.5 * units)
    want, sizes = attention_backward(*exact, scale, mask), attention_backward_size(*exact, scale, mask)
    for x, a, s in zip((q, k, v), want, sizes, strict=False):
        check.bounded(x.grad.cpu(), a, s, 3 * units)


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], ids=lambda d: d.name)
def test_a_row_has_the_same_bits_beside_any_others(dtype):
    q, k, v = (x.detach() for x in operands((2, 2, 1, 135, 70, 40, 24), dtype))

    def f(q, k, v, causal):
        return (
            F.scaled_dot_product_attention(q.cuda(), k.cuda(), v.cuda(), is_causal=causal, enable_gqa=True)
            .cpu()
            .float()
            .numpy()
        )

    for causal in (False, True):
        o = f(q, k, v, causal)
        assert np.array_equal(f(q[1:, :, :67], k[1:], v[1:], causal), o[1:, :, :67])
    padded = lc.zeros(2, 1, 70, 41, dtype=dtype, device="cuda")
    padded[..., 1:] = k.cuda()  # rows that begin at odd addresses
    odd = F.scaled_dot_product_attention(q.cuda(), padded[..., 1:], v.cuda(), is_causal=True, enable_gqa=True)
    assert np.array_equal(odd.cpu().float().numpy(), o)


def test_key_heads_shared_by_a_view():
    """Strides of 0, which the copy engine does not know; several stretches for a block that stays."""
    q, k, v = operands((2, 6, 2, 9, 150, 24, 32), lc.bfloat16)

    def f(q, k, v):
        return F.scaled_dot_product_attention(q, k.expand(2, 6, 150, 24), v.expand(2, 6, 150, 32), is_causal=True)

    both(f, q, k.detach()[:1, :1].requires_grad_(), v.detach()[:, :1].requires_grad_(), units=3)


def test_large_scores_and_no_keys():
    for causal, tk in ((True, 70), (False, 2)):  # of two scores both may be very small: 2^-lse overflows
        q, k, v = (x.detach() * 30 for x in operands((1, 1, 1, 40, tk, 64, 16), lc.bfloat16))
        q, k, v = (x.requires_grad_(True) for x in (q, k, v))
        both(lambda q, k, v, c=causal: F.scaled_dot_product_attention(q, k, v, is_causal=c), q, k, v)
    q, k, v = (x.detach() for x in (q, k, v))
    o = F.scaled_dot_product_attention(q.cuda(), k[:, :, :0].cuda(), v[:, :, :0].cuda())
    assert not o.cpu().float().numpy().any()
