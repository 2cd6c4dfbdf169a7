"""scaled_dot_product_attention: lengths and widths around the tiles, masks of every kind, shared key heads."""

import os
import subprocess
import sys

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.attention import attention_backward, attention_backward_size, attention_forward, causal_mask

import littlecore as lc
import littlecore.nn.functional as F

LENGTHS = (1, 2, 5, 3, 16, 17, 4, 31, 63, 64, 65, 100, 127, 128, 129, 200, 0, 300)
WIDTHS = (4, 1, 8, 16, 17, 33, 64, 80)


def draw(case: Case, grad=False):
    """(q, k, v, keyword arguments, the additive mask the reference takes)"""
    batch, kv_heads, group = case.pick("batch", (1, 2, 0)), case.pick("kv_heads", (1, 2)), case.pick("group", (1, 3))
    tq, tk = case.pick("tq", LENGTHS), case.pick("tk", LENGTHS)
    dim, dim_v = case.pick("dim", WIDTHS), case.pick("dim_v", WIDTHS)
    heads = kv_heads * group
    q = case.tensor("q", (batch, heads, tq, dim), "normal", grad=grad)
    k = case.tensor("k", (batch, kv_heads, tk, dim), "normal", grad=grad)
    v = case.tensor("v", (batch, kv_heads, tk, dim_v), ("normal", "uniform"), grad=grad)
    options = {"enable_gqa": group > 1, "scale": case.pick("scale", (None, 0.3))}
    kind, mask = case.pick("mask", ("none", "causal", "boolean", "additive")), np.zeros((tq, tk))
    if kind == "causal":
        options["is_causal"], mask = True, causal_mask(tq, tk)
    elif kind != "none":
        shape = case.pick(
            "mask.shape", ((tq, tk), (1, tk), (heads, tq, tk), (batch, 1, tq, tk), (batch, 1, 1, tk), (tq, 1), (1,))
        )
        if kind == "boolean":
            seen = case.random("mask.data").random(shape) < case.pick("mask.share", (0.7, 0.1))
            options["attn_mask"], mask = lc.from_numpy(seen), np.where(seen, 0.0, -np.inf)
        else:
            options["attn_mask"] = case.tensor("mask.data", shape, "normal", grad=grad)
            mask = check.wide(options["attn_mask"])
    return q, k, v, options, mask


def summed(x, shape):
    """x summed over what broadcasting `shape` to it repeats."""
    full = (1,) * (x.ndim - len(shape)) + tuple(shape)
    axes = tuple(i for i, n in enumerate(full) if n == 1)
    return x.sum(axis=axes, keepdims=True).reshape(shape)


def rounding(q, k, scale, mask):
    """Units a probability may be off: its score's, and one for every step of the sums."""
    scores = 2 * scale * np.abs(q).sum(axis=-1).max(initial=0) * np.abs(k).max(initial=0)
    return scores + np.abs(np.where(np.isinf(mask), 0, mask)).max(initial=0) + np.sqrt(max(q.shape[2], k.shape[2])) + 8


@cases(500)
def test_forward(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    q, k, v, options, mask = draw(case)

    o = F.scaled_dot_product_attention(q, k, v, **options)

    q, k, v = (check.wide(t) for t in (q, k, v))
    scale = options["scale"] or q.shape[-1] ** -0.5
    size = attention_forward(q, k, np.abs(v), scale, mask)
    check.bounded(o, attention_forward(q, k, v, scale, mask), size, rounding(q, k, scale, mask))
    return o


@cases(400)
def test_backward(case: Case):
    dtype = case.draw_dtype(*STORED_FLOATS)
    q, k, v, options, mask = draw(case, grad=True)
    do = case.tensor("do", (*q.shape[:3], v.shape[3]))

    F.scaled_dot_product_attention(q, k, v, **options).backward(do)

    exact = [check.wide(t) for t in (do, q, k, v)]
    scale = options["scale"] or q.shape[-1] ** -0.5
    want, sizes = attention_backward(*exact, scale, mask), attention_backward_size(*exact, scale, mask)
    factor = rounding(exact[1], exact[2], scale, mask)
    if dtype in ("bfloat16", "float16"):  # delta is made from o as stored
        factor += 2 * check.UNIT[dtype] / check.UNIT["float32"]
    for t, a, size in zip((q, k, v), want, sizes, strict=False):
        check.bounded(t.grad, a, size, factor)
    additive = options.get("attn_mask")
    if additive is None or not additive.requires_grad:
        return q.grad, k.grad, v.grad
    a, size = (summed(x[3], additive.shape) for x in (want, sizes))
    check.bounded(additive.grad, a, size, factor + np.sqrt(want[3].size / max(a.size, 1)))
    return q.grad, k.grad, v.grad, additive.grad


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 3, 4, 2, 3), (2, 2, 2, 3, 2, 2), (1, 2, 1, 2, 3, 1), (1, 1, 70, 65, 3, 2)])
def test_gradients(shape, causal):
    batch, heads, tq, tk, dim, dim_v = shape
    random = np.random.default_rng(tq)
    q, k, v = (random.standard_normal((batch, heads, *s)) for s in ((tq, dim), (tk, dim), (tk, dim_v)))
    check.gradients(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal), q, k, v)


