"""The tape: what flows where, what is kept, and what is refused."""

from __future__ import annotations

import gc

import check
import numpy as np
import pytest

import littlecore as lc
import littlecore.nn.functional as F
from littlecore import autograd


def leaf(*values: float) -> lc.Tensor:
    return lc.tensor([float(v) for v in values], requires_grad=True)


# ---- flow --------------------------------------------------------------------------------------


def test_gradients_accumulate_until_cleared():
    x = leaf(1, 2)
    for expected in (3.0, 6.0):
        (x * 3).sum().backward()
        assert x.grad.tolist() == [expected] * 2
    x.grad = None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_a_tensor_used_many_times_gets_the_sum():
    x = leaf(2, -3)
    y = x * x + x * x * x + x
    y.sum().backward()
    assert x.grad.tolist() == [2 * v + 3 * v * v + 1 for v in (2, -3)]


def test_branches_that_do_not_matter_are_not_walked():
    x, w = leaf(1, 2), leaf(3, 4)
    y = (x * 2).sum()
    _unused = (x * w).sum()
    y.backward()
    assert w.grad is None and x.grad.tolist() == [2, 2]


def test_a_view_passes_its_gradient_to_where_it_came_from():
    x = lc.ones(3, 4, requires_grad=True)
    y = x[1:].t()[::2] * 5
    y.sum().backward()
    want = np.zeros((3, 4), np.float32)
    want[1:, ::2] = 5
    check.equal(x.grad, want)


def test_broadcast_gradients_are_summed_back():
    x, b = lc.ones(2, 3, 4, requires_grad=True), lc.ones(3, 1, requires_grad=True)
    (x * 2 + b).sum().backward()
    check.equal(b.grad, np.full((3, 1), 8, np.float32) * np.array([[1], [1], [1]]))
    assert tuple(x.grad.shape) == (2, 3, 4)


def test_backward_needs_a_scalar_or_a_gradient():
    y = leaf(1, 2) * 2
    with pytest.raises(RuntimeError, match=r"backward"):
        y.backward()
    with pytest.raises((RuntimeError, ValueError), match=r"shape|size"):
        y.backward(lc.ones(3))


def test_a_tensor_without_history_cannot_be_differentiated():
    with pytest.raises(RuntimeError, match=r"requires_grad|does not require|no history"):
        lc.ones(1).backward()


def test_integers_have_no_gradient():
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        lc.tensor([1, 2], requires_grad=True)
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        lc.tensor([1, 2]).requires_grad_()


# ---- what is kept ------------------------------------------------------------------------------


def test_the_graph_is_released_after_backward_unless_retained():
    x = leaf(1, 2)
    y = (x.exp() * x).sum()
    y.backward(retain_graph=True)
    first = x.grad.numpy().copy()
    y.backward()
    assert np.array_equal(x.grad.numpy(), 2 * first)
    with pytest.raises(RuntimeError, match="retain_graph"):
        y.backward()


def test_backward_frees_what_the_graph_held():
    x = lc.ones(100_000, requires_grad=True)
    gc.collect()
    before = lc.memory.stats()["live_bytes"]
    y = x
    for _ in range(10):
        y = y.exp() * 0.1
    loss = y.sum()
    del y
    held = lc.memory.stats()["live_bytes"] - before
    loss.backward()
    kept = lc.memory.stats()["live_bytes"] - before
    assert held > 9 * 400_000 and kept < 2 * 400_000, f"{held} bytes held before backward, {kept} after"


def test_no_grad_records_nothing():
    x = leaf(1, 2)
    with lc.no_grad():
        assert not lc.is_grad_enabled()
        y = x * 2
        with lc.enable_grad():
            assert (x * 2).requires_grad
    assert not y.requires_grad and y.grad_fn is None and lc.is_grad_enabled()

    @lc.no_grad()
    def double(t: lc.Tensor) -> lc.Tensor:
        return t * 2

    assert not double(x).requires_grad


def test_no_grad_is_left_through_an_exception():
    with pytest.raises(KeyError), lc.no_grad():
        raise KeyError
    assert lc.is_grad_enabled()


