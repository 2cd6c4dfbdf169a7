"""Module: the tree, its names, state, hooks, types and how it prints."""

import copy

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)
        self.last = nn.Sequential(nn.ReLU(), nn.Linear(4, 2, bias=False))
        self.register_buffer("scale", lc.ones(2))
        self.register_buffer("scratch", lc.zeros(1), persistent=False)

    def forward(self, x):
        return self.last(self.norm(self.first(x))) * self.scale


KEYS = [
    "scale", "first.weight", "first.bias", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var",
    "norm.num_batches_tracked", "last.1.weight",
]  # fmt: skip


def values(model):
    return {k: np.array(v.numpy()) for k, v in model.state_dict().items()}


def test_names_stand_in_the_order_of_assignment():
    net = Net()
    assert list(net.state_dict()) == KEYS
    assert [n for n, _ in net.named_parameters()] == [
        k for k in KEYS if "running" not in k and "num" not in k and k != "scale"
    ]
    assert [n for n, _ in net.named_buffers()][:2] == ["scale", "scratch"]
    assert [n for n, _ in net.named_modules()] == ["", "first", "norm", "last", "last.0", "last.1"]
    assert [n for n, _ in net.named_children()] == ["first", "norm", "last"]
    assert net.get_submodule("last.1") is net.last[1] and net.get_parameter("first.bias") is net.first.bias


def test_assignment_registers_and_refuses():
    net = Net()
    with pytest.raises(TypeError, match="cannot assign"):
        net.first.weight = lc.zeros(4, 3)
    with pytest.raises(TypeError, match="cannot assign"):
        net.first = lc.zeros(1)
    net.scale = lc.zeros(2)
    assert net.state_dict()["scale"].tolist() == [0, 0]
    net.first.bias = None
    assert "first.bias" not in net.state_dict() and net.first.bias is None
    del net.first
    assert not hasattr(net, "first") and "first.weight" not in net.state_dict()
    with pytest.raises(AttributeError, match="before Module"):
        type("Early", (nn.Module,), {"__init__": lambda self: setattr(self, "w", nn.Parameter(lc.zeros(1)))})()


def test_state_dict_goes_round_and_is_strict():
    one, two = Net(), Net()
    assert str(two.load_state_dict(one.state_dict())) == "<All keys matched successfully>"
    for key, value in values(one).items():
        np.testing.assert_array_equal(value, values(two)[key])

    before = values(two)
    state = dict(one.state_dict())
    state["extra"] = state.pop("scale")
    with pytest.raises(RuntimeError, match=r'Unexpected key.*"extra"(.|\n)*Missing key.*"scale"'):
        two.load_state_dict(state)
    assert two.load_state_dict(state, strict=False) == (["scale"], ["extra"])
    with pytest.raises(RuntimeError, match=r"size mismatch for first.weight.*\(3, 4\).*\(4, 3\)"):
        two.load_state_dict({**one.state_dict(), "first.weight": lc.zeros(3, 4)})
    for key, value in values(two).items():
        np.testing.assert_array_equal(value, before[key])  # a refused load changes nothing


def test_loading_copies_and_takes_arrays():
    net = Net()
    state = {k: v + 1 if v.dtype.kind == "f" else v for k, v in values(net).items()}
    net.load_state_dict(state)
    state["first.bias"][:] = 7
    assert not np.any(net.first.bias.detach().numpy() == 7)
    weight = net.first.weight
    net.load_state_dict({k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in state.items()}, assign=True)
    assert net.first.weight is weight and weight.dtype is lc.float64
    assert net.scale.dtype is lc.float64


def test_state_dict_shares_memory_and_has_no_history():
    net = Net()
    state = net.state_dict()
    assert not state["first.weight"].requires_grad
    with lc.no_grad():
        net.first.weight.fill_(3)
    assert np.all(state["first.weight"].numpy() == 3)


