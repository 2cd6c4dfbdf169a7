"""python -m bench.memory [MODEL ...]: the most memory a training step takes, each library in a process of its own.

What is counted is resident memory above that before the model is built, highest while STEPS steps run: weights,
gradients, optimizer state, activations, scratch, and whatever an allocator keeps. Ours also by its own statistics.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

MODELS = ("mlp", "lenet", "resnet18", "vit", "gpt", "lstm")
STEPS = 3
MB = 1 << 20


def resident(field: str) -> int:
    """Bytes; VmRSS: now, VmHWM: the highest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def measure(library: str, name: str) -> dict[str, float]:
    """MB of the first case of a model."""
    module: Any = importlib.import_module(library)
    case = importlib.import_module(f"bench.models.{name}").cases()[0]
    random = np.random.default_rng(0)
    inputs = [module.from_numpy(make(random)) for make in case.inputs]
    module.ones(64, 64) @ module.ones(64, 64)  # threads and the like
    before = resident("VmRSS")
    arguments = case.setup(module, *inputs)
    for _ in range(STEPS):
        case.call(module, *arguments)
    peak = {"resident": (resident("VmHWM") - before) / MB}
    if library == "littlecore":
        peak["allocated"] = module.memory.stats()["peak_bytes"] / MB
    return peak


def in_process(library: str, name: str) -> dict[str, float]:
    out = subprocess.run(
        [sys.executable, "-m", "bench.memory", library, name], check=True, capture_output=True, text=True
    )
    return dict(json.loads(out.stdout))


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] in ("littlecore", "torch"):
        print(json.dumps(measure(*sys.argv[1:])))
        return
    print(f"{'MB at most':12} {'ours':>8} {'allocated':>10} {'torch':>8} {'ours/torch':>11}")
    for name in sys.argv[1:] or MODELS:
        ours, theirs = in_process("littlecore", name), in_process("torch", name)
        ratio = ours["resident"] / theirs["resident"]
        print(
            f"{name:12} {ours['resident']:8.1f} {ours['allocated']:10.1f} {theirs['resident']:8.1f} {ratio:11.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
