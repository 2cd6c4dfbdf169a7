"""`python -m bench report`: README's tables and plots, from the lines of bench/results/."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench import plots, results

README = results.HERE.parent / "README.md"
BEGIN, END = "<!-- measured: python -m bench report -->\n", "<!-- end of measured -->"


def main() -> None:
    """Write the tables and plots of all machines into README, between its markers."""
    text = README.read_text()
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(before + BEGIN + tables() + END + after)
    for path in results.files():
        plots.draw(path)


def tables() -> str:
    """The tables of all machines, as Markdown."""
    return "\n".join(_machine(path) for path in results.files())


def _machine(path: Path) -> str:
    lines = results.read(path)
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
    for name, chosen in results.by_family(lines).items():
        count = len({line["case"] for line in chosen})
        rows.append(f"| {name} | {count} | {figures(chosen, 1, best)} | {figures(chosen, 2, best)} |")
    for direction, title in (("step", "training step"), ("forward", "forward")):
        chosen = [line for line in lines if line["direction"] == direction and line["op"] in results.MODELS]
        rows += _models(chosen, title, best)
    rows += [f"\n![{title}](bench/results/{plots.file_of(path, name).name})" for name, title in plots.TITLES.items()]
    return "\n".join(rows) + "\n"


def _names(lines: list[results.Line]) -> str:
    said = {
        "torch": "PyTorch as shipped",
        "torch_best": "PyTorch with channels_last, fused AdamW and a heap that keeps its memory",
        "torch_compile": "torch.compile",
        "numpy": "NumPy",
        "jax": "JAX",
    }
    there = {name for line in lines for name in line["peer"]}
    return ", ".join(text for name, text in said.items() if name in there)


def _models(lines: list[results.Line], title: str, best: bool) -> list[str]:
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
            row += [_milliseconds(torch[0]["ms"]), f"{results.ratio(torch[0]):.2f}"] if torch else ["", ""]
            if best:
                row.append(f"{results.against_best(chosen)[0]:.2f}" if len(chosen) > 1 else "")
        rows.append(f"| {' | '.join(row)} |")
    return rows


def _milliseconds(ms: float) -> str:
    return f"{ms:,.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def figures(lines: list[results.Line], threads: int, best: bool) -> str:
    lines = [line for line in lines if line["threads"] == threads]
    chosen = [line for line in lines if "torch" in line["peer"]]
    if not chosen:
        return " | " * (3 if best else 2)
    ratios = sorted(results.ratio(line) for line in chosen)
    shares = [line["limit_share"] for line in chosen if line["limit_share"] > 0]
    cells = [f"**{statistics.geometric_mean(ratios):.2f}**", f"{ratios[0]:.2f} - {ratios[-1]:.2f}"]
    if best:
        others = any(set(line["peer"]) - {"torch"} for line in lines)
        cells.append(f"{statistics.geometric_mean(results.against_best(lines)):.2f}" if others else "")
    cells.append(f"{100 * statistics.geometric_mean(shares):.0f} %" if shares else "")
    return " | ".join(cells)