def test_tied_parameters_are_counted_once_and_stored_under_both_names():
    net = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    net[1].weight = net[0].weight
    assert [n for n, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert "1.weight" in net.state_dict()
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight and twin[0].weight is not net[0].weight
    net.double()
    assert net[1].weight is net[0].weight and net[0].weight.dtype is lc.float64


def test_to_keeps_identity_and_converts_gradients():
    net = Net()
    parameters = list(net.parameters())
    net(lc.ones(5, 3)).sum().backward()
    net.to(lc.float64)
    assert all(a is b for a, b in zip(parameters, net.parameters(), strict=True))
    assert all(p.dtype is lc.float64 and p.grad.dtype is lc.float64 for p in parameters)
    assert net.norm.num_batches_tracked.dtype is lc.int64
    assert net(lc.ones(5, 3, dtype=lc.float64)).dtype is lc.float64
    with pytest.raises(TypeError, match="floating"):
        net.to(lc.int64)


def test_modes_apply_requires_grad_zero_grad():
    net = Net()
    net.eval()
    assert not any(m.training for m in net.modules())
    net.last.train()
    assert [m.training for m in net.modules()] == [False, False, False, True, True, True]
    net.requires_grad_(False)
    assert not any(p.requires_grad for p in net.parameters())
    net.requires_grad_()
    net(lc.ones(5, 3)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad(set_to_none=False)
    assert all(np.all(p.grad.numpy() == 0) for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    seen = []
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["Linear", "BatchNorm1d", "ReLU", "Linear", "Sequential", "Net"]


def test_forward_hooks_run_in_order_and_replace():
    layer, log = nn.Identity(), []
    handles = [
        layer.register_forward_pre_hook(lambda m, args: log.append("pre")),
        layer.register_forward_pre_hook(lambda m, args: args[0] + 1, prepend=True),
        layer.register_forward_hook(lambda m, args, y: y * 10),
        layer.register_forward_hook(lambda m, args, kwargs, y: log.append(y.item()), with_kwargs=True),
    ]
    assert layer(lc.tensor(1.0)).item() == 20 and log == ["pre", 20]
    for h in handles:
        h.remove()
    assert layer(lc.tensor(1.0)).item() == 1 and not layer._hooked


def test_backward_hooks_see_and_replace_gradients():
    layer = nn.Linear(2, 2, bias=False)
    with lc.no_grad():
        layer.weight.copy_(lc.tensor([[1.0, 2.0], [3.0, 4.0]]))
    seen = []
    handle = layer.register_full_backward_hook(lambda m, dx, dy: seen.append((dx[0].tolist(), dy[0].tolist())))
    doubling = layer.register_full_backward_pre_hook(lambda m, dy: (dy[0] * 2,))
    x = lc.tensor([[1.0, 1.0]], requires_grad=True)
    layer(x).sum().backward()
    assert seen == [([[8.0, 12.0]], [[2.0, 2.0]])]
    assert x.grad.tolist() == [[8.0, 12.0]] and layer.weight.grad.tolist() == [[2, 2], [2, 2]]

    doubling.remove()
    halving = layer.register_full_backward_hook(lambda m, dx, dy: (dx[0] / 4,))
    x.grad = None
    layer(x).sum().backward()
    assert x.grad.tolist() == [[1.0, 1.5]]
    handle.remove()
    halving.remove()
    inputs_without_gradient = []
    layer.register_full_backward_hook(lambda m, dx, dy: inputs_without_gradient.append(dx))
    layer(lc.ones(1, 2)).sum().backward()
    assert inputs_without_gradient == [(None,)]


def test_repr():
    assert repr(nn.Linear(2, 3)) == "Linear(in_features=2, out_features=3, bias=True)"
    assert repr(nn.Sequential(nn.Flatten(), nn.ReLU())) == (
        "Sequential(\n  (0): Flatten(start_dim=1, end_dim=-1)\n  (1): ReLU()\n)"
    )


def test_containers():
    modules = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    modules.append(nn.ReLU())
    modules.insert(0, nn.Tanh())
    assert [type(m).__name__ for m in modules] == ["Tanh", "Linear", "Linear", "Linear", "ReLU"]
    assert list(modules._modules) == ["0", "1", "2", "3", "4"] and len(modules[1:3]) == 2 and modules[-1] is modules[4]
    del modules[0]
    assert isinstance(modules[0], nn.Linear) and len(list(modules.parameters())) == 6

    named = nn.ModuleDict({"a": nn.Linear(1, 2), "b": nn.ReLU()})
    named["c"] = nn.Tanh()
    assert list(named) == ["a", "b", "c"] and "b" in named and list(named.state_dict()) == ["a.weight", "a.bias"]
    named.pop("b")
    assert list(named.keys()) == ["a", "c"]

    listed = nn.ParameterList([nn.Parameter(lc.zeros(2)), lc.ones(3)])
    assert [tuple(p.shape) for p in listed] == [(2,), (3,)] and list(listed.state_dict()) == ["0", "1"]

    chain = nn.Sequential({"in": nn.Linear(2, 3), "out": nn.Linear(3, 1)})
    assert tuple(chain(lc.ones(4, 2)).shape) == (4, 1) and next(iter(chain.state_dict())) == "in.weight"
    assert isinstance(chain[:1], nn.Sequential) and len(chain[:1]) == 1


def test_parameters_are_tensors_that_require_grad():
    p = nn.Parameter(lc.ones(2))
    assert isinstance(p, lc.Tensor) and p.requires_grad and p.is_leaf
    assert not nn.Parameter(lc.ones(2), requires_grad=False).requires_grad
    assert not isinstance(p * 1, nn.Parameter) and not isinstance(p.detach(), nn.Parameter)
    (p * p).sum().backward()
    assert p.grad.tolist() == [2, 2]
    assert repr(p).startswith("Parameter containing:")


FUSED = [
    nn.ReLU(), nn.GELU(), nn.GELU(approximate="tanh"), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.Hardswish(),
]  # fmt: skip


@pytest.mark.parametrize("activation", FUSED, ids=repr)
def test_a_linear_and_its_activation_are_what_they_are_apart(activation):
    lc.manual_seed(3)
    net = nn.Sequential(nn.Linear(7, 40), activation, nn.Linear(40, 5))
    x = lc.randn(30, 7)
    together = net(x)
    together.sum().backward()
    grads = [p.grad.numpy() for p in net.parameters()]
    net.zero_grad()
    apart = net[2](activation(net[0](x)))
    apart.sum().backward()
    np.testing.assert_allclose(together.detach().numpy(), apart.detach().numpy(), rtol=1e-5, atol=1e-6)
    for got, p in zip(grads, net.parameters(), strict=True):
        np.testing.assert_allclose(got, p.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_hooks_see_a_linear_and_its_activation_apart():
    net, x, seen = nn.Sequential(nn.Linear(3, 4), nn.ReLU()), lc.randn(5, 3), []
    fused = net(x)
    for hooked in net:
        handle = hooked.register_forward_hook(lambda module, args, y: seen.append((type(module), args[0].shape)))
        check.same_bits(net(x), fused)
        handle.remove()
    assert seen == [(nn.Linear, (5, 3)), (nn.ReLU, (5, 4))]
    net[0].forward = lambda input: input[:, :1]
    assert net(x).shape == (5, 1)
