"""The folder of a run: its exact configuration, and where new ones go."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from littlecore.train.files import make_folder, write_atomically
from littlecore.train.recipes import RECIPES, Recipe, as_json, from_json

CONFIG = "config.json"


@dataclass(frozen=True)
class Run:
    """A recipe's name, its config, and the facts of its data (None before these are known)."""

    name: str
    config: Any
    facts: dict[str, Any] | None

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.name]


def new_folder(name: str, out: str | None) -> Path:
    """`out`, which must be new or empty, or else the first free of runs/NAME, runs/NAME-2, runs/NAME-3, ..."""
    if out is not None:
        folder = Path(out)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"{folder} exists and is not empty: give another --out, or --resume {folder}")
        return folder
    number, folder = 1, Path("runs", name)
    while folder.exists():
        number += 1
        folder = Path("runs", f"{name}-{number}")
    return folder


def write_config(folder: Path, run: Run) -> None:
    """Write config.json: what the run is, and what it runs on."""
    import numpy

    import littlecore as lc

    content = {
        "name": run.name,
        "config": as_json(run.config),
        "data": run.facts,
        "made_with": {
            "littlecore": lc.__version__,
            "build": lc.show_config().splitlines(),
            "numpy": numpy.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "command": sys.argv,
        },
    }
    make_folder(folder)
    write_atomically(folder / CONFIG, (json.dumps(content, indent=2) + "\n").encode())


def read_config(folder: str | os.PathLike[str]) -> Run:
    """The run of a folder. ValueError or FileNotFoundError, naming the file, for a folder that is none."""
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{os.fspath(folder)} is not a run's folder: there is no {CONFIG} in it")
    try:
        content = json.loads(path.read_text())
        name, values, facts = content["name"], content["config"], content["data"]
        kind = type(RECIPES[name].defaults(name, None))
        return Run(name, from_json(kind, values), facts)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not the configuration of a run ({error})") from None


def load_model(folder: str | os.PathLike[str], kind: str) -> tuple[Run, Any]:
    """The run of a folder and its trained model, in evaluation mode. `kind` is "vision" or "language"."""
    from littlecore.train import load_checkpoint, unpack
    from littlecore.train.trainer import CHECKPOINT

    run = read_config(folder)
    if run.recipe.kind != kind or run.facts is None:
        wanted = "an image classifier" if kind == "vision" else "a gpt"
        raise ValueError(f"{os.fspath(folder)} holds a trained {run.name}, not {wanted}")
    model = run.recipe.make_model(run.name, run.config, run.facts)
    arrays, state = load_checkpoint(Path(folder) / CHECKPOINT)
    model.load_state_dict(unpack(arrays, state["model"]))
    model.eval()
    return run, model