@pytest.mark.parametrize(
    "mask", [(5, 9), (1, 9), (5, 1), (3, 1, 9), (2, 1, 1, 1), (1, 3, 5, 9), (2, 3, 5, 9), (1,)], ids=str
)
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_mask_gradients(mask, dropout):
    random = np.random.default_rng(8)
    q, k, v = (random.standard_normal((2, 3, t, 4)) for t in (5, 9, 9))

    def attend(q, k, v, m):
        lc.manual_seed(5)
        return F.scaled_dot_product_attention(q, k, v, m, dropout_p=dropout)

    check.gradients(attend, q, k, v, random.standard_normal(mask))


@pytest.mark.parametrize("mask", [(2, 1, 3, 1, 9), (5, 9)], ids=str)
def test_mask_gradients_with_more_leading_dimensions(mask):
    random = np.random.default_rng(9)
    q, k, v = (random.standard_normal((2, 2, 3, t, 4)) for t in (5, 9, 9))
    check.gradients(F.scaled_dot_product_attention, q, k, v, random.standard_normal(mask))


def test_an_expanded_mask_gets_the_gradient_of_what_was_expanded():
    random = np.random.default_rng(10)
    q, k, v, m = (random.standard_normal((2, 2, *shape)) for shape in ((5, 4), (9, 4), (9, 4), (5, 1)))
    check.gradients(lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, m.expand(2, 2, 5, 9)), q, k, v, m)


def test_the_mask_alone_may_want_a_gradient():
    q, k, v, m = (lc.from_numpy(np.random.default_rng(i).standard_normal((1, 2, 70, 8))) for i in range(4))
    m = m[..., :1].requires_grad_()
    F.scaled_dot_product_attention(q, k, v, m).square().sum().backward()
    assert q.grad is None and m.grad is not None


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
@pytest.mark.parametrize("mask", ["none", "causal", "boolean", "additive"])
def test_a_query_has_the_same_bits_in_any_company(dtype, mask):
    """One to three queries take another path than more, as in generation: with the same order of every sum."""
    random = np.random.default_rng(11)
    shapes = ((2, 4, 70, 33), (2, 2, 300, 33), (2, 2, 300, 80))
    q, k, v = (lc.from_numpy(random.standard_normal(s).astype("float32")).to(getattr(lc, dtype)) for s in shapes)
    seen = np.tri(70, 300, dtype=bool) if mask == "causal" else random.random((70, 300)) < 0.7
    m = {"none": None, "additive": lc.from_numpy(random.standard_normal((70, 300)).astype("float32")).to(q.dtype)}.get(
        mask, lc.from_numpy(seen)
    )
    full = {"is_causal": True} if mask == "causal" else {"attn_mask": m}
    all_of_them = F.scaled_dot_product_attention(q, k, v, enable_gqa=True, **full)
    for i, count in ((0, 1), (1, 2), (30, 3), (69, 1)):
        part = None if m is None else m[i : i + count]
        some = F.scaled_dot_product_attention(q[:, :, i : i + count], k, v, part, enable_gqa=True)
        check.same_bits(some, all_of_them[:, :, i : i + count])


def test_uniform_attention_in_integers_is_exact():
    """Equal scores over a power of two of keys: o is the plain mean of v, without any rounding."""
    v = np.random.default_rng(0).integers(-8, 9, (2, 3, 128, 20)).astype(np.float32)
    q, k = (
        np.zeros((2, 3, 70, 5), np.float32),
        np.random.default_rng(1).standard_normal((2, 3, 128, 5)).astype(np.float32),
    )
    o = F.scaled_dot_product_attention(*(lc.from_numpy(t) for t in (q, k, v)))
    check.equal(o, np.broadcast_to(v.mean(axis=2, keepdims=True), (2, 3, 70, 20)))


