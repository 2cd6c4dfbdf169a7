"""Llama and BERT: sizes, the cache, what a mask hides."""

import check
import pytest

import littlecore as lc
from littlecore import models

SMALL = {"vocab_size": 30, "block_size": 12, "width": 16, "layers": 2, "heads": 4, "kv_heads": 2, "hidden": 40}


def test_parameter_counts():
    bert = models.bert(layers=1)
    layer = sum(p.numel() for p in bert.encoder.parameters())
    assert sum(p.numel() for p in bert.parameters()) + 11 * layer == 109_482_240
    llama = models.llama(vocab_size=7, width=4096, layers=1, block_size=2, hidden=11008)
    layer = sum(p.numel() for p in llama.model.layers.parameters())
    assert 32 * layer + 2 * 32000 * 4096 + 4096 == 6_738_415_616


def test_a_cache_changes_no_bit():
    model = models.llama(**SMALL)
    tokens = lc.randint(0, 30, (3, 12))
    with lc.no_grad():
        at_once = model(tokens)
        cache = model.make_cache(3)
        parts = [model(tokens[:, a:b], cache) for a, b in ((0, 5), (5, 6), (6, 12))]
        check.same_bits(lc.cat(parts, 1), at_once)
    greedy = {"greedy": True, "max_new_tokens": 8}
    check.same_bits(model.generate(tokens[:, :4], **greedy), model.generate(tokens[:, :4], use_cache=False, **greedy))
    with pytest.raises(ValueError, match="llama: 13 tokens are more than block_size 12"):
        model(lc.zeros(1, 13, dtype=lc.int64))


def test_what_comes_later_changes_nothing():
    model = models.llama(**SMALL)
    tokens = lc.randint(0, 30, (1, 12))
    other = tokens.clone()
    other[:, 7:] = (other[:, 7:] + 1) % 30
    with lc.no_grad():
        check.same_bits(model(tokens)[:, :7], model(other)[:, :7])


def test_bert_does_not_see_what_is_masked():
    model = models.bert(vocab_size=30, length=9, width=16, layers=2, heads=2, hidden=32)
    tokens, mask = lc.randint(0, 30, (2, 9)), lc.arange(9).unsqueeze(0) < lc.tensor([[6], [9]])
    other = tokens.clone()
    other[0, 6:] = (other[0, 6:] + 1) % 30
    with lc.no_grad():
        a, b = model(tokens, mask), model(other, mask)
    check.same_bits(a[0][0, :6], b[0][0, :6])
    check.same_bits(a[1], b[1])
    with pytest.raises(ValueError, match="bert: 10 tokens are more than length 9"):
        model(lc.zeros(1, 10, dtype=lc.int64))


def test_sizes_that_do_not_fit():
    with pytest.raises(ValueError, match="heads 4 must be divisible by kv_heads 3"):
        models.llama(**(SMALL | {"kv_heads": 3}))
    with pytest.raises(ValueError, match="head_dim 3 by 2"):
        models.llama(**SMALL, head_dim=3)
