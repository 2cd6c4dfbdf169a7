"""The figures of a run, one row an epoch, and the CSV file that shows them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from typing import Any

from .files import write_atomically

Row = dict[str, Any]


class Means:
    """Means over an epoch of named values, each batch weighted by its size."""

    def __init__(self, state: dict[str, list[float]] | None = None) -> None:
        self._sums = {name: list(pair) for name, pair in (state or {}).items()}

    def add(self, values: dict[str, float], count: int) -> None:
        """Count `values`, the means over `count` samples."""
        for name, value in values.items():
            pair = self._sums.setdefault(name, [0.0, 0.0])
            pair[0] += value * count
            pair[1] += count

    def result(self, prefix: str = "") -> dict[str, float]:
        """The means so far, by `prefix` + name."""
        return {prefix + name: total / count for name, (total, count) in self._sums.items()}

    def state(self) -> dict[str, list[float]]:
        """What makes an equal object."""
        return {name: list(pair) for name, pair in self._sums.items()}


def write_csv(path: str | os.PathLike[str], rows: Sequence[Row]) -> None:
    """Write rows as CSV, whole or not at all; columns in order of appearance, floats with every digit that counts."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
