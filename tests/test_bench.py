"""The bench: it measures, it refuses wrong results, and README shows what was measured."""

import importlib
import json

import pytest
from bench import harness, instructions, peers, plots, report, results


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
    shown = report.README.read_text().split(report.BEGIN)[1].split(report.END)[0]
    assert shown == report.tables(), "run: python -m bench report"


def test_plots_show_what_was_measured():
    for path in results.files():
        for plot in plots.TITLES:
            svg = plots.file_of(path, plot).read_text()
            assert f"data {plots.digest(plots.data(path, plot))}<" in svg, "run: python -m bench report"


LINE = {"op": "unary", "case": "a", "direction": "forward", "threads": 1, "isa": "avx2", "ms": 2.0, "limit_share": 0.5}


def test_the_best_peer_is_the_fastest_of_its_own_runs():
    as_shipped, best = LINE | {"peer": {"torch": 6.0}}, LINE | {"ms": 3.0, "peer": {"torch_best": 4.5}}
    assert results.against_best([as_shipped, best]) == [1.5]
    cells = report.figures([as_shipped, best], 1, True).split(" | ")
    assert cells == ["**3.00**", "3.00 - 3.00", "1.50", "50 %"]


def test_of_a_limit_the_best_stays(tmp_path):
    path = tmp_path / "machine.jsonl"
    for speed in (50.0, 60.0, 40.0):
        results.add(path, [LINE | {"op": "limits", "gflops": speed, "gbs": 0.0}])
    assert [line["gflops"] for line in results.read(path)] == [60.0]


def test_peers_keep_to_their_own_lines(tmp_path):
    path = tmp_path / "machine.jsonl"
    for name in ("torch", "numpy", "torch"):
        results.add(path, [LINE | {"peer": {name: 1.0}}])
    assert [list(line["peer"]) for line in results.read(path)] == [["numpy"], ["torch"]]


def test_numpy_is_a_peer_where_it_has_the_op():
    add = case(lambda lib, a, b: lib.add(a, b))
    gelu = case(lambda lib, a, b: lib.nn.functional.gelu(a))
    rows = list(harness.run("add", [add, gelu], {"numpy": peers.load("numpy", 1)}, threads=1, seconds=0.01))
    assert len(rows) == 1 and rows[0].peer["numpy"] > 0


def test_jax_is_a_peer_with_gradients():
    pytest.importorskip("jax")
    cases = [
        importlib.import_module(f"bench.ops.{name}").cases()[0] for name in ("layer_norm", "cross_entropy", "attention")
    ]
    rows = list(harness.run("op", cases, {"jax": peers.load("jax", 1)}, threads=1, seconds=0.01))
    assert [row.direction for row in rows] == ["forward", "backward"] * 3


def test_an_optimizer_comes_after_the_rest():
    work = harness.Work(bytes=2**22, updated=2**22)
    assert harness.floor_seconds(work, 1) > harness.floor_seconds(harness.Work(bytes=2**22), 1)


def test_plots_place_every_case():
    limits = LINE | {"op": "limits", "case": "multiply-add", "gflops": 100.0, "gbs": 0.0, "peer": {}}
    conv = LINE | {"op": "conv2d", "gflops": 50.0, "gbs": 5.0, "peer": {"torch": 6.0}}
    relu = LINE | {"gflops": 0.0, "gbs": 20.0, "peer": {"torch": 1.0}}
    roofline = plots.roofline([limits, conv, relu])["1"]
    assert roofline["limits"] == {"multiply-add": 100.0}
    assert roofline["points"]["convolution"] == [(10.0, 50.0)]
    ((intensity, speed),) = roofline["points"]["elementwise"]
    assert speed == pytest.approx(intensity * 20, rel=1e-2)
    assert plots.ratio([conv, relu])["convolution, forward"] == {"1": [3.0], "2": []}


def test_a_rise_of_instructions_is_told():
    kept = {"matmul": 1000, "softmax": 1000, "gone": 5}
    assert instructions.risen(kept, {"matmul": 1099, "softmax": 200, "new": 7}) == []
    (line,) = instructions.risen(kept, {"matmul": 1101, "softmax": 1000})
    assert line == "matmul: 1,000 -> 1,101 instructions a call (+10 %)"


def test_the_check_of_instructions_fails_on_a_rise(tmp_path, monkeypatch, capsys):
    found = {"matmul": 1000}
    monkeypatch.setattr(instructions, "KEPT", tmp_path / "instructions.json")
    monkeypatch.setattr(instructions, "count", lambda: ("avx2", dict(found)))
    monkeypatch.setattr(instructions.shutil, "which", lambda name: "/usr/bin/valgrind")
    assert instructions.main(keep=True, check=False) == 0 and instructions.main(keep=False, check=True) == 0
    found["matmul"] = 1200
    assert instructions.main(keep=False, check=True) == 1
    assert "RISEN matmul: 1,000 -> 1,200" in capsys.readouterr().out


def test_kept_instructions_are_of_the_kernels_counted():
    names = {f"{op} {case} {direction}" for op, case, direction in instructions.KERNELS}
    for counts in json.loads(instructions.KEPT.read_text()).values():
        assert set(counts) == names, "run: python -m bench instructions --keep"


def test_every_op_belongs_to_a_family():
    of_families = [op for ops in results.FAMILIES.values() for op in ops]
    assert sorted(of_families) == sorted(path.stem for path in (results.HERE / "ops").glob("*.py"))
