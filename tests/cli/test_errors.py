"""Mistakes are one clear line on stderr and exit code 2, never a traceback."""

import sys
from importlib import metadata

import numpy as np
import pytest

from littlecore import cli
from littlecore.data import write_idx


def fails(program, *arguments, **options):
    done = program(*arguments, **options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    *_, line = done.stderr.splitlines()
    assert line.startswith("littlecore") and "error: " in line
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["train", "alexnet"], "invalid choice: 'alexnet'"),
        (["train", "lenet", "--epochs", "many"], "invalid int value"),
        (["train", "lenet", "--epochs", "0"], "setting epochs: 0 is not at least 1"),
        (["train", "lenet", "--set", "patience=0"], "setting patience: 0 is not at least 1"),
        (["train", "lenet", "--set", "lr=-1"], "setting lr: -1.0 is not at least 0"),
        (["train", "lenet", "--set", "lr=nan"], "setting lr: nan is not at least 0"),
        (["train", "lenet", "--set", "warmup=2"], "setting warmup: 2.0 is not from 0 to 1"),
        (["train", "mlp", "--set", "hidden=9,-9"], "setting hidden: -9 is not at least 1"),
        (["train", "lenet", "--set", "lr"], "'lr' is not key=value"),
        (["train", "lenet", "--set", "speed=3"], "there is no setting 'speed'; there are batch_size, "),
        (["train", "lenet", "--set", "lr=fast"], "lr: 'fast' is not a float"),
        (["train", "lenet", "--device", "abacus"], "device 'abacus' is not available"),
        (["train", "lenet", "--data", "nowhere"], "nowhere: no such folder"),
        (["train", "lenet", "--data", __file__], "test_errors.py: is a file, not a folder"),
        (["train", "gpt", "--data", "nowhere.txt"], "no such file: nowhere.txt"),
        (["train", "gpt", "--data", "."], ".: is a folder, not a text file"),
        (["train", "gpt", "--out", f"{__file__}/x"], "x: results go there, but no such folder can be made (Not a dir"),
        (["train", "lenet", "--resume", "nowhere"], "nowhere is not a run's folder"),
        (["train", "lenet", "--resume", "x", "--epochs", "3"], "--resume takes the configuration of its folder"),
        (["predict", "nowhere", "x.png"], "nowhere is not a run's folder"),
        (["generate", "nowhere", "--tokens", "-1"], "must not be negative"),
    ],
)
def test_mistakes_are_one_line(program, tmp_path, arguments, words):
    assert words in fails(program, *arguments, cwd=tmp_path)
    assert not list(tmp_path.iterdir())  # a run that cannot start leaves nothing


def test_debug_shows_the_traceback(program, tmp_path):
    done = program("train", "lenet", "--data", "nowhere", cwd=tmp_path, LITTLECORE_DEBUG="1")
    assert done.returncode != 0 and "Traceback" in done.stderr and "DataError" in done.stderr


def test_a_truncated_file_is_named_with_its_byte(program, tmp_path, idx_folder):
    for file in idx_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    broken = tmp_path / "t10k-labels-idx1-ubyte.gz"
    broken.write_bytes(broken.read_bytes()[:20])
    line = fails(program, "train", "lenet", "--data", tmp_path, cwd=tmp_path)
    assert str(broken) in line and "byte " in line and "truncated" in line


def test_files_exchanged_are_noticed(program, tmp_path):
    images, labels = np.zeros((9, 28, 28), np.uint8), np.zeros(9, np.uint8)
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", labels)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", images)
    line = fails(program, "train", "lenet", "--data", tmp_path, cwd=tmp_path)
    assert "swapped?" in line and "train-images" in line


def test_a_folder_in_use_is_not_overwritten(program, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter").write_text("dear")
    assert "--resume taken" in fails(program, "train", "lenet", "--out", "taken", cwd=tmp_path)
    (tmp_path / "file").write_text("")
    assert "file exists" in fails(program, "train", "lenet", "--out", "file", cwd=tmp_path)


def test_a_folder_with_a_broken_configuration_is_named(program, tmp_path):
    for content in ("{", "[]", '{"name": "lenet"}', '{"name": "x", "config": {}, "data": {}}'):
        (tmp_path / "config.json").write_text(content)
        assert "config.json: not the configuration of a run" in fails(program, "generate", tmp_path)


def test_help_and_info(program):
    done = program("--help")
    assert done.returncode == 0 and "train a model" in done.stdout
    done = program("info")
    assert done.returncode == 0
    for word in ("littlecore", "cores", "instruction set", "threads", "devices", "build"):
        assert any(line.startswith(word) for line in done.stdout.splitlines()), word


def test_main_returns_codes(capsys):
    assert cli.main(["info"]) == 0
    assert cli.main(["train", "lenet", "--set", "x=1"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_entry_point_is_main():
    try:
        scripts = metadata.entry_points(group="console_scripts", name="littlecore")
    except metadata.PackageNotFoundError:
        scripts = ()
    for script in scripts:
        assert script.load() is cli.main


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_a_closed_pipe_is_no_error(program):
    import os
    import subprocess

    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([sys.executable, "-m", "littlecore", "info"], stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert b"Traceback" not in done.stderr
