"""README's plots, from the same lines as its tables: the roofline, and the ratio by family. SVG beside the results."""

from __future__ import annotations

import hashlib
import io
import json
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import results

TITLES = {
    "roofline": "Speed of every case against the machine's limits",
    "ratio": "PyTorch's time / littlecore's, every case",
}
THREADS = (1, 2)


def file_of(path: Path, plot: str) -> Path:
    return path.with_name(f"{path.stem}-{plot}.svg")


def data(path: Path, plot: str) -> dict[str, Any]:
    return {"roofline": roofline, "ratio": ratio}[plot](results.read(path))


def digest(shown: dict[str, Any]) -> str:
    """What the SVG carries, so that a test knows an old plot without drawing a new one."""
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def roofline(lines: list[results.Line]) -> dict[str, Any]:
    """Of each number of threads: the roofs, and (operations a byte, GFLOP/s) of every case by family.

    A case that counts bytes alone stands at an intensity that only tells its family from others.
    """
    shown: dict[str, Any] = {}
    for threads in THREADS:
        there = [line for line in lines if line["threads"] == threads]
        points: dict[str, list[tuple[float, float]]] = {}
        for i, (family, ops) in enumerate(results.FAMILIES.items()):
            nominal = 0.04 * 1.4**i
            for line in there:
                if line["op"] in ops and "torch" in line["peer"] and line["gbs"] and line["limit_share"]:
                    intensity = line["gflops"] / line["gbs"] or nominal
                    points.setdefault(family, []).append((_round(intensity), _round(intensity * line["gbs"])))
        limits = {line["case"]: line["gflops"] or line["gbs"] for line in there if line["op"] == "limits"}
        shown[str(threads)] = {"limits": limits, "points": points}
    return shown


def ratio(lines: list[results.Line]) -> dict[str, Any]:
    """Of each family and direction, and of the models: the ratios, by the number of threads."""
    lines = [line for line in lines if "torch" in line["peer"]]
    models = [line for line in lines if line["op"] in results.MODELS]
    families = results.by_family(lines) | {
        "training steps": [line for line in models if line["direction"] == "step"],
        "models, forward": [line for line in models if line["direction"] == "forward"],
    }
    return {
        name: {str(t): [_round(results.ratio(x)) for x in chosen if x["threads"] == t] for t in THREADS}
        for name, chosen in families.items()
        if chosen
    }


def _round(value: float) -> float:
    return float(f"{value:.3g}")


# ---- drawing ---------------------------------------------------------------------------------------------------------

INK, GREY, COLOURS = "#222222", "#999999", {"1": "#8fb8de", "2": "#1f5fa8"}
STYLE = {
    "svg.hashsalt": "littlecore", "svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"], "font.size": 8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY, "axes.labelcolor": INK,
    "xtick.color": INK, "ytick.color": INK, "figure.facecolor": "white",
}  # fmt: skip


def draw(path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    for plot, title in TITLES.items():
        shown = data(path, plot)
        with pyplot.rc_context(STYLE):
            figure = {"roofline": _draw_roofline, "ratio": _draw_ratio}[plot](pyplot, shown)
            said = {"Date": None, "Creator": None, "Title": title, "Description": f"data {digest(shown)}"}
            text = io.StringIO()
            figure.savefig(text, format="svg", metadata=said)
            pyplot.close(figure)
            file_of(path, plot).write_text(re.sub(r"(\.\d)\d+", r"\1", text.getvalue()))  # a tenth of a point will do


def _dots(axis: Any, points: Sequence[tuple[float, float]], colour: Any) -> None:
    axis.plot(*zip(*points, strict=True), "o", markersize=2.6, markeredgewidth=0, color=colour)


def _draw_roofline(pyplot: Any, shown: dict[str, Any]) -> Any:
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.9), sharex=True, sharey=True)
    figure.subplots_adjust(left=0.06, right=0.76, top=0.92, bottom=0.12, wspace=0.06)
    families = [f for f in results.FAMILIES if any(f in part["points"] for part in shown.values())]
    palette = pyplot.get_cmap("tab20").colors
    colours = dict(zip(families, palette[::2] + palette[1::2], strict=False))
    for axis, (threads, part) in zip(axes, shown.items(), strict=True):
        bandwidths = dict(part["limits"])
        peak = bandwidths.pop("multiply-add", 0)
        for limit in bandwidths.values():
            axis.plot([0.01, peak / limit, 2000], [0.01 * limit, peak, peak], color=INK, linewidth=0.8)
        for family, points in part["points"].items():
            _dots(axis, points, colours[family])
        roofs = "\n".join(f"{name}: {limit:.0f} GB/s" for name, limit in bandwidths.items())
        roofs = f"multiply-add: {peak:.0f} GFLOP/s\n{roofs}"
        axis.text(0.98, 0.03, roofs, transform=axis.transAxes, ha="right", va="bottom", fontsize=7)
        axis.set(
            xscale="log",
            yscale="log",
            xlim=(0.02, 2000),
            ylim=(0.02, 500),
            xlabel="operations a byte (below 2: nominal)",
        )
        axis.set_title(f"{threads} thread{'s' if threads != '1' else ''}", fontsize=9, loc="left")
    axes[0].set_ylabel("GFLOP/s")
    marks = [axes[0].scatter([], [], s=14, color=colours[f], linewidths=0) for f in families]
    figure.legend(marks, families, loc="center left", bbox_to_anchor=(0.77, 0.5), frameon=False)
    return figure


def _draw_ratio(pyplot: Any, shown: dict[str, Any]) -> Any:
    height = 0.24 * len(shown) + 0.8  # inches
    figure, axis = pyplot.subplots(figsize=(9, height))
    figure.subplots_adjust(left=0.27, right=0.98, top=1 - 0.3 / height, bottom=0.5 / height)
    for row, found in enumerate(shown.values()):
        for threads, ratios in found.items():
            if not ratios:
                continue
            y = row + (0.17 if threads == "2" else -0.17)
            _dots(axis, [(x, y) for x in ratios], COLOURS[threads])
            axis.scatter([statistics.geometric_mean(ratios)], [y], s=60, marker="|", color=INK, linewidths=1.4)
    axis.axvline(1, color=INK, linewidth=0.8)
    axis.set(xscale="log", ylim=(len(shown) - 0.5, -0.5), yticks=range(len(shown)), yticklabels=list(shown))
    axis.set_xlabel("PyTorch's time / littlecore's: to the right of 1, littlecore is faster; bars: geometric means")
    ticks = [t for t in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100) if axis.get_xlim()[0] <= t <= axis.get_xlim()[1]]
    axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axis.minorticks_off()
    axis.grid(axis="y", color="#eeeeee")
    axis.set_axisbelow(True)
    marks = [axis.scatter([], [], s=14, color=COLOURS[t], linewidths=0) for t in COLOURS]
    axis.legend(marks, ["1 thread", "2 threads"], loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False)
    return figure
