"""Philox against its authors' known answers, and independence from batches and call order."""

import numpy as np
import pytest

from littlecore.data.counter_random import SampleRandom, philox, shuffled, split_order

# Known-answer vectors of Random123 for philox4x32-10: counter, key, result.
KNOWN = [
    ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        (0xA4093822, 0x299F31D0),
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_known_answers(counter, key, expected):
    assert philox(np.array(counter, np.uint64)[:, None], key)[:, 0].tolist() == expected


def test_a_sample_does_not_depend_on_its_batch():
    def draws(indices):
        random = SampleRandom(7, 3, np.array(indices))
        return random.uniform(0, 1, 5), random.integers(0, 100, 2, 3), random.uniform()

    together, alone = draws([4, 9, 2**40, 11]), draws([2**40])
    for many, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(many[2], one[0])
        assert not np.array_equal(many[0], many[1])


@pytest.mark.parametrize(("seed", "epoch"), [(1, 0), (0, 1), (2**32, 0)])
def test_seed_and_epoch_change_everything(seed, epoch):
    indices = np.arange(64)
    assert not (SampleRandom(seed, epoch, indices).bits() == SampleRandom(0, 0, indices).bits()).any()
    assert not np.array_equal(shuffled(64, seed, epoch), shuffled(64, 0, 0))


def test_the_shuffle_is_a_fixed_permutation():
    # Pinned: a change of these numbers would change the data order of every recorded run.
    assert shuffled(8, 0, 0).tolist() == [6, 1, 2, 4, 5, 0, 3, 7]
    for n in (0, 1, 2, 1000):
        assert sorted(shuffled(n, 5, 6).tolist()) == list(range(n))
    assert not np.array_equal(shuffled(50, 5, 0), split_order(50, 5))


def test_uniform_and_integers_are_uniform():
    random = SampleRandom(11, 0, np.arange(20_000))
    u = random.uniform(-2, 3)
    assert -2 <= u.min() < -1.99 and 2.99 < u.max() < 3
    counts = np.bincount(random.integers(0, 10), minlength=10)
    assert counts.shape == (10,)
    chi_square = ((counts - 2000) ** 2 / 2000).sum()
    assert 2.1 < chi_square < 21.7  # 1 % quantiles of 9 degrees of freedom; the seed is fixed, so this is a constant


def test_an_impossible_range_is_refused():
    with pytest.raises(ValueError, match="range"):
        SampleRandom(0, 0, np.arange(3)).integers(5, 5)
