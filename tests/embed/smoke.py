"""What an installed littlecore does alone: python smoke.py [--numpy] [--isa ISA]. Run outside of the source tree.

With --numpy the import must take less than 0.1 s and the kernels agree with NumPy; with --isa, that one must run.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path


def import_seconds() -> float:
    """Processor time, which a busy machine changes least; the best of five processes, less the interpreter's own."""

    def run(code: str) -> float:
        before = os.times()
        subprocess.run([sys.executable, "-c", code], check=True)
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    return min(run("import littlecore") for _ in range(5)) - min(run("pass") for _ in range(5))


def near(x: float, want: float) -> None:
    assert abs(x - want) <= 1e-5 * max(1.0, abs(want)), (x, want)


def products() -> None:
    a = lc.arange(600, dtype=lc.float32).reshape(20, 30)
    y = (a @ a.T).tolist()
    assert y[3][4] == sum((90 + k) * (120 + k) for k in range(30))


def gradients() -> None:
    """conv2d, layer_norm, attention, gelu and cross_entropy against differences, in float64."""
    lc.manual_seed(0)
    w = [lc.randn(*s, dtype=lc.float64) for s in ((4, 2, 3, 3), (8,), (5, 16))]
    x, classes = lc.randn(2, 2, 6, 6, dtype=lc.float64), lc.tensor([1, 3])

    def loss(x: lc.Tensor) -> lc.Tensor:
        h = F.gelu(F.conv2d(x, w[0], stride=2)).reshape(2, 1, 2, 8)
        h = F.layer_norm(h, (8,), w[1])
        h = F.scaled_dot_product_attention(h, h, h, is_causal=True).reshape(2, 16)
        return F.cross_entropy(h @ w[2].T, classes)

    x.requires_grad_()
    loss(x).backward()
    direction, h = lc.randn(2, 2, 6, 6, dtype=lc.float64), 1e-5
    with lc.no_grad():
        slope = ((loss(x + h * direction) - loss(x - h * direction)) / (2 * h)).item()
        near((x.grad * direction).sum().item(), slope)


def training() -> None:
    lc.manual_seed(0)
    x, y = lc.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), lc.tensor([0, 1, 1, 0])
    model = lc.nn.Sequential(lc.nn.Linear(2, 16), lc.nn.Tanh(), lc.nn.Linear(16, 2))
    optimizer = lc.optim.AdamW(model.parameters(), lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 and model(x).argmax(1).tolist() == [0, 1, 1, 0]


def kernels_on_our_tensors() -> None:
    from littlecore import kernels

    y, rstd = kernels.rms_norm_forward(lc.tensor([[3.0, 4.0]]), eps=0.0)
    near(y.tolist()[0][1], 4 / math.sqrt(12.5))
    near(rstd.tolist()[0], 1 / math.sqrt(12.5))


def kernels_on_numpy() -> None:
    import numpy as np

    from littlecore import kernels

    x = np.random.default_rng(0).standard_normal((7, 33)).astype(np.float32)
    y = kernels.softmax_forward(x)
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    assert type(y) is np.ndarray
    np.testing.assert_allclose(y, e / e.sum(-1, keepdims=True), rtol=1e-6)


def files_for_c() -> None:
    for flag, name in (
        ("--include", "littlecore.h"),
        ("--cmakedir", "littlecore-config.cmake"),
        ("--libdir", "pkgconfig"),
    ):
        told = subprocess.run([sys.executable, "-m", "littlecore", flag], capture_output=True, text=True, check=True)
        assert (Path(told.stdout.strip()) / name).exists(), (flag, told.stdout)


if __name__ == "__main__":
    seconds = import_seconds()
    import littlecore as lc
    import littlecore.nn.functional as F

    assert "numpy" not in sys.modules and "torch" not in sys.modules
    assert Path(__file__).parents[2] not in Path(lc.__file__).parents, f"{lc.__file__} is the source tree's"
    for check in (products, gradients, training, kernels_on_our_tensors, files_for_c):
        check()
    if "--numpy" in sys.argv:
        kernels_on_numpy()
        assert seconds < 0.1, f"import littlecore takes {seconds:.3f} s"
    isa = lc._core.isa()
    assert "--isa" not in sys.argv or sys.argv[sys.argv.index("--isa") + 1] == isa, isa
    print(f"littlecore {lc.__version__} on {isa}: works; import {seconds:.3f} s")