@pytest.mark.vacuous
@pytest.mark.parametrize("tq", [2, 70])
@pytest.mark.parametrize("kind", ["boolean", "additive"])
def test_a_fully_masked_row_gives_zero_and_no_gradient(tq, kind):
    random = np.random.default_rng(2)
    q, k, v = (
        lc.from_numpy(random.standard_normal((1, 2, t, 8)).astype(np.float32)).requires_grad_() for t in (tq, 90, 90)
    )
    seen = np.ones((tq, 90), bool)
    seen[1] = False
    mask = seen if kind == "boolean" else np.where(seen, 0, -np.inf).astype(np.float32)
    o = F.scaled_dot_product_attention(q, k, v, lc.from_numpy(mask))
    o.backward(lc.ones_like(o))
    check.equal(o[:, :, 1], np.zeros((1, 2, 8), np.float32))
    check.equal(q.grad[:, :, 1], np.zeros((1, 2, 8), np.float32))
    for g in (q.grad, k.grad, v.grad):
        assert np.isfinite(g.numpy()).all() and g.numpy().any()


def test_projected_heads_need_no_copies():
    """q, k and v as GPT has them: one projection, split and seen as heads; o comes back in the same order of axes."""
    x = np.random.default_rng(3).standard_normal((2, 33, 3 * 4 * 16)).astype(np.float32)
    qkv = lc.from_numpy(x).reshape(2, 33, 3, 4, 16).permute(2, 0, 3, 1, 4)
    q, k, v = qkv[0], qkv[1], qkv[2]
    o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    assert o.transpose(1, 2).is_contiguous()
    dense = F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous(), is_causal=True)
    check.same_bits(o.contiguous(), dense)


@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_one_projection_lie_in_their_places(batch):
    random = np.random.default_rng(4)
    x, g = random.standard_normal((batch, 33, 3 * 4 * 16)), random.standard_normal((batch, 4, 33, 16))
    seen = {}

    def run(name, prepare):
        rows = lc.from_numpy(x.astype(np.float32)).requires_grad_() * 1.0
        rows.register_hook(lambda g: seen.__setitem__(name, g))
        parts = rows.chunk(3, -1)
        parts[0].register_hook(lambda g: seen.__setitem__("q", g))
        q, k, v = (prepare(part.reshape(batch, 33, 4, 16).transpose(1, 2)) for part in parts)
        F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(lc.from_numpy(g.astype(np.float32)))

    run("dense", lambda part: part.contiguous())
    run("whole", lambda part: part)
    assert seen["whole"].data_ptr() == seen["q"].data_ptr()  # nothing was put together
    check.same_bits(seen["whole"], seen["dense"])


@pytest.mark.parametrize("lead", [(), (3,), (2, 3), (2, 1, 3)])
def test_any_number_of_leading_dimensions(lead):
    random = np.random.default_rng(4)
    q, k, v = (random.standard_normal((*lead, t, 6)) for t in (9, 11, 11))
    four = [t.reshape(1, -1, *t.shape[-2:]) for t in (q, k, v)]
    o = F.scaled_dot_product_attention(*(lc.from_numpy(t) for t in (q, k, v)))
    want = attention_forward(*four, 6**-0.5).reshape(*lead, 9, 6)
    check.bounded(o, want, np.abs(want) + 1, 16)
    check.gradients(F.scaled_dot_product_attention, q, k, v)


def test_one_sample_and_head_do_not_depend_on_the_others():
    random = np.random.default_rng(5)
    q, k, v = (lc.from_numpy(random.standard_normal((3, 2, 70, 12)).astype(np.float32)) for _ in range(3))
    o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for b in range(3):
        for h in range(2):
            one = [t[b : b + 1, h : h + 1] for t in (q, k, v)]
            check.same_bits(F.scaled_dot_product_attention(*one, is_causal=True), o[b : b + 1, h : h + 1])


def test_memory_does_not_grow_with_the_square_of_the_length():
    def peak(t):
        q = lc.zeros(1, 1, t, 8).requires_grad_()
        lc.memory.reset_peak()
        before = lc.memory.stats()["live_bytes"]
        F.scaled_dot_product_attention(q, q, q).sum().backward()
        return lc.memory.stats()["peak_bytes"] - before

    assert peak(4096) < 5 * peak(1024)


