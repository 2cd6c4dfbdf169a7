"""A way to run the program, and small runs to ask things of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import littlecore
from littlecore.data import write_idx
from littlecore.data.idx import MNIST_FILES

Program = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def program() -> Program:
    """Run `python -m littlecore` with arguments in a process of its own."""

    # Absolute, as the program also runs in other folders.
    path = os.pathsep.join([str(Path(littlecore.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])

    def run(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "littlecore", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "160", **environment},
            timeout=300,
        )

    return run


@pytest.fixture(scope="session")
def idx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MNIST's four files with generated images: class k has a bright row number 2k + 3."""
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(0)
    for part, n in (("train", 400), ("test", 50)):
        labels = (np.arange(n) % 10).astype(np.uint8)
        pixels = rng.integers(0, 50, (n, 28, 28)).astype(np.uint8)
        pixels[np.arange(n), 2 * labels + 3] += 200
        write_idx(folder / f"{MNIST_FILES[part, 'images']}.gz", pixels)
        write_idx(folder / f"{MNIST_FILES[part, 'labels']}.gz", labels)
    return folder


@pytest.fixture(scope="session")
def rhyme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short text file."""
    path = tmp_path_factory.mktemp("text") / "rhyme.txt"
    path.write_text("the cat sat on the mat.\n" * 100)
    return path
