"""These tests run where there is a GPU, real or emulated: build with LITTLECORE_CUDA=emulated to run them on a CPU."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import littlecore as lc


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if lc.cuda.is_available():
        return
    named = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and (Path(p) / "littlecore").is_dir()]
    if named and not Path(lc.__file__).resolve().is_relative_to(Path(named[0]).resolve()):
        raise pytest.UsageError(f"littlecore comes from {lc.__file__}, not {named[0]}: an editable install goes first")
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name != "test_plans.py":
            item.add_marker(pytest.mark.skip(reason=lc.cuda.why_not()))


@pytest.fixture(autouse=True)
def settled():
    """What a kernel did wrong is told at the test that launched it."""
    yield
    if lc.cuda.is_available():
        lc.cuda.synchronize()
