"""These tests run where there is a GPU, real or emulated: build with LITTLECORE_CUDA=emulated to run them on a CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

import littlecore as lc


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if lc.cuda.is_available():
        return
    for item in items:
        if Path(__file__).parent in item.path.parents and item.path.name != "test_plans.py":
            item.add_marker(pytest.mark.skip(reason=lc.cuda.why_not()))


@pytest.fixture(autouse=True)
def settled():
    """What a kernel did wrong is told at the test that launched it."""
    yield
    if lc.cuda.is_available():
        lc.cuda.synchronize()
