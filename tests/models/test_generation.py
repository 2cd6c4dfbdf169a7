"""Sampling: cached equals uncached to the bit, filters keep what they should, frequencies follow the probabilities."""

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import models


def small():
    lc.manual_seed(0)
    return models.gpt(vocab_size=61, block_size=24, n_layer=2, n_head=2, n_embd=32).eval()


def prompt(rows, length):
    return lc.from_numpy(np.random.default_rng(length).integers(0, 61, (rows, length)))


def test_logits_with_a_cache_are_the_same_bits():
    model, tokens = small(), prompt(2, 24)
    with lc.no_grad():
        whole = model(tokens).numpy()
        cache, parts = model.make_cache(2), []
        for begin, end in ((0, 5), (5, 6), (6, 7), (7, 15), (15, 16), (16, 24)):
            parts.append(model(tokens[:, begin:end], cache).numpy())
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
    assert cache.length == 24
    with pytest.raises(ValueError, match="25 tokens"):
        model(tokens[:, :1], cache)


def test_logits_with_a_fixed_cache_are_as_good():
    model, tokens, logits = small(), prompt(2, 24), {}
    with lc.no_grad():
        for fixed in (False, True):
            cache = model.make_cache(2, fixed=fixed)
            parts = [model(tokens[:, b:e], cache).numpy() for b, e in ((0, 5), (5, 6), (6, 7), (7, 15), (15, 24))]
            logits[fixed] = np.concatenate(parts, axis=1)
        check.no_worse(logits[True], model.double()(tokens).numpy(), logits[False])


@pytest.mark.parametrize("options", [{"greedy": True}, {"temperature": 0.7}, {"top_k": 5, "top_p": 0.8}], ids=str)
def test_generated_tokens_are_the_same_with_and_without_cache(options):
    model = small()
    results = []
    for use_cache in (True, False):
        lc.manual_seed(1)
        results.append(model.generate(prompt(3, 4), 40, use_cache=use_cache, **options).numpy())  # beyond block_size
    np.testing.assert_array_equal(*results)
    assert results[0].shape == (3, 44) and results[0].min() >= 0 and results[0].max() < 61
    assert np.array_equal(results[0][:, :4], prompt(3, 4).numpy())


def test_streaming_yields_what_generate_returns():
    model = small()
    lc.manual_seed(2)
    streamed = [t.tolist() for t in model.stream(prompt(2, 3), 6, top_k=9)]
    lc.manual_seed(2)
    assert np.array_equal(np.transpose(streamed), model.generate(prompt(2, 3), 6, top_k=9).numpy()[:, 3:])


def test_generate_restores_the_mode():
    model = small().train()
    model.generate(prompt(1, 2), 2)
    assert model.training


def test_filters():
    logits = lc.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 5.0, -1.0, 0.0]])
    kept = lambda **options: np.isfinite(models.filtered(logits, **options).numpy()).tolist()  # noqa: E731
    assert kept(top_k=2) == [[False, True, False, True], [True, True, False, False]]
    # probabilities of row 0: 0.032 0.644 0.087 0.237
    assert kept(top_p=0.5)[0] == [False, True, False, False]
    assert kept(top_p=0.7)[0] == [False, True, False, True]
    assert kept(top_p=0.9)[0] == [False, True, True, True]
    assert kept(top_p=1e-6)[0] == [False, True, False, False]
    assert kept(top_k=3, top_p=1.0)[0] == [False, True, True, True]
    np.testing.assert_allclose(models.filtered(logits, temperature=0.5).numpy(), 2 * logits.numpy())
    for wrong in ({"temperature": 0.0}, {"top_k": 0}, {"top_p": 0.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            models.filtered(logits, **wrong)


def test_frequencies_follow_the_probabilities():
    """Chi-square of 20,000 draws over 8 tokens, one of probability 0: below 30 with probability 0.9999."""
    lc.manual_seed(4)
    p = np.array([0.3, 0.05, 0.0, 0.2, 0.15, 0.1, 0.1, 0.1])
    with np.errstate(divide="ignore"):
        logits = lc.from_numpy(np.broadcast_to(np.log(p), (20000, 8)).copy())
    counts = np.bincount(models.sample(logits).numpy(), minlength=8)
    assert counts[2] == 0 and counts.sum() == 20000
    expected = 20000 * p[p > 0]
    assert ((counts[p > 0] - expected) ** 2 / expected).sum() < 30
