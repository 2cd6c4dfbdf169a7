"""What the programs share: the folder of results, figures in one style, numbers with their gates, a progress bar."""

from __future__ import annotations

import importlib
import io
import json
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

from littlecore import nn
from littlecore.data.errors import existing_folder
from littlecore.train.files import make_folder, write_atomically

T = TypeVar("T")

METRICS, CONFIG = "metrics.json", "config.json"
DOTS_PER_INCH = 160

# Okabe and Ito's colours, told apart by colour-blind eyes too.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000",
)  # fmt: skip
GREY = "#8C8C8C"
COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, BLACK)

STYLE: dict[Any, Any] = {
    "axes.prop_cycle": f"cycler(color={list(COLOURS)})",
    "axes.axisbelow": True,  # bars hide the grid
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "grid.alpha": 0.3,
    "image.cmap": "cividis",
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.linewidth": 1.8,
    "savefig.dpi": DOTS_PER_INCH,
    "svg.hashsalt": "littlecore",  # the same identifiers, so the same file, in every run
}


class Demo:
    """One run of one program: where its results go, and how long it may take.

    `full` asks for the long form; `pick` chooses between the two. `data` is a folder of the user's to learn from
    instead of what the program makes up. Figures are written when the program has ended.
    """

    def __init__(
        self, name: str, folder: Path, *, full: bool = False, seed: int = 0, console: Console | None = None,
        data: Path | None = None,
    ) -> None:  # fmt: skip
        self.name, self.folder, self.full, self.seed, self.console = name, folder, full, seed, console
        self.data = data
        self.bars: Progress | None = None
        self.metrics: list[dict[str, Any]] = []
        self.figures: dict[str, tuple[str, Any]] = {}
        self.drawings: dict[str, tuple[str, str]] = {}

    def pick(self, quick: T, full: T) -> T:
        """`quick`, or `full` in a long run."""
        return full if self.full else quick

    def metric(
        self,
        name: str,
        value: float,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        within: tuple[float, float] | None = None,
    ) -> None:
        """Print and keep a number; outside its gate (bounds included) or not a number, it fails the run."""
        low, high = within if within is not None else (at_least, at_most)
        value = float(value)
        gated = low is not None or high is not None
        passed = not gated or (value >= (-math.inf if low is None else low)
                               and value <= (math.inf if high is None else high))  # fmt: skip
        row = {"name": name, "value": value, "at_least": low, "at_most": high, "passed": passed}
        self.metrics.append(row)
        self.say(f"  {name:<58} {shown(value):>10}   {gate(row)}{'' if passed else '   MISSED'}")

    def figure(self, name: str, caption: str, size: tuple[float, float] = (6.4, 4.0)) -> Any:
        """An empty matplotlib figure of `size` inches, saved as NAME.png and NAME.svg; the page shows the caption."""
        from matplotlib.figure import Figure  # no pyplot: no global state, no display

        figure = Figure(figsize=size)
        self.figures[name] = (caption, figure)
        return figure

    def drawing(self, name: str, caption: str, model: nn.Module, *example: Any) -> None:
        """model.draw(*example), saved as NAME.svg; the page shows it before the figures."""
        self.drawings[name] = caption, model.draw(*example).svg()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """On a terminal, a line that moves as long as the program runs, and below it the bars of `progress`."""
        if self.console is None or not self.console.is_terminal:
            yield
            return
        columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()
        with Progress(
            *columns, TimeElapsedColumn(), console=self.console, transient=True, refresh_per_second=5
        ) as self.bars:
            self.bars.add_task(self.name, total=None)
            yield
        self.bars = None

    def progress(self, items: Iterable[T], text: str = "training") -> Iterator[T]:
        """`items`, with a bar on a terminal."""
        if self.bars is None:
            yield from items
            return
        task = self.bars.add_task(text, total=None)
        try:
            yield from self.bars.track(items, task_id=task)
        finally:
            self.bars.remove_task(task)

    def say(self, text: str) -> None:
        """Print a line."""
        if self.console is not None:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    @property
    def missed(self) -> list[str]:
        """The names of the metrics outside their gates."""
        return [row["name"] for row in self.metrics if not row["passed"]]

    def write(self, seconds: float) -> None:
        """Write the figures, config.json and metrics.json, all together at the end."""
        import littlecore as lc

        files = {f"{name}.svg": svg.encode() for name, (_, svg) in self.drawings.items()}
        captions = [{"name": name, "ending": "svg", "caption": caption} for name, (caption, _) in self.drawings.items()]
        for name, (caption, figure) in self.figures.items():
            for ending, metadata in (("png", {}), ("svg", {"Date": None})):
                content = io.BytesIO()
                figure.savefig(content, format=ending, metadata=metadata)
                files[f"{name}.{ending}"] = content.getvalue()
            captions.append({"name": name, "ending": "png", "caption": caption})
        config = {
            "program": self.name,
            "full": self.full,
            "seed": self.seed,
            "data": None if self.data is None else str(self.data),
            "seconds": round(seconds, 2),
            "figures": captions,
            "build": lc.show_config().splitlines(),
        }
        for file, values in ((CONFIG, config), (METRICS, self.metrics)):
            files[file] = (json.dumps(values, indent=2) + "\n").encode()
        for file, content_of_file in files.items():
            write_atomically(self.folder / file, content_of_file)


def takes_data(name: str) -> bool:
    """Whether littlecore.book.NAME can learn from a folder of the user's: it says what it TAKES."""
    return hasattr(importlib.import_module(f"littlecore.book.{name}"), "TAKES")


def run_program(
    name: str, folder: Path, *, full: bool = False, seed: int = 0, console: Console | None = None,
    data: Path | None = None,
) -> Demo:  # fmt: skip
    """Run littlecore.book.NAME and write its results into `folder`.

    ImportError names the extra for figures; ValueError where the program takes no `data`, or this is no folder. That
    `folder` can be written is found out before the program runs.
    """
    try:
        import matplotlib
    except ImportError:
        raise ImportError('the book\'s figures need matplotlib: pip install "littlecore[plot]"') from None
    import littlecore as lc

    program = importlib.import_module(f"littlecore.book.{name}")
    if data is not None:
        if not takes_data(name):
            raise ValueError(f"{name} takes no data of yours, it makes up its own")
        existing_folder(data)
    make_folder(folder)
    demo = Demo(name, folder, full=full, seed=seed, console=console, data=data)
    lc.manual_seed(seed)
    start = time.monotonic()
    with matplotlib.rc_context(STYLE), demo.at_work():
        program.run(demo)
        demo.write(time.monotonic() - start)
    return demo


def plain_numbers(axis: Any) -> None:
    """Write the numbers of a logarithmic axis of few decades in full, between the powers of ten too."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")


def shown(value: float) -> str:
    """The number in four digits, whole numbers whole."""
    return f"{value:,.0f}" if value % 1 == 0 and abs(value) < 1e9 else f"{value:.4g}"


def gate(row: dict[str, Any]) -> str:
    """The gate of a metric in words; empty without one."""
    low, high = row["at_least"], row["at_most"]
    if low is not None and high is not None:
        return f"exactly {shown(low)}" if low == high else f"{shown(low)} to {shown(high)}"
    if high is not None:
        return f"at most {shown(high)}"
    return "" if low is None else f"at least {shown(low)}"
