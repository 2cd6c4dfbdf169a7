"""littlecore.interop.torch: the custom ops by PyTorch's own checks, and unmodified models on littlecore's kernels."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import littlecore.interop.torch as interop  # noqa: E402
from littlecore.interop._signature import SIGNATURES  # noqa: E402

ops = torch.ops.littlecore


def t(*shape: int, grad: bool = True, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def turned(*shape: int) -> Any:
    return t(*shape, grad=False).mT.requires_grad_()


def classes() -> Any:
    return torch.tensor([[0, 2], [1, -100], [2, 2]])


def rotation() -> Any:
    angles = torch.arange(10.0).double().reshape(5, 2)
    return angles.cos(), angles.sin()


CASES = {
    "matmul": (ops.matmul_forward, lambda: (t(2, 3, 4), t(4, 5))),
    "matmul_batches": (ops.matmul_forward, lambda: (t(2, 1, 3, 4), turned(3, 2, 4))),
    "linear": (ops.linear_forward, lambda: (t(2, 3, 4), t(5, 4), t(5))),
    "linear_frozen": (ops.linear_forward, lambda: (t(3, 4), t(5, 4, grad=False), None)),
    "conv2d": (ops.conv2d_forward, lambda: (t(2, 4, 5, 6), t(6, 2, 3, 2), t(6), [2, 1], [1, 0], [1, 2], 2)),
    "softmax": (ops.softmax_forward, lambda: (t(3, 4), 0, True)),
    "layer_norm": (ops.layer_norm_forward, lambda: (t(3, 5), t(5), t(5), 1e-3)),
    "rms_norm": (ops.rms_norm_forward, lambda: (t(3, 5), t(5))),
    "attention": (ops.attention_forward, lambda: (t(2, 4, 3, 5), t(2, 2, 4, 5), t(2, 2, 4, 2), t(1, 4, 3, 4))),
    "attention_causal": (ops.attention_forward, lambda: (t(1, 2, 3, 4), t(1, 2, 3, 4), t(1, 2, 3, 4), None, 0.3, True)),
    "cross_entropy": (ops.cross_entropy_forward, lambda: (t(3, 4, 2), classes(), t(4, grad=False).abs(), -100, 0.1)),
    "gelu": (ops.gelu_forward, lambda: (turned(3, 4), True)),
    "relu": (ops.relu_forward, lambda: (t(3, 4),)),
    "silu": (ops.silu_forward, lambda: (t(3, 4),)),
    "sigmoid": (ops.sigmoid_forward, lambda: (t(3, 4),)),
    "tanh": (ops.tanh_forward, lambda: (t(3, 4),)),
    "batch_norm": (ops.batch_norm_forward, lambda: (t(4, 3, 2), t(3), t(3, seed=1))),
    "batch_norm_frozen": (
        ops.batch_norm_forward,
        lambda: (t(4, 3), t(3), None, t(3, grad=False), t(3, grad=False, seed=1).abs(), False, 1e-3),
    ),
    "max_pool2d": (ops.max_pool2d_forward, lambda: (t(2, 3, 5, 6), [3, 2], [2, 1], [1, 0], [1, 2], True)),
    "avg_pool2d": (ops.avg_pool2d_forward, lambda: (t(2, 3, 5, 6), [3, 2], [2, 1], [1, 0], True, False)),
    "dropout": (ops.dropout_forward, lambda: (t(3, 40), torch.tensor([3, 1]), 0.3)),
    "linear_relu": (ops.linear_relu_forward, lambda: (t(2, 3, 4), t(5, 4), t(5))),
    "linear_gelu": (ops.linear_gelu_forward, lambda: (t(2, 3, 4), t(5, 4), t(5), True)),
    "linear_silu": (ops.linear_silu_forward, lambda: (t(3, 4), t(5, 4, grad=False), None)),
    "leaky_relu": (ops.leaky_relu_forward, lambda: (t(3, 4), 0.2)),
    "elu": (ops.elu_forward, lambda: (t(3, 4), 0.7)),
    "softplus": (ops.softplus_forward, lambda: (t(3, 4), 2.0)),
    "group_norm": (ops.group_norm_forward, lambda: (t(2, 6, 3), t(6), t(6, seed=1), 3, 1e-3)),
    "rotary_embedding": (ops.rotary_embedding_forward, lambda: (t(2, 3, 5, 6), *rotation(), True)),
    "conv_transpose2d": (
        ops.conv_transpose2d_forward,
        lambda: (t(2, 4, 3, 5), t(4, 2, 3, 2), t(4), [2, 1], [1, 0], [1, 0], [1, 2], 2),
    ),
    "mse_loss": (ops.mse_loss_forward, lambda: (t(3, 4), t(3, 4, seed=1))),
    "smooth_l1_loss": (ops.smooth_l1_loss_forward, lambda: (t(3, 4), t(3, 4, seed=1), 0.7)),
    "huber_loss": (ops.huber_loss_forward, lambda: (t(3, 4), t(3, 4, grad=False, seed=1), 0.7)),
    "binary_cross_entropy_with_logits": (
        ops.binary_cross_entropy_with_logits_forward,
        lambda: (t(3, 4), t(3, 4, seed=1), t(3, 4, grad=False).abs(), t(3, 4, grad=False, seed=2).abs()),
    ),
    "kl_div": (ops.kl_div_forward, lambda: (t(3, 4), t(3, 4, seed=1), True)),
    "embedding": (ops.embedding_forward, lambda: (t(4, 3), torch.tensor([[0, 3], [3, 1]]))),
}


@pytest.mark.parametrize("name", CASES)
def test_ops(name: str):
    op, make = CASES[name]
    torch.library.opcheck(op.default, make())
    inputs = make()
    assert torch.autograd.gradcheck(lambda *args: _first(op(*args)), inputs, fast_mode=False)


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, tuple) else result


def test_adamw():
    p, g, m, v = (
        t(4, 5, grad=False),
        t(4, 5, grad=False, seed=1),
        torch.zeros(4, 5).double(),
        torch.zeros(4, 5).double(),
    )
    torch.library.opcheck(ops.adamw_step.default, (p, g, m, v, None, 0.1, 1))
    parameter = nn.Parameter(p.clone())
    parameter.grad = g.clone()
    torch.optim.AdamW([parameter], lr=0.1, weight_decay=0.01).step()
    ops.adamw_step(p, g, m, v, None, 0.1, 1)
    torch.testing.assert_close(p, parameter.detach(), rtol=1e-10, atol=1e-10)


def test_compile_sees_one_graph():
    w, x = t(6, 4), t(3, 4)

    def f(x: Any, w: Any) -> Any:
        h = ops.gelu_forward(ops.linear_forward(x, w))
        return ops.layer_norm_forward(h, None, None, 1e-5)[0].square().sum()

    want = torch.autograd.grad(f(x, w), (x, w))
    compiled = torch.compile(f, fullgraph=True, backend="aot_eager")
    for got, exact in zip(torch.autograd.grad(compiled(x, w), (x, w)), want, strict=True):
        assert torch.equal(got, exact)


def test_cuda_has_the_same_ops():
    """What they compute there is tests/cuda's: here, that PyTorch finds them, and shapes, dtypes and devices."""
    assert all(torch._C._dispatch_has_kernel_for_dispatch_key(f"littlecore::{name}", "CUDA") for name in SIGNATURES)
    with FakeTensorMode():
        x, w = (torch.empty(n, 4, dtype=torch.bfloat16, device="cuda") for n in (3, 5))
        y = ops.linear_forward(x, w)
        dx, dw, db = ops.linear_backward(y, x, w, [True, False, True])
        mean = ops.layer_norm_forward(x)[1]
    assert (y.shape, y.dtype, y.device) == ((3, 5), torch.bfloat16, torch.device("cuda", 0))
    assert (dx.shape, dw.shape, db.shape) == ((3, 4), (0,), (5,)) and dx.device == dw.device == y.device
    assert mean.dtype == torch.float32 and mean.device == y.device


