"""The bench: it measures, it refuses wrong results, and README shows what was measured."""

import pytest
from bench import harness, results


def case(call) -> harness.Case:
    return harness.Case("sum_of_two", call, [harness.normal(64), harness.normal(64)], forward=harness.Work(64, 768))


def test_a_case_is_measured():
    (row,) = harness.run("add", [case(lambda lib, a, b: a + b)], {}, threads=1, seconds=0.01)
    assert row.ms > 0 and row.limit_share > 0 and row.direction == "forward"


def test_a_wrong_result_has_no_speed():
    wrong = case(lambda lib, a, b: a + b if "64" in str(a.dtype) else a - b)
    with pytest.raises(harness.WrongResult, match="sum_of_two forward"):
        list(harness.run("add", [wrong], {}, threads=1, seconds=0.01))


def test_a_new_measurement_replaces_the_old(tmp_path):
    line = {"op": "add", "case": "a", "direction": "forward", "threads": 1, "isa": "avx2", "ms": 1.23456789}
    path = tmp_path / "machine.jsonl"
    results.add(path, [line, line | {"case": "b"}])
    results.add(path, [line | {"ms": 2.0}])
    assert [(found["case"], found["ms"]) for found in results.read(path)] == [("a", 2.0), ("b", 1.235)]


def test_readme_shows_what_was_measured():
    shown = results.README.read_text().split(results.BEGIN)[1].split(results.END)[0]
    assert shown == results.tables(), "run: python -m bench report"
