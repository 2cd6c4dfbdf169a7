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


def beside_the_formula(case, dtype, added=0, keep=1, mask=None, **options):
    """Beside the formula in float64. A probability becomes 16 bits before it is multiplied."""
    q, k, v = (x.detach().cuda().requires_grad_() for x in operands(case, dtype))
    there = None if mask is None else mask.detach().cuda().requires_grad_(mask.requires_grad)
    o = F.scaled_dot_product_attention(q, k, v, there, enable_gqa=True, **options)
    do = normal(o.shape, dtype, 4, grad=False)
    o.backward(do.cuda())

    exact = [check.wide(x.detach().cpu()) for x in (do, q, k, v)]
    scale = case[5] ** -0.5
    units = check.UNIT[dtype.name] / check.UNIT["float32"]
    size = attention_forward(*exact[1:3], np.abs(exact[3]), scale, added, keep)
    check.bounded(o.cpu(), attention_forward(*exact[1:], scale, added, keep), size, 1.5 * units)
    want, sizes = attention_backward(*exact, scale, added, keep), attention_backward_size(*exact, scale, added, keep)
    given = [q, k, v] if there is None or not there.requires_grad else [q, k, v, there]
    for x, a, s in zip(given, want, sizes, strict=False):
        over = tuple(i for i, n in enumerate((1,) * (4 - len(x.shape)) + tuple(x.shape)) if n != a.shape[i])
        a, s = (y.sum(axis=over, keepdims=True).reshape(x.shape) for y in (a, s))
        check.bounded(x.grad.cpu(), a, s, 3 * units)


@pytest.mark.parametrize("dtype", [lc.bfloat16, lc.float16], ids=lambda d: d.name)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("case", TENSOR_CASES, ids=str)
def test_tensor_cores(case, causal, dtype):
    beside_the_formula(case, dtype, causal_mask(*case[3:5]) if causal else 0, is_causal=causal)


MASKED_CASES = [  # around tiles of 64 queries and keys
    (1, 1, 1, 2, 3, 8, 8),
    (2, 2, 1, 65, 130, 64, 40),
    (1, 2, 1, 130, 63, 128, 72),
    (1, 1, 1, 40, 200, 13, 16),
]


@pytest.mark.parametrize("shape", ["k", "qk", "hqk", "b1qk", "bhq1", "across", "odd"])
@pytest.mark.parametrize("case", MASKED_CASES, ids=str)
def test_tensor_cores_masked(case, shape):
    dtype = lc.float16 if shape in ("qk", "odd") else lc.bfloat16
    batch, heads, _, tq, tk = case[:5]
    sizes = {
        "k": [tk],
        "qk": [tq, tk],
        "hqk": [heads, tq, tk],
        "b1qk": [batch, 1, tq, tk],
        "bhq1": [batch, heads, tq, 1],
    }
    mask = normal(tuple(sizes.get(shape, [tq, tk])), dtype, 5)
    if shape == "across":
        mask = normal((tk, tq), dtype, 5, grad=False).T.requires_grad_()
    elif shape == "odd":  # pairs that begin at odd places
        mask = normal((tq, tk + 2), dtype, 5, grad=False)[:, 1:-1].requires_grad_()
    added = check.wide(mask.detach())
    beside_the_formula(case, dtype, added, mask=mask)
    seen = mask.detach() > -0.7
    beside_the_formula(
        case, dtype, np.where(added > -0.7, 0, -np.inf), mask=seen.T.contiguous().T if shape == "across" else seen
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("case", MASKED_CASES, ids=str)
def test_tensor_cores_drop_what_the_cpu_drops(case, causal):
    batch, heads, _, tq, tk = case[:5]
    even = lc.zeros(batch, heads, tq, 1), lc.zeros(batch, heads, tk, 1), lc.eye(tk).expand(batch, heads, tk, tk)
    lc.manual_seed(5)
    keep = np.where(F.scaled_dot_product_attention(*even, dropout_p=0.3).numpy() > 0, 1 / 0.7, 0)
    mask = None if causal else normal((tq, tk), lc.bfloat16, 5, grad=False)
    added = causal_mask(tq, tk) if causal else check.wide(mask)
    lc.manual_seed(5)
    beside_the_formula(case, lc.bfloat16, added, keep, mask, dropout_p=0.3, is_causal=causal)


@pytest.mark.parametrize("dtype", [lc.float32, lc.bfloat16, lc.float16], ids=lambda d: d.name)
def test_rows_masked_throughout(dtype):
    """Nothing seen gives 0; the lowest number there is everywhere, the mean of the values."""
    q, k, v = operands((1, 2, 2, 5, 70, 16, 8), dtype)
    seen = lc.ones(5, 70, dtype=lc.bool)
    seen[1] = False
    both(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, seen.to(q.device)), q, k, v, units=3)
    for lowest in (float(np.finfo(np.float16).min), -float("inf")) if dtype is lc.float16 else (-3.3e38, -float("inf")):
        mask = lc.zeros(5, 70, dtype=dtype)
        mask[1] = lowest
        mask[2, 3:] = lowest
        both(lambda q, k, v, m=mask: F.scaled_dot_product_attention(q, k, v, m.to(q.device)), q, k, v, units=3)


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
