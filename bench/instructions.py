"""Instructions of the hottest kernels, counted by valgrind's callgrind: a figure without noise, so a check can hold it.

python -m bench instructions           counts beside those kept
python -m bench instructions --keep    into bench/results/instructions.json, by instruction set and compiler
python -m bench instructions --check   fails where one has risen by more than a tenth

One process prepares every call; forks of it make n and 2n of them, so that the difference holds the calls alone.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import littlecore as lc
from bench import harness

KEPT = Path(__file__).parent / "results" / "instructions.json"
RISE = 1.1
CALLS = 1
KERNELS = (  # op, case, direction: those of `bench/ops`
    ("matmul", "256x256x256_nn", "forward"),
    ("matmul", "decode_1x3072x768_nt", "forward"),
    ("linear", "64x784to512", "backward"),
    ("conv2d", "cifar_64_b1", "forward"),
    ("conv2d", "cifar_64_b1", "backward"),
    ("attention", "b4h12t64d64_causal", "forward"),
    ("attention", "b4h12t64d64_causal", "backward"),
    ("layer_norm", "1024x768", "backward"),
    ("batch_norm", "64x64x16x16", "backward"),
    ("unary", "gelu_256x3072", "forward"),
)

Counts = dict[str, int]


def count() -> tuple[str, Counts]:
    """The instruction set used under valgrind (which knows no AVX-512), and instructions a call by kernel."""
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise FileNotFoundError("valgrind is not installed")
    with tempfile.TemporaryDirectory() as folder:
        command = [valgrind, "--tool=callgrind", f"--callgrind-out-file={folder}/%p", sys.executable, "-m", __name__]
        settings = {"LITTLECORE_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        run = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True)
        if run.returncode:
            raise RuntimeError(f"callgrind ended with {run.returncode}: {run.stderr[-2000:]}")
        found = {}
        isa, *lines = run.stdout.splitlines()
        for line in lines:
            name, once, twice = line.split("\t")
            found[name] = (_total(Path(folder, twice)) - _total(Path(folder, once))) // CALLS
    return isa, found


def _total(path: Path) -> int:
    match = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.MULTILINE)
    assert match, f"{path}: no total"
    return int(match[1])


def drive() -> None:
    """Inside callgrind: for each kernel its name and the processes that called it n and 2n times."""
    print(lc._core.isa(), flush=True)
    for op, name, direction in KERNELS:
        (case,) = (c for c in importlib.import_module(f"bench.ops.{op}").cases() if c.name == name)
        random = np.random.default_rng(0)
        call = harness.prepare(case, lc, direction, [make(random) for make in case.inputs])
        call()
        children = []
        for calls in (CALLS, 2 * CALLS):
            child = os.fork()
            if child == 0:
                for _ in range(calls):
                    call()
                os._exit(0)
            os.waitpid(child, 0)
            children.append(str(child))
        print("\t".join([f"{op} {name} {direction}", *children]), flush=True)


def risen(kept: Counts, found: Counts) -> list[str]:
    """A line for each kernel that needs over a tenth more instructions than were kept."""
    return [
        f"{name}: {kept[name]:,} -> {now:,} instructions a call ({100 * (now / kept[name] - 1):+.0f} %)"
        for name, now in found.items()
        if name in kept and now > RISE * kept[name]
    ]


def main(keep: bool, check: bool) -> int:
    if shutil.which("valgrind") is None:
        print("instructions: not counted: valgrind is not installed")
        return 0
    isa, found = count()
    everything = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    build = f"{isa}, {lc._core.__compiler__}"
    kept = everything.get(build, {})
    for name, now in found.items():
        print(f"{name:44} {now:12,}" + (f"   {now / kept[name] - 1:+8.1%} of {kept[name]:,}" if name in kept else ""))
    if keep:
        KEPT.write_text(json.dumps(everything | {build: found}, indent=1) + "\n")
    elif check and not kept:
        print(f"instructions: none are kept of {build}: nothing to compare with")
    worse = risen(kept, found) if check else []
    for line in worse:
        print(f"RISEN {line}")
    return len(worse)


if __name__ == "__main__":
    drive()
