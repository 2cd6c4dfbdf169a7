"""What was measured, kept: one file a machine, one line of JSON a case, the newest measurement of each.

`python -m bench report` writes README's tables and plots from these lines.
"""

from __future__ import annotations

import json
import math
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


# ---- the tables of README --------------------------------------------------------------------------------------------


def report() -> None:
    """Write the tables and plots of all machines into README, between its markers."""
    from bench import plots

    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(before + BEGIN + tables() + END + after)
    for path in files():
        plots.draw(path)


def files() -> list[Path]:
    found = sorted((HERE / "results").glob("*.jsonl"))
    return [path for path in found if '"isa"' in path.read_text()]  # those of GPUs are bench/device.py's


def tables() -> str:
    """The tables of all machines, as Markdown."""
    return "\n".join(_machine(path) for path in files())


def by_family(lines: list[Line]) -> dict[str, list[Line]]:
    """The lines of every family and direction, in the order of the table."""
    found = {}
    for family, ops in FAMILIES.items():
        for direction in ("forward", "backward", "step"):
            name = family if direction == "step" else f"{family}, {direction}"
            found[name] = [line for line in lines if line["op"] in ops and line["direction"] == direction]
    return {name: chosen for name, chosen in found.items() if chosen}


def _machine(path: Path) -> str:
    from bench import plots

    lines = read(path)
    first = next(line for line in lines if "torch" in line["peer"])
    best = any(set(line["peer"]) - {"torch"} for line in lines)
    columns = "{0} | range | best peer | share" if best else "{0} | range | share"
    rows = [
        f"**{first['machine']}**, {first['isa']}, against PyTorch {first['torch']} as shipped, "
        "interleaved in one process. A ratio is PyTorch's time / littlecore's: above 1, littlecore is faster. "
        "Geometric mean and range over the cases of the family in `bench/`; share: of the machine's own limit."
        + (f" Best peer: the fastest of {_names(lines)}." if best else ""),
        "",
        f"| family | cases | {columns.format('1 thread')} | {columns.format('2 threads')} |",
        "|---" * (10 if best else 8) + "|",
    ]
    for name, chosen in by_family(lines).items():
        count = len({line["case"] for line in chosen})
        rows.append(f"| {name} | {count} | {figures(chosen, 1, best)} | {figures(chosen, 2, best)} |")
    for direction, title in (("step", "training step"), ("forward", "forward")):
        chosen = [line for line in lines if line["direction"] == direction and line["op"] in MODELS]
        rows += _models(chosen, title, best)
    rows += [f"\n![{title}](bench/results/{plots.file_of(path, name).name})" for name, title in plots.TITLES.items()]
    return "\n".join(rows) + "\n"


def _names(lines: list[Line]) -> str:
    said = {
        "torch": "PyTorch as shipped",
        "torch_best": "PyTorch with channels_last, fused AdamW and a heap that keeps its memory",
        "numpy": "NumPy",
    }
    there = {name for line in lines for name in line["peer"]}
    return ", ".join(text for name, text in said.items() if name in there)


def _models(lines: list[Line], title: str, best: bool) -> list[str]:
    if not lines:
        return []
    columns = "{0} | ratio | best peer" if best else "{0} | ratio"
    rows = ["", f"| {title} | {columns.format('1 thread')} | {columns.format('2 threads')} |"]
    rows.append("|---" * (7 if best else 5) + "|")
    for op, case in sorted({(line["op"], line["case"]) for line in lines}):
        row = [f"{op} {case}"]
        for threads in (1, 2):
            chosen = [line for line in lines if (line["op"], line["case"], line["threads"]) == (op, case, threads)]
            torch = [line for line in chosen if "torch" in line["peer"]]
            row += [_milliseconds(torch[0]["ms"]), f"{ratio(torch[0]):.2f}"] if torch else ["", ""]
            if best:
                row.append(f"{against_best(chosen)[0]:.2f}" if len(chosen) > 1 else "")
        rows.append(f"| {' | '.join(row)} |")
    return rows


def _milliseconds(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


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


def figures(lines: list[Line], threads: int, best: bool) -> str:
    lines = [line for line in lines if line["threads"] == threads]
    chosen = [line for line in lines if "torch" in line["peer"]]
    if not chosen:
        return " | " * (3 if best else 2)
    ratios = sorted(ratio(line) for line in chosen)
    shares = [line["limit_share"] for line in chosen if line["limit_share"] > 0]
    cells = [f"**{statistics.geometric_mean(ratios):.2f}**", f"{ratios[0]:.2f} - {ratios[-1]:.2f}"]
    if best:
        others = any(set(line["peer"]) - {"torch"} for line in lines)
        cells.append(f"{statistics.geometric_mean(against_best(lines)):.2f}" if others else "")
    cells.append(f"{100 * statistics.geometric_mean(shares):.0f} %" if shares else "")
    return " | ".join(cells)
