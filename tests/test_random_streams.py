"""Random numbers: reproducible, independent of the threads, distributed as they say; fixed seeds, so never flaky."""

from __future__ import annotations

import math

import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import data, nn

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


# ---- generators of one's own ---------------------------------------------------------------------

DRAWS = {
    "rand": lambda g: lc.rand(3, 5, generator=g),
    "rand_like": lambda g: lc.rand_like(lc.zeros(9), generator=g),
    "randn": lambda g: lc.randn((9,), generator=g, dtype=lc.float64),
    "randint": lambda g: lc.randint(-5, 50, (9,), generator=g),
    "randint from 0": lambda g: lc.randint(50, (9,), generator=g),
    "randperm": lambda g: lc.randperm(20, generator=g),
    "normal": lambda g: lc.normal(lc.zeros(9), 2.0, generator=g),
    "bernoulli": lambda g: lc.bernoulli(lc.full((40,), 0.5), generator=g),
    "multinomial": lambda g: lc.multinomial(lc.ones(30), 9, generator=g),
    "uniform_": lambda g: lc.empty(9).uniform_(-1, 1, generator=g),
    "normal_": lambda g: lc.empty(9).normal_(generator=g),
    "bernoulli_": lambda g: lc.empty(40).bernoulli_(0.5, generator=g),
    "random_": lambda g: lc.empty(9).random_(0, 99, generator=g),
    "init.uniform_": lambda g: nn.init.uniform_(lc.empty(9), generator=g),
    "init.normal_": lambda g: nn.init.normal_(lc.empty(9), generator=g),
    "init.trunc_normal_": lambda g: nn.init.trunc_normal_(lc.empty(9), generator=g),
    "init.trunc_normal_ of a tail": lambda g: nn.init.trunc_normal_(lc.empty(9), a=2.0, b=3.0, generator=g),
    "init.xavier_uniform_": lambda g: nn.init.xavier_uniform_(lc.empty(3, 4), generator=g),
    "init.xavier_normal_": lambda g: nn.init.xavier_normal_(lc.empty(3, 4), generator=g),
    "init.kaiming_uniform_": lambda g: nn.init.kaiming_uniform_(lc.empty(3, 4), generator=g),
    "init.kaiming_normal_": lambda g: nn.init.kaiming_normal_(lc.empty(3, 4), generator=g),
    "init.orthogonal_": lambda g: nn.init.orthogonal_(lc.empty(3, 4), generator=g),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_generator_draws_what_the_default_one_would_and_leaves_it_alone(name):
    draw = DRAWS[name]
    lc.manual_seed(7)
    want = [draw(None).numpy().tobytes() for _ in range(2)]
    before = lc.get_rng_state().tolist()
    generator = lc.Generator().manual_seed(7)
    assert [draw(generator).numpy().tobytes() for _ in range(2)] == want and want[0] != want[1]
    assert lc.get_rng_state().tolist() == before
    assert draw(lc.default_generator).numpy().tobytes() == draw(generator).numpy().tobytes()


def test_a_generators_state_goes_back_and_over():
    one, two = lc.Generator("cpu").manual_seed(3), lc.Generator()
    assert one.initial_seed() == 3 and two.initial_seed() == 0 and str(one.device) == "cpu"
    lc.rand(5, generator=one)
    state = one.get_state()
    want = lc.rand(5, generator=one).tolist()
    assert two.set_state(state) is two and lc.rand(5, generator=two).tolist() == want
    assert one.set_state(state).initial_seed() == 3 and lc.rand(5, generator=one).tolist() == want
    assert one.seed() == one.initial_seed() != two.seed()
    assert lc.manual_seed(4) is lc.default_generator and lc.initial_seed() == 4
    for wrong in (lc.zeros(16), lc.zeros(3, dtype=lc.uint8)):
        with pytest.raises(ValueError, match="set_state"):
            one.set_state(wrong)
    with pytest.raises(TypeError):
        lc.rand(3, generator=5)
    with pytest.raises(ValueError, match="all devices"):
        lc.Generator("cuda")


def test_loaders_and_splits_take_a_generators_seed():
    dataset = data.TensorDataset(np.arange(40))

    def order(generator):
        loader = data.DataLoader(dataset, 7, shuffle=True, generator=generator)
        return [x.tolist() for _ in range(2) for (x,) in loader]

    def parts(generator):
        return [part.indices.tolist() for part in data.random_split(dataset, [30, 10], generator)]

    def seeded(n):
        return lc.Generator().manual_seed(n)

    for draw in (order, parts):
        assert draw(seeded(1)) == draw(seeded(1)) != draw(seeded(2))
        again = seeded(1)
        assert draw(again) != draw(again)  # it has moved on
    before = lc.get_rng_state().tolist()
    assert order(None) == order(None) and lc.get_rng_state().tolist() == before
