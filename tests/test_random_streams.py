"""Random numbers: reproducible, independent of the threads, distributed as they say; fixed seeds, so never flaky."""

from __future__ import annotations

import math

import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F

N = 200_000
Z = 4.5  # standard deviations allowed; with a fixed seed a constant, not a chance


def uniform(n: int = N) -> np.ndarray:
    return lc.rand(n).numpy()


@pytest.mark.parametrize(
    "draw", [lc.rand, lc.randn, lambda n: F.dropout(lc.ones(n), 0.3), lambda n: lc.randint(0, 9, (n,))]
)
def test_a_seed_decides_everything_and_threads_nothing(draw):
    results = []
    for threads in (1, 2, 3, 8):
        lc.set_num_threads(threads)
        lc.manual_seed(5)
        results.append((draw(N).numpy().tobytes(), draw(1001).numpy().tobytes()))
    assert all(r == results[0] for r in results)
    lc.manual_seed(6)
    assert draw(N).numpy().tobytes() != results[0][0]
    assert draw(1001).numpy().tobytes() != results[0][1]


def test_successive_draws_differ():
    lc.manual_seed(0)
    assert not np.array_equal(uniform(1000), uniform(1000))


def test_uniform_is_uniform():
    lc.manual_seed(1)
    x = uniform()
    assert x.min() >= 0 and x.max() < 1
    counts = np.histogram(x, 256, (0, 1))[0]
    chi2 = float(((counts - N / 256) ** 2 / (N / 256)).sum())
    assert abs(chi2 - 255) < Z * math.sqrt(2 * 255), chi2
    pairs = np.histogram2d(x[:-1:2], x[1::2], 16, ((0, 1), (0, 1)))[0]
    chi2 = float(((pairs - N / 512) ** 2 / (N / 512)).sum())
    assert abs(chi2 - 255) < Z * math.sqrt(2 * 255), f"neighbours depend on each other: {chi2}"


def test_normal_is_normal():
    lc.manual_seed(2)
    x = np.sort(lc.randn(N).numpy().astype(np.float64))
    cdf = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x[::50]])
    distance = np.abs(cdf - np.arange(0, N, 50) / N).max()
    assert distance < 1.95 / math.sqrt(N) + 50 / N, f"Kolmogorov-Smirnov distance {distance}"
    assert abs((x**4).mean() - 3) < Z * math.sqrt(96 / N)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_p_and_keeps_the_mean(p: float):
    lc.manual_seed(3)
    y = F.dropout(lc.ones(N), p).numpy()
    dropped = (y == 0).mean()
    assert abs(dropped - p) < Z * math.sqrt(p * (1 - p) / N)
    assert np.all(y[y != 0] == np.float32(1) / np.float32(1 - p))


def test_dropouts_gradient_has_the_same_mask():
    x = lc.ones(1000, requires_grad=True)
    y = F.dropout(x, 0.4)
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.detach().numpy())


def test_permutation_and_integers():
    lc.manual_seed(4)
    p = lc.randperm(1000).numpy()
    assert sorted(p.tolist()) == list(range(1000)) and p.tolist() != list(range(1000))
    i = lc.randint(-3, 4, (N,)).numpy()
    counts = np.bincount(i + 3, minlength=7)
    assert len(counts) == 7
    chi2 = float(((counts - N / 7) ** 2 / (N / 7)).sum())
    assert chi2 < 6 + Z * math.sqrt(12)
