"""Initialisation: distributions by their moments and their distribution functions; fixed seeds, so never flaky."""

import math

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import nn

Z = 4.5  # standard deviations allowed; with a fixed seed a constant, not a chance
SHAPE = (60, 40, 3, 3)  # fan_in 360, fan_out 540


def drawn(fill, shape=SHAPE):
    lc.manual_seed(11)
    x = nn.Parameter(lc.empty(*shape))
    assert fill(x) is x and x.requires_grad and x.is_leaf
    return x.detach().numpy().astype(np.float64).ravel()


def has_std(x, std, kurtosis):
    """Mean 0 and this standard deviation, to the accuracy that a sample of this size has."""
    assert abs(x.mean()) < Z * std / math.sqrt(x.size)
    assert abs(x.var() / std**2 - 1) < Z * math.sqrt((kurtosis - 1) / x.size)


UNIFORM, NORMAL = 1.8, 3.0  # fourth moment over the variance squared


@pytest.mark.parametrize(
    "fill, std, kurtosis",
    [
        (lambda x: nn.init.uniform_(x, -0.3, 0.3), 0.3 / math.sqrt(3), UNIFORM),
        (lambda x: nn.init.normal_(x, 0.0, 0.02), 0.02, NORMAL),
        (lambda x: nn.init.xavier_uniform_(x, gain=2.0), 2 * math.sqrt(2 / 900), UNIFORM),
        (lambda x: nn.init.xavier_normal_(x), math.sqrt(2 / 900), NORMAL),
        (lambda x: nn.init.kaiming_uniform_(x, a=math.sqrt(5)), math.sqrt(1 / 3 / 360), UNIFORM),
        (lambda x: nn.init.kaiming_uniform_(x, nonlinearity="relu"), math.sqrt(2 / 360), UNIFORM),
        (lambda x: nn.init.kaiming_normal_(x, mode="fan_out", nonlinearity="relu"), math.sqrt(2 / 540), NORMAL),
        (lambda x: nn.init.kaiming_normal_(x, nonlinearity="tanh"), 5 / 3 / math.sqrt(360), NORMAL),
    ],
    ids=["uniform", "normal", "xavier uniform", "xavier normal", "kaiming uniform", "relu", "fan out", "tanh"],
)
def test_standard_deviations(fill, std, kurtosis):
    x = drawn(fill)
    has_std(x, std, kurtosis)
    if kurtosis == UNIFORM:
        assert 0.999 * std * math.sqrt(3) < np.abs(x).max() <= std * math.sqrt(3) * (1 + 2**-22)
    else:
        assert np.abs(x).max() > 3.5 * std


@pytest.mark.parametrize(
    "mean, std, a, b", [(0, 1, -2, 2), (0.5, 2, -1, 1), (0, 1, 2, 3), (0, 1, -9, -2.5), (1, 0.1, 0, 9)]
)
def test_truncated_normal(mean, std, a, b):
    """Kolmogorov-Smirnov against the distribution function between a and b."""
    x = np.sort(drawn(lambda x: nn.init.trunc_normal_(x, mean, std, a, b)))
    assert a <= x[0] and x[-1] <= b

    def below(v):
        return 0.5 * math.erfc(-(v - mean) / std / math.sqrt(2))

    cdf = (np.array([below(v) for v in x]) - below(a)) / (below(b) - below(a))
    assert np.abs(cdf - (np.arange(x.size) + 0.5) / x.size).max() < 1.95 / math.sqrt(x.size)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (8, 3, 2, 2), (1, 4)])
def test_orthogonal(shape):
    lc.manual_seed(1)
    q = nn.init.orthogonal_(lc.empty(*shape, dtype=lc.float64), gain=1.5).numpy().reshape(shape[0], -1)
    q = q if q.shape[0] <= q.shape[1] else q.T
    size = np.abs(q) @ np.abs(q).T
    check.contraction(lc.from_numpy(q @ q.T), 2.25 * np.eye(len(q)), size, 4 * q.shape[1])


def test_constants():
    assert nn.init.constant_(lc.empty(2), 3.5).tolist() == [3.5, 3.5]
    assert nn.init.zeros_(lc.empty(2)).tolist() == [0, 0] and nn.init.ones_(lc.empty(2)).tolist() == [1, 1]
    assert nn.init.eye_(lc.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize(
    "name, param",
    [*((n, None) for n in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu")), ("leaky_relu", 0.3)],
)
def test_gains_are_pytorchs(name, param):
    torch = pytest.importorskip("torch")
    assert nn.init.calculate_gain(name, param) == torch.nn.init.calculate_gain(name, param)


def test_what_is_refused():
    for call, words in (
        (lambda: nn.init.xavier_uniform_(lc.empty(3)), "fewer than 2 dimensions"),
        (lambda: nn.init.orthogonal_(lc.empty(3)), "2 or more dimensions"),
        (lambda: nn.init.eye_(lc.empty(2, 2, 2)), "2 dimensions"),
        (lambda: nn.init.kaiming_normal_(lc.empty(3, 3), mode="fan"), "Mode fan"),
        (lambda: nn.init.calculate_gain("cube"), "cube"),
        (lambda: nn.init.trunc_normal_(lc.empty(3), a=1, b=1), "less than"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
