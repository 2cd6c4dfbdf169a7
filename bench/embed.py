"""python -m bench embed: what a call costs by each way into the kernels, on arrays too small to take time.

relu and layer_norm of 4 x 8 floats, nanoseconds a call: the best of rounds in which all ways take turns. PyTorch's own
op by torch.ops, the door of custom ops, is what such an op can be measured by.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import littlecore as lc
from littlecore import kernels

CALLS, ROUNDS = 1000, 30
Arguments = Callable[[Callable[[np.ndarray], Any]], list[Any]]  # the op's arguments, each made of an array


def ways(op: str) -> dict[str, Callable[[], Any]]:
    a = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
    w = np.ones(8, np.float32)
    forward = getattr(kernels, f"{op}_forward")

    def arguments(make: Callable[[np.ndarray], Any]) -> list[Any]:
        return [make(a)] if op == "relu" else [make(a), make(w), make(w)]

    n, ours = arguments(np.array), arguments(lc.from_numpy)
    own = lc.relu if op == "relu" else lambda x, w, b: lc.nn.functional.layer_norm(x, (8,), w, b)
    found: dict[str, Callable[[], Any]] = {
        "kernels, numpy": lambda: forward(*n),
        "kernels, littlecore": lambda: forward(*ours),
        "littlecore's own op": lambda: own(*ours),
    }
    if importlib.util.find_spec("jax"):
        found |= jax_ways(op, arguments)
    if importlib.util.find_spec("torch"):
        found |= torch_ways(op, arguments, forward)
    return found


def jax_ways(op: str, arguments: Arguments) -> dict[str, Callable[[], Any]]:
    import jax

    from littlecore.interop import jax as interop

    def layer_norm(x: Any, w: Any, b: Any) -> Any:
        return jax.nn.standardize(x, epsilon=1e-5) * w + b

    j = arguments(jax.numpy.asarray)
    ours, theirs = jax.jit(getattr(interop, op)), jax.jit(jax.nn.relu if op == "relu" else layer_norm)
    return {"jax, jit": lambda: ours(*j), "jax's own op, jit": lambda: theirs(*j)}


def torch_ways(op: str, arguments: Arguments, forward: Callable[..., Any]) -> dict[str, Callable[[], Any]]:
    import torch

    from littlecore.interop import torch as interop

    t = arguments(torch.from_numpy)
    custom = getattr(torch.ops.littlecore, f"{op}_forward").default
    extra = () if op == "relu" else (1e-5,)
    F = torch.nn.functional
    theirs = torch.relu if op == "relu" else lambda x, w, b: F.layer_norm(x, (8,), w, b)
    aten, shape = (
        (torch.ops.aten.relu.default, ()) if op == "relu" else (torch.ops.aten.native_layer_norm.default, ([8],))
    )

    def replaced() -> None:
        with interop.kernels():
            for _ in range(10):
                theirs(*t)

    return {
        "kernels, torch": lambda: forward(*t),
        f"torch custom op, {'compiled' if interop.compiled else 'in Python'}": lambda: custom(*t, *extra),
        "torch's own op by torch.ops": lambda: aten(t[0], *shape, *t[1:], *extra),
        "torch, kernels(), 10 calls": replaced,
        "torch's own op": lambda: theirs(*t),
    }


def c_calls() -> tuple[float, float] | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    flags = [
        subprocess.run(
            [sys.executable, "-m", "littlecore", f], capture_output=True, text=True, check=True
        ).stdout.split()
        for f in ("--cflags", "--ldflags")
    ]
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(__file__).with_name("embed_call.c"), Path(folder) / "call"
        subprocess.run([compiler, "-O2", *flags[0], str(source), "-o", str(program), *flags[1]], check=True)
        first, second = subprocess.run([str(program)], capture_output=True, text=True, check=True).stdout.split()
    return float(first), float(second)


def main() -> None:
    in_c = c_calls()
    for i, op in enumerate(("relu", "layer_norm")):
        calls = ways(op)
        best = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            for name, call in calls.items():
                count = CALLS // 10 if "10 calls" in name else CALLS
                begin = time.perf_counter_ns()
                for _ in range(count):
                    call()
                best[name] = min(best[name], (time.perf_counter_ns() - begin) / CALLS)
        if in_c:
            best = {"C": in_c[i], **best}
        for name, ns in best.items():
            print(f"{op:12} {name:30} {ns:8.0f} ns", flush=True)
