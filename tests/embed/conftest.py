"""array: a framework's arrays, each in turn; writable: of those that may be written to."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest

NAMES = ["numpy", "torch", "littlecore", *(["jax"] if importlib.util.find_spec("jax") else [])]


@pytest.fixture(params=NAMES)
def array(request: pytest.FixtureRequest) -> Iterator[Any]:
    from frameworks import Framework, jax

    with jax.enable_x64(True) if request.param == "jax" else nullcontext():
        yield Framework(request.param)


@pytest.fixture(params=[name for name in NAMES if name != "jax"])
def writable(request: pytest.FixtureRequest) -> Any:
    from frameworks import Framework

    return Framework(request.param)
