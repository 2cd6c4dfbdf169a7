"""Gradient modes, user-defined functions, checkpointing: what the tape's own tests leave out."""

import numpy as np
import pytest

import littlecore as lc
from littlecore import autograd, nn


def enabled():
    return autograd.is_grad_enabled()


@pytest.mark.vacuous
def test_modes_nest_and_return():
    with autograd.no_grad():
        assert not enabled()
        with autograd.enable_grad():
            assert enabled()
            with autograd.inference_mode():
                assert not enabled()
            assert enabled()
        assert not enabled()
        with autograd.inference_mode(False):
            assert enabled()
    assert enabled()
    with lc.set_grad_enabled(False):
        assert not enabled()
    assert enabled()
    autograd.set_grad_enabled(False)
    assert not enabled()
    autograd.set_grad_enabled(True)


@pytest.mark.parametrize(
    "decorate", [lambda f: autograd.no_grad()(f), autograd.no_grad, lambda f: autograd.set_grad_enabled(False)(f)]
)
def test_decorators(decorate):
    @decorate
    def function(x):
        assert not enabled()
        return x * 2

    assert function(lc.ones(1).requires_grad_()).requires_grad is False and enabled()
    assert function.__name__ == "function"


def test_a_decorated_generator_leaves_its_consumer_alone():
    @autograd.no_grad()
    def numbers():
        for i in range(3):
            assert not enabled()
            sent = yield i
            assert sent is None or sent == i * 10
        return "end"

    generator, seen = numbers(), []
    for value in generator:
        assert enabled()
        seen.append(value)
    assert seen == [0, 1, 2]


class Split(autograd.Function):
    """(x, y) -> (x * y, x + y, rounded x); the third has no gradient."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, None, y)
        whole = lc.round(x)
        ctx.mark_non_differentiable(whole)
        return x * y, x + y, whole

    @staticmethod
    def backward(ctx, da, db, dw):
        x, nothing, y = ctx.saved_tensors
        assert nothing is None and dw is None
        return da * y + db, da * x + db if ctx.needs_input_grad[1] else None


def test_functions_of_several_outputs():
    x, y = lc.tensor([1.5, 2.5], requires_grad=True), lc.tensor([3.0, 4.0], requires_grad=True)
    product, total, whole = Split.apply(x, y)
    assert not whole.requires_grad and product.grad_fn.name() == "Split"
    product.sum().backward()  # nobody sends a gradient for the second output: it arrives as zeros
    assert x.grad.tolist() == [3, 4] and y.grad.tolist() == [1.5, 2.5]
    x.grad = None
    (product, total, _) = Split.apply(x, y.detach())
    (product + 2 * total).sum().backward()
    assert x.grad.tolist() == [5, 6]
    assert autograd.gradcheck(
        lambda x, y: Split.apply(x, y)[:2], [t.detach().double().requires_grad_() for t in (x, y)]
    )


def test_a_function_that_returns_its_input():
    class Reverse(autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, dy):
            return -dy

    x = lc.ones(2).requires_grad_()
    y = Reverse.apply(x)
    (y * 3).sum().backward()
    assert y is not x and x.grad.tolist() == [-3, -3]


@pytest.mark.parametrize(
    ("result", "message"),
    [((None, None), "returned None"), ((lc.ones(1),), "1 gradients"), ((lc.ones(1),) * 2, "no tensor")],
)
def test_wrong_gradients_are_refused(result, message):
    class Wrong(autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            return x * factor

        @staticmethod
        def backward(ctx, dy):
            return result

    with pytest.raises(RuntimeError, match=message):
        Wrong.apply(lc.ones(1).requires_grad_(), 2.0).backward()


def run(model, x, forward):
    for p in model.parameters():
        p.grad = None
    lc.manual_seed(3)
    x = x.detach().requires_grad_()
    y = forward(x)
    after = lc.rand(4).numpy().tobytes()
    y.sum().backward()
    grads = [x.grad, *(p.grad for p in model.parameters())]
    return [y.detach().numpy().tobytes(), after, lc.rand(4).numpy().tobytes(), *(g.numpy().tobytes() for g in grads)]


def test_checkpointing_repeats_the_same_random_numbers():
    model = nn.Sequential(*[layer for _ in range(4) for layer in (nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.5))])
    x = lc.randn(5, 8)
    plain = run(model, x, model)
    assert plain == run(model, x, lambda x: autograd.checkpoint(model, x))
    assert plain == run(model, x, lambda x: autograd.checkpoint_sequential(list(model), 3, x))


def test_checkpointing_where_only_parameters_want_gradients():
    model, x = nn.Linear(3, 2), lc.ones(4, 3)
    autograd.checkpoint(model, x).sum().backward()
    assert model.bias.grad.tolist() == [4, 4]
    with lc.no_grad():
        assert not autograd.checkpoint(model, x).requires_grad


def test_gradcheck_wants_float64_and_a_gradient():
    with pytest.raises(ValueError, match="float64"):
        autograd.gradcheck(lc.exp, lc.ones(1).requires_grad_())
    with pytest.raises(ValueError, match="at least one"):
        autograd.gradcheck(lc.exp, lc.ones(1))
    x = lc.from_numpy(np.array([0.5, 1.0])).requires_grad_()
    assert autograd.gradcheck(lambda x: (x.exp(), x * 2), x)
    assert not autograd.gradcheck(lambda x: x.detach() * x, x, raise_exception=False)
