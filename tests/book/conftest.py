"""Programs that run side by side share the cores, each with threads of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import littlecore as lc


@pytest.fixture(scope="package", autouse=True)
def cores() -> Iterator[None]:
    """A thread for each core and worker of xdist: more of them would wait for each other."""
    threads, workers = lc.get_num_threads(), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    lc.set_num_threads(max(1, threads // workers))
    yield
    lc.set_num_threads(threads)
