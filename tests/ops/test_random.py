"""random: the generator against published words, each fill against the formula; distributions: tests/test_random.py."""

import check
import numpy as np
import pytest
from cases import ISAS
from reference import random as reference

import littlecore as lc

SEED = 0x0123456789ABCDEF


def test_philox_as_published():
    """The known answers of the authors' Random123 library."""
    full = 2**64 - 1
    assert reference.philox(0, 0, 0) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert reference.philox(full, full, full) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


@pytest.mark.parametrize("n", [1, 5, 63, 64, 65, 700])
def test_uniform(n, isa, threads):
    lc.manual_seed(SEED)
    first, second = lc.rand(n), lc.rand(n)
    check.equal(first, reference.uniform(SEED, 0, n))
    check.equal(second, reference.uniform(SEED, 1, n))


@pytest.mark.parametrize("n", [1, 33, 64, 1000])
def test_normal(n):
    lc.manual_seed(SEED)
    want = reference.normal(SEED, 0, n)
    check.bounded(lc.randn(n), want, np.abs(want) + 1, 4)


@pytest.mark.parametrize("draw", [lc.rand, lc.randn, lc.randperm, lambda n: lc.randint(-5, 9, (n,))])
@pytest.mark.parametrize("n", [130, 40_000])
def test_the_same_on_every_isa(draw, n):
    results = []
    for isa in ISAS:
        lc._core.set_isa(isa)
        lc.manual_seed(3)
        results.append(draw(n))
        check.same_bits(results[-1], results[0])


def test_state_goes_back():
    lc.manual_seed(8)
    lc.rand(10)
    state = lc.get_rng_state()
    a = lc.randn(100)
    lc.set_rng_state(state)
    check.same_bits(lc.randn(100), a)
    assert lc.initial_seed() == 8
    with pytest.raises(ValueError, match="set_rng_state"):
        lc.set_rng_state(lc.zeros(3))


def test_in_place_fills():
    lc.manual_seed(4)
    x = lc.empty(40, 30).t().uniform_(-2, 3)
    assert -2 <= float(x.min()) < -1.9
    assert 2.9 < float(x.max()) < 3
    y = lc.empty(5000, dtype=lc.float64).normal_(7, 0.5)
    assert abs(float(y.mean()) - 7) < 0.05
    assert abs(float(y.std()) - 0.5) < 0.03
    z = lc.empty(5000, dtype=lc.bfloat16).bernoulli_(0.25)
    assert abs(float(z.float().mean()) - 0.25) < 0.03


def test_double_has_53_bits():
    lc.manual_seed(1)
    x = lc.rand(1000, dtype=lc.float64).numpy()
    assert np.all(x * 2**53 == np.floor(x * 2**53))
    assert np.any(x * 2**30 != np.floor(x * 2**30))


def test_integers_cover_their_range():
    lc.manual_seed(2)
    x = lc.randint(-3, 4, (7000,)).numpy()
    assert np.all(np.abs(np.bincount(x + 3, minlength=7) - 1000) < 150)
    wide = lc.randint(-(2**62), 2**62, (1000,)).numpy()
    assert wide.min() < -(2**61)
    assert wide.max() > 2**61
    with pytest.raises(ValueError, match="randint"):
        lc.randint(3, 3, (1,))


def test_permutation():
    lc.manual_seed(3)
    p = lc.randperm(1000).numpy()
    assert sorted(p) == list(range(1000))
    assert np.sum(p == np.arange(1000)) < 10
    check.equal(lc.randperm(1), np.array([0]))


def test_multinomial():
    lc.manual_seed(5)
    weights = lc.tensor([1.0, 0.0, 3.0, 6.0])
    counts = np.bincount(lc.multinomial(weights, 20_000, True).numpy(), minlength=4) / 20_000
    assert np.allclose(counts, [0.1, 0, 0.3, 0.6], atol=0.015)
    drawn = lc.multinomial(weights.expand(50, 4), 3).numpy()
    assert all(sorted(row) == [0, 2, 3] for row in drawn)
    with pytest.raises(ValueError, match="multinomial"):
        lc.multinomial(weights, 4)


def test_bernoulli_follows_each_probability():
    lc.manual_seed(6)
    p = lc.tensor([0.0, 0.2, 1.0]).expand(4000, 3)
    mean = lc.bernoulli(p).mean(0).numpy()
    assert mean[0] == 0
    assert mean[2] == 1
    assert abs(mean[1] - 0.2) < 0.03
