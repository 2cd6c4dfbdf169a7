"""embedding: rows, and gradients summed in the order of the indices."""

import check
import numpy as np
import pytest
from cases import STORED_FLOATS, Case, cases
from reference.embedding import embedding_backward, embedding_forward

import littlecore as lc


@cases(250)
def test_forward_and_backward(case: Case):
    case.draw_dtype(*STORED_FLOATS)
    rows, cols = case.size("rows", low=1), case.size("cols", high=129)
    shape = case.shape("shape", high=3, limit=60)
    padding = case.pick("padding", (None, 0, -1))
    index, w = case.integers("index", shape, 0, rows), case.tensor("w", (rows, cols), "integer", grad=True)
    y = lc.embedding(index, w, padding)
    dy = case.tensor("dy", y.shape, "integer", bound=1)
    y.backward(dy)
    check.equal(y, embedding_forward(check.array(index), check.array(w)))
    check.equal(w.grad, embedding_backward(check.array(dy), check.array(index), rows, padding))
    return y, w.grad


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("rows, cols, count", [(50, 700, 3000), (20000, 40, 3000), (3, 5, 40000)])
def test_sums_are_made_in_order(threads, rows, cols, count):
    lc.set_num_threads(threads)
    random = np.random.default_rng(rows)
    i, g = random.integers(0, rows, count), random.standard_normal((count, cols)).astype(np.float32)
    w = lc.zeros(rows, cols, requires_grad=True)
    lc.embedding(lc.from_numpy(i), w).backward(lc.from_numpy(g))
    check.same_bits(w.grad, embedding_backward(g, i, rows))


@pytest.mark.parametrize("dtype", [lc.float32, lc.float64, lc.bfloat16], ids=str)
def test_a_tied_readout_has_the_sum_of_both_gradients(dtype):
    random = np.random.default_rng(1)
    i = lc.from_numpy(random.integers(0, 9, (3, 5)))
    table = lc.from_numpy(random.standard_normal((900, 240))).to(dtype)

    def gradients(*tables):
        y = lc.nn.functional.linear(lc.tanh(lc.embedding(i, tables[0], 3)), tables[-1])
        lc.memory.reset_peak()
        before = lc.memory.stats()["live_bytes"]
        y.sum().backward()  # the readout's gradient is there when the embedding's comes
        return [w.grad for w in tables], lc.memory.stats()["peak_bytes"] - before

    (added,), peak = gradients(table.clone().requires_grad_())
    (rows, readout), _ = gradients(table.clone().requires_grad_(), table.clone().requires_grad_())
    check.same_bits(added, rows + readout)
    if dtype != lc.bfloat16:
        assert peak < 1.9 * table.numel() * table.element_size()  # the embedding's is no table of its own


def test_sixteen_bits_are_summed_in_float32():
    w = lc.zeros(2, 3, dtype=lc.bfloat16).requires_grad_()
    lc.embedding(lc.ones(1000, dtype=lc.int32), w).backward(lc.ones(1000, 3, dtype=lc.bfloat16))
    assert w.grad.float().tolist() == [[0] * 3, [1000] * 3]


@pytest.mark.parametrize(
    "index, weight, padding, error, words",
    [
        ([0, 3], (3, 2), None, IndexError, "index 3 is out of range for a table of 3 rows"),
        ([-1], (3, 2), None, IndexError, "index -1"),
        ([0], (3,), None, ValueError, r"2 dims, got shape \[3\]"),
        ([0.0], (3, 2), None, TypeError, "integers"),
        ([0], (3, 2), 3, IndexError, "padding_idx 3"),
    ],
)
def test_wrong_uses_are_refused(index, weight, padding, error, words):
    with pytest.raises(error, match=words):
        lc.embedding(lc.tensor(index), lc.zeros(*weight), padding)
