"""What every test runs under: poisoned memory, restored threads and ISA, and a refusal of tests that prove nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import cases as generated
import check

import littlecore as lc

THREADS = generated.THREADS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--case", default=None, help="run one generated case, as a failure printed it")
    parser.addoption("--cases", type=float, default=1.0, help="multiply the number of generated cases")
    parser.addoption("--announce", action="store_true", help="print the seed of every generated case before it runs")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cases(count): call the test with `count` generated cases (tests/cases.py)")
    config.addinivalue_line("markers", "vacuous: constant or zero results are what this test is about")


@pytest.fixture(autouse=True)
def state() -> Iterator[None]:
    """Fresh memory holds NaN and nobody writes past its end; threads, ISA and exactness are put back."""
    threads, isa, exact = lc.get_num_threads(), lc._core.isa(), lc._core.exact()
    lc.memory.poison(True)
    check.Tally.checked = check.Tally.vacuous = 0
    overruns = lc.memory.stats()["overruns"]
    yield
    lc._core.set_isa(isa)
    lc._core.set_exact(exact)
    lc.set_num_threads(threads)
    assert lc.memory.stats()["overruns"] == overruns, "a kernel wrote past the end of a block"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """At least half of a test's comparisons must be able to bite."""
    result = yield
    if item.get_closest_marker("vacuous") is None and item.config.getoption("--case") is None:
        assert check.Tally.vacuous * 2 <= max(check.Tally.checked, 2), (
            f"{check.Tally.vacuous} of {check.Tally.checked} expected results are empty, constant or nearly all zero"
        )
    return result


@pytest.fixture(params=THREADS, ids=lambda n: f"threads{n}")
def threads(request: pytest.FixtureRequest) -> int:
    lc.set_num_threads(request.param)
    return request.param


@pytest.fixture(params=generated.ISAS)
def isa(request: pytest.FixtureRequest) -> str:
    lc._core.set_isa(request.param)
    return request.param


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Any:
    assert request.node.get_closest_marker("cases"), "a test that draws from `case` is marked @cases(count)"


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    marker = pyfuncitem.get_closest_marker("cases")
    if marker is None:
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    config = pyfuncitem.config
    count = max(1, round(marker.args[0] * config.getoption("--cases")))

    def call(case: generated.Case) -> Any:
        return pyfuncitem.obj(**{**arguments, "case": case})

    generated.run_cases(pyfuncitem, call, count, config.getoption("--case"), config.getoption("--announce"))
    return True


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if generated.totals:
        count = sum(n for n, _ in generated.totals.values())
        seconds = sum(s for _, s in generated.totals.values())
        terminalreporter.write_line(f"{count:,} generated kernel cases in {seconds:.0f} s")