def test_detach_shares_memory_and_has_no_history():
    x = leaf(1, 2)
    y = (x * 2).detach()
    assert not y.requires_grad and y.is_leaf
    z = x.detach()
    assert z.data_ptr() == x.data_ptr()


# ---- in-place writes ---------------------------------------------------------------------------


def test_changing_what_backward_needs_is_an_error():
    w = lc.ones(3)
    x = leaf(1, 2, 3)
    y = (x * w).sum()
    w += 1
    with pytest.raises(RuntimeError, match="modified"):
        y.backward()


def test_changing_a_view_of_what_backward_needs_is_an_error():
    w = lc.ones(3)
    y = (leaf(1, 2, 3) * w).sum()
    w[1:].fill_(7)
    with pytest.raises(RuntimeError, match="modified"):
        y.backward()


def test_the_version_counts_writes_and_is_shared_with_views():
    x = lc.zeros(4)
    view, copy = x[1:], x.clone()
    start = x._version
    x.fill_(1)
    view += 1
    view[0] = 5
    assert x._version == view._version == start + 3 and copy._version == 0
    x + 1
    assert x._version == start + 3


def test_a_write_that_backward_does_not_need_is_fine():
    w = lc.ones(3)
    x = leaf(1, 2, 3)
    y = (x + w).sum() + (x * 2).sum()
    w.fill_(7)  # addition keeps nothing
    y.backward()
    assert x.grad.tolist() == [3, 3, 3]


def test_a_leaf_that_requires_grad_is_not_written_in_place():
    x = leaf(1, 2)
    with pytest.raises(RuntimeError, match=r"leaf|requires"):
        x += 1
    with lc.no_grad():
        x += 1
    assert x.tolist() == [2, 3]


# ---- hooks, grad(), functions ------------------------------------------------------------------


def test_hooks_see_and_may_replace_the_gradient():
    x = leaf(1, 2)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.tolist()))
    y = x * 3
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    assert seen == [[30, 30]] and x.grad.tolist() == [30, 30]
    handle.remove()
    (x * 3).sum().backward()
    assert len(seen) == 1


def test_hooks_of_a_leaf_see_what_arrives_and_may_take_themselves_off():
    x, seen = leaf(1, 2), []
    handles = []

    def once(g):
        seen.append(g.tolist())
        handles[0].remove()
        return g + 1

    handles.append(x.register_hook(once))
    x.register_hook(lambda g: g * 10)
    (x * 3 + x * 4).sum().backward()  # one call, with the sum
    assert seen == [[7, 7]] and x.grad.tolist() == [80, 80]
    x.grad = None
    (x * 3).sum().backward()
    assert len(seen) == 1 and x.grad.tolist() == [30, 30]


def test_an_error_in_a_hook_arrives_and_the_engine_goes_on():
    x = leaf(1, 2)
    handle = x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (x * 3).sum().backward()
    handle.remove()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_retain_grad_keeps_what_is_in_the_middle():
    x = leaf(1, 2)
    y = x * 3
    y.retain_grad()
    (y * y).sum().backward()
    assert y.grad.tolist() == [6, 12] and x.grad.tolist() == [18, 36]


def test_grad_returns_and_leaves_grad_alone():
    x, w, u = leaf(1, 2), leaf(3, 4), leaf(5, 6)
    y = (x * w).sum()
    dx, dw = autograd.grad(y, [x, w], retain_graph=True)
    assert dx.tolist() == [3, 4] and dw.tolist() == [1, 2] and x.grad is None
    with pytest.raises(RuntimeError, match=r"unused|depend"):
        autograd.grad(y, [u], retain_graph=True)
    assert autograd.grad(y, [u], allow_unused=True)[0] is None


def test_grad_runs_only_what_leads_to_its_inputs():
    x, w = leaf(1, 2), leaf(3, 4)
    double, seen = w * 2, []
    double.register_hook(lambda g: seen.append("w"))
    middle = x * double
    (dx,) = autograd.grad(middle.sum(), [x], retain_graph=True)
    assert dx.tolist() == [6, 8] and not seen
    (dm, dx) = autograd.grad((middle * middle).sum(), [middle, x], retain_graph=True)
    assert dm.tolist() == [12, 32] and dx.tolist() == [72, 256] and not seen
    autograd.grad(middle.sum(), [w])
    assert seen == ["w"]


