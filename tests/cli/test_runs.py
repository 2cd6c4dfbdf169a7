"""Runs from start to end: train, its folder, stop and go on, predict, generate."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from littlecore.data import read_idx

SMALL_GPT = [
    f"--set={setting}"
    for setting in (
        "steps=30",
        "context=16",
        "layers=1",
        "heads=2",
        "width=32",
        "batch_size=8",
        "sample=40",
    )
]


@pytest.fixture(scope="module")
def lenet(program, idx_folder, tmp_path_factory):
    """A folder in which `train lenet` ran in its default place."""
    place = tmp_path_factory.mktemp("lenet")
    done = program(
        "train",
        "lenet",
        "--data",
        idx_folder,
        "--epochs",
        10,
        "--set",
        "batch_size=20",
        "--set",
        "workers=0",
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    return place / "runs" / "lenet", done.stdout


@pytest.fixture(scope="module")
def gpt(program, rhyme, tmp_path_factory):
    out = tmp_path_factory.mktemp("gpt") / "out"
    done = program("train", "gpt", "--data", rhyme, "--epochs", 8, "--out", out, *SMALL_GPT)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_train_leaves_its_folder(lenet, idx_folder):
    folder, output = lenet
    names = {entry.name for entry in folder.iterdir()}
    assert {"config.json", "metrics.csv", "curves.png", "checkpoint.safetensors"} <= names
    config = json.loads((folder / "config.json").read_text())
    assert config["name"] == "lenet" and config["config"]["data"] == str(idx_folder)
    assert config["config"]["epochs"] == 10 and config["config"]["batch_size"] == 20
    assert config["data"]["classes"] == list("0123456789") and "instruction set" in config["made_with"]["build"][1]
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == [str(i) for i in range(1, 11)]
    assert float(rows[-1]["test_accuracy"]) == 1.0
    assert "test accuracy 100.00%" in output and "epoch 10/10" in output and "105,506 parameters" in output


def test_a_second_run_gets_its_own_folder(program, idx_folder, lenet):
    folder, _ = lenet
    done = program("train", "mlp", "--data", idx_folder, "--epochs", 1, cwd=folder.parents[1])
    assert done.returncode == 0 and (folder.parent / "mlp" / "config.json").exists()
    done = program("train", "mlp", "--data", idx_folder, "--epochs", 1, cwd=folder.parents[1])
    assert done.returncode == 0 and (folder.parent / "mlp-2" / "config.json").exists()


def test_a_finished_run_is_not_resumed(program, lenet):
    folder, _ = lenet
    done = program("train", "lenet", "--resume", folder)
    assert done.returncode == 2 and "is finished" in done.stderr
    done = program("train", "mlp", "--resume", folder)
    assert done.returncode == 2 and "holds a run of lenet, not of mlp" in done.stderr


def test_predict_names_the_class(program, lenet, idx_folder, tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    folder, _ = lenet
    images = read_idx(idx_folder / "t10k-images-idx3-ubyte.gz")
    paths = [tmp_path / f"{i}.png" for i in range(10)]
    for path, pixels in zip(paths, images, strict=False):
        image_module.fromarray(pixels).save(path)
    done = program("predict", folder, *paths)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [row[1] for row in rows] == list("0123456789")
    dark_on_light = tmp_path / "inverted.png"
    image_module.fromarray(255 - images[7]).save(dark_on_light)
    assert program("predict", folder, dark_on_light).stdout.splitlines()[1].split()[1] == "7"
    (tmp_path / "x.png").write_text("no image")
    done = program("predict", folder, tmp_path / "x.png")
    assert done.returncode == 2 and "x.png: not a readable image" in done.stderr


def test_generate_streams_the_rhyme(program, gpt):
    folder, output = gpt
    assert "validation loss" in output and "cat" in output  # the sample at the end
    done = program("generate", folder, "--prompt", "the c", "--tokens", 40, "--temperature", 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("the cat sat on the mat.\n") and len(done.stdout) == len("the c") + 40 + 1
    drawn = [
        program("generate", folder, "--seed", seed, "--tokens", 60, "--temperature", 1.5).stdout for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    done = program("generate", folder, "--prompt", "Q")
    assert done.returncode == 2 and "'Q' at position 0 is not in the model's alphabet" in done.stderr


def test_generate_and_predict_refuse_each_others_folders(program, lenet, gpt):
    done = program("generate", lenet[0])
    assert done.returncode == 2 and "holds a trained lenet, not a gpt" in done.stderr
    done = program("predict", gpt[0], "x.png")
    assert done.returncode == 2 and "holds a trained gpt, not an image classifier" in done.stderr


def test_a_damaged_checkpoint_is_refused(program, gpt, tmp_path):
    for file in gpt[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 4
    path.write_bytes(content)
    done = program("generate", tmp_path)
    assert done.returncode == 2 and "does not have its checksum" in done.stderr
    assert "checkpoint.previous.safetensors, is intact" in done.stderr


def metrics(folder):
    """metrics.csv without its times."""
    with open(folder / "metrics.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize("how", ["SIGINT", "SIGTERM", "SIGKILL"])
def test_stop_and_go_on_give_the_uninterrupted_run(program, gpt, rhyme, tmp_path, how):
    out = tmp_path / "out"
    command = [sys.executable, "-m", "littlecore", "train", "gpt", "--data", rhyme, "--epochs", 8, "--out", out]
    process = subprocess.Popen(
        [*map(str, command), *SMALL_GPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not (out / "checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(getattr(signal, how))
    output, errors = process.communicate(timeout=120)
    if process.returncode == 0:
        pytest.skip("the run was over before the signal came")
    assert "Traceback" not in errors
    if how != "SIGKILL":
        assert process.returncode == 130 and f"--resume {out}" in output
    done = program("train", "gpt", "--resume", out)
    assert done.returncode == 0, done.stderr
    assert "going on at epoch" in done.stdout
    assert metrics(out) == metrics(gpt[0])
    ours, theirs = [(folder / "checkpoint.safetensors").read_bytes() for folder in (out, gpt[0])]
    from safetensors.numpy import load

    ours, theirs = load(ours), load(theirs)
    assert ours.keys() == theirs.keys() and np.all([np.array_equal(ours[name], theirs[name]) for name in ours])
    assert os.path.exists(out / "curves.png")
