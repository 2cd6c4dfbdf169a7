"""Every program of the book in its quick form, the list, the page."""

from __future__ import annotations

import ast
import importlib
import io
import json
import re
import xml.etree.ElementTree as ElementTree
from itertools import islice
from pathlib import Path

import folders
import numpy as np
import pytest
from rich.console import Console

import littlecore as lc
from littlecore import Tensor, cli, data
from littlecore.book import batches_and_roofline, image_generation, scaling_laws, sections, speech_recognition
from littlecore.book import text_image_representations as words
from littlecore.book.demo import Demo, gate, run_program, shown
from littlecore.data.idx import MNIST_FILES
from littlecore.data.scenes import SHAPES

pytest.importorskip("matplotlib")
BOOK = Path(sections.__file__).parent
SHARED = {"__init__", "demo", "diagrams", "fit", "highlight", "least_squares", "page", "sections"}


@pytest.fixture(scope="session")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("book")


@pytest.mark.parametrize("name", list(sections.programs()))
def test_a_program_meets_its_gates(name: str, results: Path):
    demo = run_program(name, results / name)
    assert demo.metrics and demo.figures
    assert any(row["at_least"] is not None or row["at_most"] is not None for row in demo.metrics)
    assert not demo.missed, [row for row in demo.metrics if not row["passed"]]
    written = json.loads((results / name / "metrics.json").read_text())
    assert written == demo.metrics
    for figure in demo.figures:
        assert (results / name / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    for figure in (*demo.figures, *demo.drawings):
        ElementTree.parse(results / name / f"{figure}.svg")


LATE = [name for name, section in sections.programs().items() if section.chapter in ("6", "7", "8", "bits")]
DEAR = {"atari", "image_generation", "object_detection", "quantization"}  # half a minute each without any training


@pytest.mark.parametrize("name", [name for name in LATE if name not in DEAR])
def test_the_long_form_begins_and_ends(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its models, rates and figures; of its loops three rounds each, of its data a few."""
    scenes, speech = data.scenes, speech_recognition.speech
    monkeypatch.setattr(Demo, "progress", lambda self, items, text="": islice(items, 3))
    monkeypatch.setattr(data, "scenes", lambda count, *a, **options: scenes(min(count, 300), *a, **options))
    monkeypatch.setattr(speech_recognition, "speech", lambda hundreds: speech(1))
    demo = run_program(name, tmp_path, full=True)
    assert demo.metrics and demo.figures
    exact = [row for row in demo.metrics if row["at_least"] == row["at_most"] is not None]
    assert all(row["passed"] for row in exact), exact
    assert json.loads((tmp_path / "config.json").read_text())["full"]


def test_the_guidance_by_words_begins_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scenes = data.scenes
    monkeypatch.setattr(Demo, "progress", lambda self, items, text="": islice(items, 3))
    monkeypatch.setattr(data, "scenes", lambda count, *a, **options: scenes(min(count, 50), *a, **options))
    monkeypatch.setattr(image_generation, "STEPS", 8)
    demo = Demo("x", tmp_path)
    image_generation.scenes_of_sentences(demo, 4, 3)
    assert "scenes" in demo.figures and len(demo.metrics) == 7


def test_a_turn_towards_a_sentence_brings_the_image_nearer():
    clip = words.network().eval().requires_grad_(False)
    sentences = clip.encode_text(words.tokens(["a red disc", "a blue star", "a disc"]))
    x, step = lc.randn(3, 3, words.SIZE, words.SIZE), lc.tensor([5, 20, 40])
    kept = image_generation.KEPT[step].reshape(3, 1, 1, 1)

    def match(strength: float) -> Tensor:
        noise = image_generation.towards(clip, lambda x, step: 0.5 * x, sentences, strength)(x, step)
        clean = ((x - (1 - kept).sqrt() * noise) / kept.sqrt()).clamp(-1, 1)
        return (clip.encode_image((clean + 1) / 2) * sentences).sum(1)

    assert (match(0.02) > match(0.0)).all() and (match(0.0) > match(-0.02)).all()


def test_copies_and_products_of_a_device(tmp_path: Path):
    demo = Demo("x", tmp_path)
    batches_and_roofline.device(demo, "cuda" if lc.cuda.is_available() else "cpu", 64)
    assert len(demo.metrics) == 5 and all(row["value"] > 0 for row in demo.metrics) and "device" in demo.figures


def test_the_ladder_of_gpts_in_small(tmp_path: Path):
    demo, tokens = Demo("x", tmp_path), lc.randint(0, 7, (200_000,))
    found = scaling_laws.ladder(demo, tokens, 7, ((4, 1), (8, 2)), (300, 2000), 3)
    sizes = [(7 + 64) * 4 + 12 * 16 + 13 * 4 + 8, (7 + 64) * 8 + 2 * (12 * 64 + 13 * 8) + 16]
    assert list(found) == [(size, amount) for size in sizes for amount in (300, 2000)]
    assert all(1.8 < loss < 2.5 for loss in found.values())  # log 7 is 1.95
    assert "ladder" in demo.figures and len(demo.metrics) == 4


@pytest.mark.parametrize(("kind", "name"), [
    ("voc", "object_detection"), ("coco", "object_detection"), ("voc", "semantic_segmentation"),
])  # fmt: skip
def test_a_program_learns_from_a_folder(kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("PIL")
    program = importlib.import_module(f"littlecore.book.{name}")
    fit, losses = program.fit, []

    def short(demo, model, loss, steps, *rest):
        losses.extend(fit(demo, model, loss, 12, *rest))
        return losses[-12:]

    monkeypatch.setattr(program, "fit", short)
    scenes = data.scenes(16, 96, seed=2)
    scenes.masks[:, :20, :20] = data.VOID
    if kind == "voc":
        folders.save_voc(scenes, tmp_path, 10)
        (tmp_path / "classes.txt").write_text("".join(f"{name}\n" for name in (*SHAPES, "dragon")))
    else:
        for part in ("train", "val"):
            folders.save_coco(scenes, tmp_path, part)
    demo = run_program(name, tmp_path / "out", data=tmp_path)
    assert losses[11] < 0.8 * losses[0]
    assert demo.metrics and not demo.missed
    assert all(0 <= row["value"] <= 1 for row in demo.metrics if "mean" in row["name"])
    assert json.loads((tmp_path / "out" / "config.json").read_text())["data"] == str(tmp_path)


@pytest.mark.parametrize(("name", "figure"), [
    ("categories_of_models", "three_kinds"), ("graph_neural_networks", "karate_club"),
])  # fmt: skip
def test_the_same_bits_in_every_run(name: str, figure: str, tmp_path: Path):
    for run in "ab":
        run_program(name, tmp_path / run)
    for file in ("metrics.json", f"{figure}.png", f"{figure}.svg"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@pytest.mark.parametrize("kind", ["mnist", "cifar"])
def test_digits_and_photographs_in_their_files(kind: str, tmp_path: Path):
    if kind == "cifar":
        folders.save_cifar(tmp_path, 960)
    else:
        for part, (images, labels) in zip(("train", "test"), (p.arrays for p in data.digits(28)), strict=True):
            data.write_idx(tmp_path / MNIST_FILES[part, "images"], images.squeeze(1))
            data.write_idx(tmp_path / MNIST_FILES[part, "labels"], labels.astype(np.uint8))
    demo = run_program("convolutional_networks", tmp_path / "out", data=tmp_path)
    before, after = (row["value"] for row in demo.metrics[1:])
    assert before > 80 and after < 78


def test_a_language_in_its_catalogues(tmp_path: Path):
    words = {"open": "öffnen", "close": "schließen", "file": "Datei", "window": "Fenster", "all": "alle", "new": "neu"}
    pairs = {f"{a} {b} {c}": f"{words[b]} {words[c]} {words[a]}" for a in words for b in words for c in words}
    folders.save_catalogue({"": "charset=utf-8", **pairs}, tmp_path / "de" / "LC_MESSAGES" / "a.mo")
    demo = run_program("transformer", tmp_path / "out", data=tmp_path)
    found = {row["name"]: row["value"] for row in demo.metrics}
    assert found["sentences to learn from"] == 173 and not demo.missed
    assert found["chrF of the translation, %"] > 60 > 30 > found["chrF of the English itself, %"]


def test_every_program_stands_in_the_table_of_contents():
    assert {p.stem for p in BOOK.glob("*.py")} - SHARED == set(sections.programs())
    assert {s.chapter for s in sections.SECTIONS} == set(sections.CHAPTERS)
    assert len({s.number for s in sections.SECTIONS}) == len(sections.SECTIONS) == 44


@pytest.mark.parametrize("name", list(sections.programs()))
def test_a_program_cites_its_section(name: str):
    docstring = ast.get_docstring(ast.parse((BOOK / f"{name}.py").read_text())) or ""
    for section in sections.SECTIONS:
        if name in section.programs:
            assert re.search(rf"\b{re.escape(section.number)}\b", docstring), section.number


def test_list(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["book", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(sections.SECTIONS)
    assert any(
        line.split() == ["1.2", "Basis", "function", "regression", "basis_function_regression"] for line in lines
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "9.9"], "there is no section '9.9'"),
        (["run", "1.2", "--data", "."], "basis_function_regression takes no data of yours"),
        (["run", "6.3", "--data", "nowhere"], "nowhere: no such folder"),
        (["run", "5.3", "--data", __file__], "test_book.py: is a file, not a folder"),
        (["run", "8.1", "--data", str(BOOK)], "vocab.txt"),  # chain_of_thought, which takes none, is left out
        (["run", "6.3", "--data", str(BOOK)], "book: has no JPEGImages of PASCAL VOC's"),
        (["run", "1.2", "--out", __file__], "results go there, but no such folder can be made (Not a directory)"),
        (["page", "--out", "nowhere"], "nowhere holds no results"),
    ],
)
def test_mistakes(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["book", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_section_without_a_program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(sections, "SECTIONS", (*sections.SECTIONS, sections.Section("9.1", "Of nothing yet")))
    assert cli.main(["book", "run", "9.1"]) == 2
    assert "9.1 has no program yet" in capsys.readouterr().err


def test_run_writes_a_folder_for_each_program(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["book", "run", "1.2", "1.2", "--out", str(tmp_path)]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["basis_function_regression"]
    files = {p.name for p in (tmp_path / "basis_function_regression").iterdir()}
    assert files == {"metrics.json", "config.json", "fit.png", "fit.svg"}
    assert "at most" in capsys.readouterr().out


def test_gates(tmp_path: Path):
    demo = Demo("x", tmp_path)
    demo.metric("free", 3)
    demo.metric("at the bound", 1, at_most=1)
    demo.metric("inside", 2, within=(1, 3))
    assert not demo.missed
    demo.metric("above", 1.1, at_most=1)
    demo.metric("below", 1.9, within=(2, 3))
    demo.metric("nan", float("nan"), at_most=1)
    assert demo.missed == ["above", "below", "nan"]
    assert [gate(row) for row in demo.metrics] == ["", "at most 1", "1 to 3", "at most 1", "2 to 3", "at most 1"]
    assert [shown(v) for v in (12345, 0.5, 1e-9, 2e30, float("inf"))] == ["12,345", "0.5", "1e-09", "2e+30", "inf"]


def test_a_missed_gate_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from littlecore.book import basis_function_regression

    monkeypatch.setattr(basis_function_regression, "run", lambda demo: demo.metric("wrong", 2, at_most=1))
    assert cli.main(["book", "run", "1.2", "--out", str(tmp_path)]) == 1


def without(error: BaseException):
    def run(demo: Demo) -> None:
        raise error

    return run


def test_a_missing_package_stops_its_program_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from littlecore.book import categories_of_models, under_and_overfitting

    lacking = without(ImportError("needs x: pip install x"))
    for program in (categories_of_models, under_and_overfitting):
        monkeypatch.setattr(program, "run", lacking)
    assert cli.main(["book", "run", "1", "--out", str(tmp_path)]) == 2
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("did not run")]
    assert lines == [
        f"did not run: {name}: needs x: pip install x" for name in ("categories_of_models", "under_and_overfitting")
    ]
    assert (tmp_path / "basis_function_regression" / "metrics.json").is_file()
    assert cli.main(["book", "run", "under_and_overfitting", "--out", str(tmp_path)]) == 2
    assert "error: needs x" in capsys.readouterr().err


def test_an_interrupt_leaves_the_results_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from littlecore.book import basis_function_regression, under_and_overfitting

    monkeypatch.setattr(under_and_overfitting, "run", without(KeyboardInterrupt()))
    assert cli.main(["book", "run", "1.2", "1.3", "--out", str(tmp_path)]) == 130
    folder = tmp_path / "basis_function_regression"
    before = {file: file.read_bytes() for file in folder.iterdir()}
    assert before and not list((tmp_path / "under_and_overfitting").iterdir())
    monkeypatch.setattr(basis_function_regression, "run", without(KeyboardInterrupt()))
    assert cli.main(["book", "run", "1.2", "--out", str(tmp_path)]) == 130
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


def test_a_line_moves_while_a_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from littlecore.book import basis_function_regression

    def run(demo: Demo) -> None:
        assert [*demo.progress(range(3), "counting")] == [0, 1, 2]
        demo.say("said")

    monkeypatch.setattr(basis_function_regression, "run", run)
    for terminal in (True, False):
        console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
        demo = run_program("basis_function_regression", tmp_path, console=console)
        text = console.file.getvalue()
        assert "said" in text and ("basis_function_regression" in text) == terminal and demo.bars is None
