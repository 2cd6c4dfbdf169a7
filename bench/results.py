"""What was measured, kept: one file a machine, one line of JSON a case, the newest measurement of each.

`python -m bench report` writes README's tables from these lines.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- measured: python -m bench report -->\n", "<!-- end of measured -->"

Line = dict[str, Any]

FAMILIES = {
    "matmul, linear": ("matmul", "linear", "einsum"),
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
    "optimizer steps": ("optim_step",),
}  # fmt: skip


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
    """Put these lines into the file, in place of older ones of the same case."""
    kept = {_key(line): line for line in read(path)} | {_key(line): line for line in lines}
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(_short(kept[key])) + "\n" for key in sorted(kept)))


def _short(value: Any) -> Any:
    """Four digits of every figure: more were noise."""
    if isinstance(value, dict):
        return {name: _short(part) for name, part in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value


# ---- the tables of README --------------------------------------------------------------------------------------------


def report() -> None:
    """Write the tables of all machines into README, between its markers."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(before + BEGIN + tables() + END + after)


def tables() -> str:
    """The tables of all machines, as Markdown."""
    parts = [_machine(read(path)) for path in sorted((HERE / "results").glob("*.jsonl"))]
    return "\n".join(parts)


def _machine(lines: list[Line]) -> str:
    first = lines[0]
    rows = [
        f"**{first['machine']}**, {first['isa']}, against PyTorch {first['torch']} as shipped, "
        "interleaved in one process. A ratio is PyTorch's time / littlecore's: above 1, littlecore is faster. "
        "Geometric mean and range over the cases of the family in `bench/`; share: of the machine's own limit.",
        "",
        "| family | cases | 1 thread | range | share | 2 threads | range | share |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family, ops in FAMILIES.items():
        for direction in ("forward", "backward", "step"):
            chosen = [line for line in lines if line["op"] in ops and line["direction"] == direction]
            if not chosen:
                continue
            name = family if direction == "step" else f"{family}, {direction}"
            count = len({line["case"] for line in chosen})
            rows.append(f"| {name} | {count} | {_figures(chosen, 1)} | {_figures(chosen, 2)} |")
    models = sorted({(line["op"], line["case"]) for line in lines if line["direction"] == "step"})
    models = [m for m in models if m[0] not in FAMILIES["optimizer steps"]]
    if models:
        rows += ["", "| training step | 1 thread | ratio | 2 threads | ratio |", "|---|---|---|---|---|"]
    for op, case in models:
        cells = []
        for threads in (1, 2):
            found = [line for line in lines if (line["op"], line["case"], line["threads"]) == (op, case, threads)]
            cells.append(f"{_milliseconds(found[0]['ms'])} | {_ratio(found[0]):.2f}" if found else " | ")
        rows.append(f"| {op} {case} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _milliseconds(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def _ratio(line: Line) -> float:
    return float(line["peer"]["torch"] / line["ms"])


def _figures(lines: list[Line], threads: int) -> str:
    chosen = [line for line in lines if line["threads"] == threads and "torch" in line["peer"]]
    if not chosen:
        return " | | "
    ratios = sorted(_ratio(line) for line in chosen)
    shares = [line["limit_share"] for line in chosen if line["limit_share"] > 0]
    share = f"{100 * statistics.geometric_mean(shares):.0f} %" if shares else ""
    return f"**{statistics.geometric_mean(ratios):.2f}** | {ratios[0]:.2f} - {ratios[-1]:.2f} | {share}"
