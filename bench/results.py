"""What was measured, kept: one file a machine, one line of JSON a case, the newest measurement of each."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

Line = dict[str, Any]

FAMILIES = {
    "matmul, linear": ("matmul", "linear", "einsum"),
    "weights of 8 and 4 bits": ("quantized_linear",),
    "convolution": ("conv2d", "conv_transpose2d"),
    "attention": ("attention", "rotary_embedding"),
    "normalization, softmax": ("layer_norm", "rms_norm", "batch_norm", "group_norm", "instance_norm", "softmax"),
    "losses": (
        "cross_entropy", "nll_loss", "pointwise_loss", "triplet_margin_loss", "cosine_similarity",
    ),
    "elementwise": ("unary", "binary", "where", "dropout", "copy"),
    "reductions, scans, sorting": ("reduce", "scan", "sort"),
    "pooling, resampling": ("pool2d", "resample"),
    "embedding, indexing, moving": ("embedding", "gather", "index", "cat", "repeat", "tril", "one_hot", "nonzero"),
    "recurrent networks": ("rnn",),
    "creation, views": ("create", "random", "views"),
    "optimizer steps": ("optim_step",),
}  # fmt: skip
MODELS = {path.stem for path in (HERE / "models").glob("*.py")}


def cpu_name() -> str:
    """What the machine calls its processor, and how many cores of it there are."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return f"{found[1] if found else 'cpu'}, {os.cpu_count()} cores"


def commit() -> str:
    """The commit measured, with a + where the tree was changed."""
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],
            cwd=HERE, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return run.stdout.strip()


def file_of(machine: str) -> Path:
    return HERE / "results" / (re.sub(r"[^a-z0-9]+", "-", machine.lower()).strip("-") + ".jsonl")


def read(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(line: Line) -> tuple[Any, ...]:
    return line["op"], line["case"], line["direction"], line["threads"], line["isa"], *sorted(line.get("peer", ()))


def add(path: Path, lines: Iterable[Line]) -> None:
    """Put these lines into the file, in place of older ones of the same case; of a limit the best stays."""
    kept = {_key(line): line for line in read(path)}
    for line in lines:
        old = kept.get(_key(line), line)
        best = line["op"] == "limits" and (old["gflops"], old["gbs"]) > (line["gflops"], line["gbs"])
        kept[_key(line)] = old if best else line
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(_short(kept[key])) + "\n" for key in sorted(kept)))


def _short(value: Any) -> Any:
    """Four digits of every figure: more were noise."""
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


def files() -> list[Path]:
    found = sorted((HERE / "results").glob("*.jsonl"))
    return [path for path in found if '"isa"' in path.read_text()]  # those of GPUs are bench/device.py's


def by_family(lines: list[Line]) -> dict[str, list[Line]]:
    """The lines of every family and direction, in the order of the table."""
    found = {}
    for family, ops in FAMILIES.items():
        for direction in ("forward", "backward", "step"):
            name = family if direction == "step" else f"{family}, {direction}"
            found[name] = [line for line in lines if line["op"] in ops and line["direction"] == direction]
    return {name: chosen for name, chosen in found.items() if chosen}


def ratio(line: Line) -> float:
    return float(line["peer"]["torch"] / line["ms"])


def against_best(lines: list[Line]) -> list[float]:
    """The ratio to the fastest peer of every case; each ratio from the run in which both were measured."""
    fastest: dict[Any, float] = {}
    for line in lines:
        case = line["op"], line["case"], line["direction"]
        for ms in line["peer"].values():
            fastest[case] = min(fastest.get(case, math.inf), ms / line["ms"])
    return list(fastest.values())
