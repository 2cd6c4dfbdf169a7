"""What a run shows on the terminal: a bar for the epoch in progress, a line for every finished one."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_REFRESH = 0.1  # seconds between updates of the bar: an update costs as much as a small kernel


class Display:
    """A progress bar and lines on `console`; with `console` None nothing is shown."""

    def __init__(self, console: Console | None, epochs: int) -> None:
        self.console, self.epochs = console, epochs
        self._bar: Progress | None = None
        self._task: Any = None
        self._next = 0.0

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: object) -> None:
        self.end_epoch()

    def begin_epoch(self, epoch: int, batches: int, done: int) -> None:
        """Show an empty bar of `batches`, `done` of which were given before."""
        if self.console is None or not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn(f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=batches, completed=done, figures="")
        self._bar.start()
        self._next = 0.0

    def batch(self, done: int, figures: dict[str, float]) -> None:
        """Move the bar to `done` batches and show the means of the epoch so far."""
        if self._bar is not None and (now := time.monotonic()) >= self._next:
            self._next = now + _REFRESH
            text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
            self._bar.update(self._task, completed=done, figures=text)

    def end_epoch(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def line(self, row: dict[str, Any]) -> None:
        """Print a finished epoch's figures."""
        names = [name for name in row if name.split("_", 1)[0] in ("train", "validation")]
        width = len(str(self.epochs))
        text = "  ".join(f"{name.replace('_', ' ')} {row[name]:.4f}" for name in names)
        self.say(f"epoch {row['epoch']:>{width}}/{self.epochs}  {text}  {row['seconds']:.1f} s")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self.end_epoch()
        if self.console is not None:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)
