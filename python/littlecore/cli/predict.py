"""`littlecore predict`: the class of an image file, by a trained classifier."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import numpy.typing as npt

from .run_folder import load_model


def add_arguments(commands: Any) -> None:
    parser = commands.add_parser("predict", help="the class of an image file")
    parser.add_argument("folder", help="the folder of the run, such as runs/lenet")
    parser.add_argument("image", nargs="+", help="image files")
    parser.add_argument("--invert", choices=["auto", "yes", "no"], default="auto", help="swap dark and light (auto)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.table import Table

    settled, model = load_model(options.folder, "vision")
    facts = settled.facts or {}
    images = np.stack([prepared(path, facts, options.invert) for path in options.image])
    probabilities = classify(model, images)
    table = Table(box=None, pad_edge=False)
    for heading in ("image", "class", "probability", "next"):
        table.add_column(heading)
    for path, row in zip(options.image, probabilities, strict=True):
        first, second = np.argsort(-row, kind="stable")[:2]
        names = facts["classes"]
        table.add_row(path, names[first], f"{row[first]:.1%}", f"{names[second]} {row[second]:.1%}")
    Console(highlight=False, markup=False).print(table)
    return 0


def prepared(path: str, facts: dict[str, Any], invert: str = "no") -> npt.NDArray[np.float32]:
    """The image file as the model was trained to see it: float32 [channels, size, size], normalized.

    `invert` "auto" turns grey images with a light border round: MNIST and the digits are bright ink on black.
    """
    from littlecore.data import read_image

    pixels = read_image(path, facts["channels"], facts["image_size"]).astype(np.float32) / 255
    border = np.concatenate([pixels[:, 0], pixels[:, -1], pixels[:, :, 0], pixels[:, :, -1]], axis=1)
    light = facts["channels"] == 1 and float(np.median(border)) > 0.5
    if invert == "yes" or (invert == "auto" and light):
        pixels = 1 - pixels
    return (pixels - np.float32(facts["mean"])) / np.float32(facts["std"])


def classify(model: Any, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Class probabilities [n, classes] of prepared images [n, c, h, w]."""
    import littlecore as lc

    with lc.no_grad():
        logits = model(lc.from_numpy(np.ascontiguousarray(images))).numpy().astype(np.float64)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