def test_wrong_arguments_are_refused():
    def call(q, k, v, **options):
        return F.scaled_dot_product_attention(lc.zeros(*q), lc.zeros(*k), lc.zeros(*v), **options)

    for q, k, v, options in [
        ((2, 4), (3, 5), (3, 4), {}),
        ((2, 4), (3, 4), (2, 4), {}),
        ((1, 2, 4), (3, 4), (3, 4), {}),
        ((1, 3, 2, 4), (1, 2, 3, 4), (1, 2, 3, 4), {"enable_gqa": True}),
        ((1, 2, 2, 4), (1, 1, 3, 4), (1, 1, 3, 4), {}),
        ((2, 4), (3, 4), (3, 4), {"attn_mask": lc.zeros(3, 2)}),
        ((2, 4), (3, 4), (3, 4), {"attn_mask": lc.zeros(2, 3), "is_causal": True}),
        ((2, 4), (3, 4), (3, 4), {"dropout_p": 1.5}),
    ]:
        with pytest.raises(ValueError, match="scaled_dot_product_attention"):
            call(q, k, v, **options)
    with pytest.raises(TypeError, match="attn_mask"):
        call((2, 4), (3, 4), (3, 4), attn_mask=lc.from_numpy(np.zeros((2, 3))))


@pytest.mark.parametrize("tq, causal", [(70, False), (70, True), (2, False)])
def test_dropout_gradients_use_the_mask_of_the_forward(tq, causal):
    random = np.random.default_rng(6)
    q, k, v = (random.standard_normal((1, 2, t, 4)) for t in (tq, 70, 70))

    def attend(q, k, v):
        lc.manual_seed(5)
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, is_causal=causal)

    check.gradients(attend, q, k, v)


def test_dropout_keeps_the_mean():
    lc.manual_seed(1)
    q, k, v = lc.zeros(8, 8, 64, 4), lc.zeros(8, 8, 256, 4), lc.ones(8, 8, 256, 4)
    o = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25).numpy()
    deviation = np.sqrt(0.25 / 0.75 / 256)  # of the mean of 256 factors
    assert abs(o.mean() - 1) < 5 * deviation / np.sqrt(8 * 8 * 64)
    assert 0.9 < o[..., 0].std() / deviation < 1.1


TOLD = """
import littlecore as lc
for batch, heads, tq, tk, causal in ((1, 2, 300, 300, True), (4, 12, 3, 65, False), (1, 1, 4, 1000, False)):
    q, k, v = (lc.zeros(batch, heads, t, 8, requires_grad=True) for t in (tq, tk, tk))
    lc.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal).sum().backward()
"""


def test_the_plan_is_told():
    environment = {**os.environ, "LITTLECORE_LOG": "1"}
    log = subprocess.run([sys.executable, "-c", TOLD], env=environment, capture_output=True, text=True, check=True)
    told = [line.removeprefix("[attention] ") for line in log.stderr.splitlines() if line.startswith("[attention]")]
    assert told == [
        "forward float32 batch=1 heads=2/2 tq=300 tk=300 dim=8/8 causal: panels, 8 tasks",
        "backward float32 batch=1 heads=2/2 tq=300 tk=300 dim=8/8 causal: 128 keys a task, 3 strips, 1 rounds",
        "forward float32 batch=4 heads=12/12 tq=3 tk=65 dim=8/8: rows, 144 tasks",
        "backward float32 batch=4 heads=12/12 tq=3 tk=65 dim=8/8: 128 keys a task, 1 strips, 1 rounds",
        "forward float32 batch=1 heads=1/1 tq=4 tk=1000 dim=8/8: panels, 1 tasks",
        "backward float32 batch=1 heads=1/1 tq=4 tk=1000 dim=8/8: 128 keys a task, 8 strips, 1 rounds",
    ]


@pytest.mark.parametrize("low", [-3.4028234663852886e38, -3e38, -1e9])
def test_a_finite_mask_does_not_hide(low):
    """Masks are often the lowest number there is: where nothing else is seen, all keys count alike."""
    random = np.random.default_rng(3)
    v = random.standard_normal((1, 1, 9, 4)).astype("float32")
    q = lc.zeros(1, 1, 5, 4)
    o = F.scaled_dot_product_attention(q, lc.zeros(1, 1, 9, 4), lc.from_numpy(v), lc.full((5, 9), low))
    np.testing.assert_allclose(o.numpy()[0, 0], np.tile(v[0, 0].mean(axis=0), (5, 1)), rtol=1e-5, atol=1e-6)
