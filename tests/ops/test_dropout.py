"""dropout: the mask is the one the generator's words say, backward uses the same one, nothing else changes."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.dropout import mask

import littlecore as lc
import littlecore.nn.functional as F


@cases(300)
def test_forward_and_backward(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    shape, p = case.shape("shape", limit=2048), case.pick("p", (0.5, 0.1, 0.9))
    x, dy = case.tensor("x", shape, grad=True), case.tensor("dy", shape)
    seed = case.seed
    lc.manual_seed(seed)
    y = F.dropout(x, p)
    lc.rand(10)  # backward must not depend on what was drawn since
    y.backward(dy)
    z = mask(seed, 0, x.numel(), p).reshape(shape)
    check.elementwise(y, check.wide(x) * z)
    check.elementwise(x.grad, check.wide(dy) * z)
    return y, x.grad


def test_off_and_extremes():
    x = lc.arange(5).float()
    assert F.dropout(x, 0.3, False) is x
    assert F.dropout(x, 0.0) is x
    assert not F.dropout(x, 1.0).any()
    with pytest.raises(ValueError, match="dropout"):
        F.dropout(x, 1.5)


@pytest.mark.parametrize(
    "call, shape", [(F.dropout1d, (6, 9, 5)), (F.dropout2d, (4, 8, 3, 3)), (F.dropout2d, (30, 2, 2))]
)
def test_whole_channels(call, shape):
    lc.manual_seed(1)
    y = call(lc.ones(*shape), 0.4).numpy().reshape(-1, int(np.prod(shape[(len(shape) > 3 or shape[0] == 6) + 1 :])))
    assert np.all(y == y[:, :1])
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.6)}


def test_share_that_stays():
    lc.manual_seed(2)
    y = F.dropout(lc.ones(100_000), 0.3).numpy()
    assert abs((y == 0).mean() - 0.3) < 0.007
    check.equal(np.unique(y), np.float32([0, 1 / 0.7]))
