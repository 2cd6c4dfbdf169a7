"""Loss and accuracy curves as PNG, drawn by matplotlib (extra `plot`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

_PARTS = {"train": "#4C72B0", "validation": "#DD8452", "test": "#55A868"}


def draw_curves(path: str | os.PathLike[str], rows: Sequence[dict[str, Any]], title: str = "") -> None:
    """Draw every quantity that `rows` hold for a part (`train_loss`, `validation_accuracy`, ...) over the epochs.

    One panel a quantity, one line a part; a part with one value (the test at the end) is a point.
    Raises ImportError, which names the extra, without matplotlib.
    """
    try:
        from matplotlib.figure import Figure  # no pyplot: no global state, no display
    except ImportError:
        raise ImportError('drawing curves needs matplotlib: pip install "littlecore[plot]"') from None
    names = dict.fromkeys(name for row in rows for name in row)
    quantities = dict.fromkeys(name.split("_", 1)[1] for name in names if name.split("_", 1)[0] in _PARTS)
    figure = Figure(figsize=(5.2 * max(1, len(quantities)), 3.8), layout="constrained")
    for i, quantity in enumerate(quantities):
        axes = figure.add_subplot(1, len(quantities), i + 1)
        for part, colour in _PARTS.items():
            points = [(row["epoch"], row[f"{part}_{quantity}"]) for row in rows if f"{part}_{quantity}" in row]
            if points:
                x, y = zip(*points, strict=True)
                axes.plot(x, y, color=colour, marker="o" if len(x) < 30 else None, markersize=3, label=part)
        axes.set_xlabel("epoch")
        axes.set_title(quantity.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend()
    if title:
        figure.suptitle(title)
    figure.savefig(os.fspath(path), dpi=120)