class Cube(autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x * x * x * scale

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return dy * x * x * 3 * ctx.scale, None


def test_a_function_of_ones_own():
    x = leaf(1, -2)
    Cube.apply(x, 2.0).sum().backward()
    assert x.grad.tolist() == [6, 24]
    check.gradients(lambda x: Cube.apply(x, 2.0), np.array([0.3, -1.2, 2.0]))


def test_an_error_in_a_functions_backward_arrives_as_it_was():
    class Broken(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, dy):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        Broken.apply(leaf(1)).backward()
    x = leaf(1)  # the engine is usable afterwards
    (x * 2).backward()
    assert x.grad.tolist() == [2]


def test_checkpointing_recomputes_to_the_same_bits_and_holds_less():
    random = np.random.default_rng(0)
    w = lc.from_numpy(random.standard_normal((64, 64))).requires_grad_()
    data = random.standard_normal((64, 64))

    def body(x: lc.Tensor) -> lc.Tensor:
        for _ in range(6):
            x = lc.tanh(x @ w)
        return x

    results = []
    for run in (body, lambda x: autograd.checkpoint(body, x)):
        w.grad = None
        x = lc.from_numpy(data.copy()).requires_grad_()
        gc.collect()
        before = lc.memory.stats()["live_bytes"]
        y = run(x)
        held = lc.memory.stats()["live_bytes"] - before
        y.sum().backward()
        results.append((held, x.grad.numpy().tobytes(), w.grad.numpy().tobytes()))
    assert results[0][1:] == results[1][1:]
    assert results[1][0] < results[0][0] / 3


CHEAP = {
    "gelu": lambda x, w: F.gelu(x),
    "silu": lambda x, w: F.silu(x),
    "linear and gelu": lambda x, w: F.linear(x, w, activation="gelu_tanh"),
    "layer_norm": lambda x, w: F.layer_norm(x, (256,), w[0], w[1]),
    "rms_norm": lambda x, w: F.rms_norm(x, (256,), w[0]),
    "layer_norm of gelu": lambda x, w: F.layer_norm(F.gelu(x), (256,), w[0], w[1]),
}


@pytest.mark.parametrize("op", CHEAP.values(), ids=CHEAP)
def test_a_large_result_that_is_cheap_to_make_again_is_not_kept(op):
    random = np.random.default_rng(0)
    x, w = (lc.from_numpy(random.standard_normal((n, 256)).astype("float32")).requires_grad_() for n in (512, 256))
    results = []
    for through in (lambda y: y, lambda y: y.reshape(2, 256, 256)):  # a view is kept as it is
        x.grad = w.grad = None
        gc.collect()
        before = lc.memory.stats()["live_bytes"]
        z = F.linear(through(op(x, w)), w)
        held = lc.memory.stats()["live_bytes"] - before
        z.backward(lc.ones_like(z), retain_graph=True)
        z.backward(lc.ones_like(z))
        del z
        results.append((held, x.grad.numpy().tobytes(), w.grad.numpy().tobytes()))
    assert results[0][1:] == results[1][1:]
    assert results[0][0] <= results[1][0] - 4 * x.numel()


def test_what_was_changed_before_it_was_saved_is_not_made_again():
    x = lc.ones(300, 300, requires_grad=True)
    w = lc.ones(300, 300, requires_grad=True)
    y = F.silu(x)
    with lc.no_grad():
        y.fill_(2)
    F.linear(y, w).sum().backward()
    assert w.grad.tolist() == np.full((300, 300), 600.0).tolist()


def test_gradcheck_accepts_the_right_and_refuses_the_wrong():
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, dy):
            return dy * 2

    x = lc.tensor([0.3, 1.7], dtype=lc.float64, requires_grad=True)
    assert autograd.gradcheck(lambda x: (x * x).exp(), (x,))
    with pytest.raises(autograd.GradcheckError):
        autograd.gradcheck(Wrong.apply, (x,))