@pytest.mark.parametrize(
    "name, arguments, says",
    [
        ("layer_norm_backward", lambda x: (x, x, None, x[0], x[0], x[0], [True]), "needs has 1 entries, there are 3"),
        ("matmul_forward", lambda x: (x, x[0]), r"b has shape \[3\], needs \["),
        ("linear_forward", lambda x: (x, x, x), r"b has shape \[3, 3\], needs \["),
        (
            "conv2d_forward",
            lambda x: (x[None, None], x[None, None, :, :1], None, [1, 1], [0, 0], [9, 9]),
            "(larger|leave)",
        ),
        ("conv2d_forward", lambda x: (x[None, None], x[None, None], None, [1]), "takes two integers"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_wrong_is_said(name: str, arguments: Any, says: str, device: str):
    with pytest.raises(ValueError, match=f"{name}: .*{says}"):
        getattr(ops, name)(*arguments(torch.ones(3, 3, device=device)))


def test_second_derivatives_are_refused():
    x = t(3)
    (dx,) = torch.autograd.grad(ops.gelu_forward(x).sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="gelu_backward has no derivative"):
        torch.autograd.grad(dx.sum(), x)


def test_gradients_not_asked_for_are_not_computed():
    x, w = t(3, 4), t(5, 4, grad=False)
    dy = torch.ones(3, 5).double()
    dx, dw, db = ops.linear_backward(dy, x, w, [True, False, False])
    assert dx.shape == x.shape and dw.numel() == db.numel() == 0


# ---- whole models --------------------------------------------------------------------------------


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.proj(a.transpose(1, 2).reshape(n, length, width))


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token, self.norm1, self.norm2 = nn.Embedding(11, 32), nn.LayerNorm(32), nn.RMSNorm(32)
        self.attention, self.head = Attention(32, 4), nn.Linear(32, 11)
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(approximate="tanh"), nn.Linear(64, 32))

    def forward(self, i: Any) -> Any:
        x = self.token(i)
        x = x + self.attention(self.norm1(x))
        return F.cross_entropy(self.head(x + self.mlp(self.norm2(x))).transpose(1, 2), i)


class ConvNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 16, 3, 2, 1, groups=2, bias=False)
        self.norm, self.out = nn.BatchNorm2d(16), nn.Linear(16, 5)
        self.pool = nn.MaxPool2d(3, 1, 1)

    def forward(self, i: Any) -> Any:
        x = F.one_hot(i % 3, 3).float().permute(0, 2, 1).reshape(4, 3, 4, 3)
        x = self.pool(F.relu(self.norm(self.conv2(F.relu(self.conv1(x))))))
        return F.log_softmax(self.out(x.mean((2, 3))), -1)[:, 0].sum() + (x.flatten(2) @ x.flatten(2).mT).mean()


@pytest.mark.parametrize(
    "make, replaced",
    [
        (
            Transformer,
            {
                "linear": 5,
                "scaled_dot_product_attention": 1,
                "layer_norm": 1,
                "rms_norm": 1,
                "gelu": 1,
                "cross_entropy": 1,
            },
        ),
        (
            ConvNet,
            {
                "conv2d": 2,
                "relu": 2,
                "batch_norm": 1,
                "max_pool2d": 1,
                "linear": 1,
                "log_softmax": 1,
                "matmul": 1,
            },
        ),
    ],
)
def test_models(make: Any, replaced: dict[str, int]):
    torch.manual_seed(0)
    model, i = make(), torch.arange(48).reshape(4, 12) % 11
    again = copy.deepcopy(model)
    want = again(i)
    gradients = torch.autograd.grad(want, list(again.parameters()))
    with interop.kernels() as report:
        got = model(i)
    ours = torch.autograd.grad(got, list(model.parameters()))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    for name, statistic in model.named_buffers():  # a batch norm's running ones
        torch.testing.assert_close(statistic, again.get_buffer(name), rtol=1e-5, atol=1e-5)
    for g, exact in zip(ours, gradients, strict=True):
        torch.testing.assert_close(g, exact, rtol=1e-4, atol=1e-4)
    assert {name.strip("_"): n for name, n in report.replaced.items()} == replaced
    assert not report.kept and "linear: " in str(report)


def test_the_report_says_what_stayed_and_why():
    x, q = torch.randn(3, 4), torch.randn(1, 2, 3, 4)
    with interop.kernels() as report:
        F.relu(x, inplace=True)
        F.scaled_dot_product_attention(q, q, q, dropout_p=0.5)
        F.linear(x.to(torch.complex64), x.to(torch.complex64))
        x[0] @ x.mT
    assert sum(report.kept.values()) == 4 and not report.replaced
    assert "relu: 1 calls on PyTorch (in place)" in str(report) and "(dropout)" in str(report)


def test_the_report_measures_without_a_trace():
    """PyTorch's own calls leave no running statistics, gradients or memory of theirs behind."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    again, x = copy.deepcopy(model), torch.randn(2, 3, 8, 8)
    again(x).sum().backward()
    with interop.kernels(measure=True) as report:
        model(x).sum().backward()
    torch.testing.assert_close(dict(model.named_buffers()), dict(again.named_buffers()))
    for p, q in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-4)
    assert report.seconds.keys() == report.replaced.keys()
    assert all(here > 0 and there > 0 for here, there in report.seconds.values())
    assert " ms, PyTorch " in str(report)


def test_nobody_pays_for_torch_who_does_not_ask():
    code = "import sys, littlecore, littlecore.kernels, littlecore.interop; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# ---- threads -------------------------------------------------------------------------------------

THREADS = """
import os, sys, threading
import numpy as np, torch
import littlecore as lc
from littlecore import kernels

random = np.random.default_rng(0)
a, b = (random.standard_normal((700, 700), dtype=np.float32) for _ in range(2))
want, torch_first = kernels.matmul_forward(a, b), torch.ones(3000, 3000) @ torch.ones(3000, 10)
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
import littlecore.interop.torch

lc.set_num_threads(3)
kernels.matmul_forward(a, b)
assert count() == before, "a pool of its own started"
torch.set_num_threads(4)
lc.set_num_threads(4)
same = [kernels.matmul_forward(a, b) for _ in range(3)]
assert count() > before, "PyTorch's threads did not"

def other():
    same.append(kernels.matmul_forward(a, b))

others = [threading.Thread(target=other) for _ in range(4)]
[t.start() for t in others], [t.join() for t in others]
assert len(same) == 7 and all(np.array_equal(y, want) for y in same)
child = os.fork()
if not child:
    os._exit(0 if np.array_equal(kernels.matmul_forward(a, b), want) else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def test_one_pool_for_both():
    """Where PyTorch is, the kernels run on its threads; the bits stay, in other threads and in a forked child."""
    if not torch.backends.openmp.is_available():
        pytest.skip("PyTorch without OpenMP")
    env = {**os.environ, "OMP_NUM_THREADS": "2", "LITTLECORE_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", THREADS], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
