"""The loop: it learns, stops, resumes to the same bits, and leaves the files it promises."""

import csv
import os
import signal
import sys

import numpy as np
import pytest

import littlecore as lc
from littlecore import nn, optim
from littlecore.data import DataLoader, ImageDataset, Normalize, RandomShift, TensorDataset, Transformed
from littlecore.train import CheckpointError, Trainer, classification, load_checkpoint

EPOCHS = 4


def images(n=96, seed=0):
    """Two classes of 6 x 6 images: a bright left half or a bright right half, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    pixels = rng.integers(0, 120, (n, 1, 6, 6))
    for i, label in enumerate(labels):
        pixels[i, :, :, 3 * label : 3 * label + 3] += 100
    return ImageDataset(pixels.astype(np.uint8), labels)


def trainer(out=None, workers=0, task=None, **options):
    """A network with dropout and batch norm, augmentation, momentum and a schedule: all that a resume can lose."""
    lc.manual_seed(5)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 2)
    )
    optimizer = optim.AdamW(model.parameters(), lr=0.01)
    train = Transformed(images(), RandomShift(1), Normalize(0.4, 0.2))
    held_out = Transformed(images(40, 1), Normalize(0.4, 0.2))
    options = {"epochs": EPOCHS, "validation": DataLoader(held_out, 16), "test": DataLoader(held_out, 40)} | options
    scheduler = optim.lr_scheduler.StepLR(optimizer, 7, 0.9)
    loader = DataLoader(train, 10, shuffle=True, seed=3, num_workers=workers)
    return Trainer(model, task or classification(), optimizer, loader, scheduler=scheduler, out=out, **options)


def bits(trained):
    """Everything of a run but its times."""
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in trained.history]
    return rows, {name: value.detach().numpy().tobytes() for name, value in trained.model.state_dict().items()}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    run = trainer(tmp_path_factory.mktemp("run"))
    assert run.fit()
    return run


def stopping(step):
    """A classification task that asks for a stop, as Ctrl-C does, in training step number `step`."""
    inner, calls = classification(), [0]

    def task(model, batch):
        if model.training:
            calls[0] += 1
            if calls[0] == step:
                os.kill(os.getpid(), signal.SIGINT)
        return inner(model, batch)

    return task


def test_it_learns(uninterrupted):
    assert uninterrupted.history[-1]["test_accuracy"] > 0.9
    assert [row["epoch"] for row in uninterrupted.history] == [1, 2, 3, 4]
    assert uninterrupted.history[-1]["step"] == 4 * 10 == uninterrupted.step


def test_the_folder_holds_what_was_promised(uninterrupted):
    names = sorted(entry.name for entry in uninterrupted.out.iterdir())
    assert names[0] == "checkpoint.previous.safetensors" and names[1] == "checkpoint.safetensors"
    assert "metrics.csv" in names and [n for n in names if n.startswith("events.out.tfevents.")]
    with open(uninterrupted.out / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["train_loss"]) for row in rows] == [row["train_loss"] for row in uninterrupted.history]
    assert {"validation_accuracy", "learning_rate", "seconds", "test_accuracy"} <= rows[-1].keys()
    arrays, state = load_checkpoint(uninterrupted.out / "checkpoint.safetensors")
    assert state["counters"]["finished"] and "model.0.weight" in arrays


def test_it_is_deterministic_and_workers_change_nothing(uninterrupted):
    again = trainer(workers=2)
    assert again.fit()
    assert bits(again) == bits(uninterrupted)


# In the first epoch, at its last step, at an epoch's first step, in the last epoch, at the very last step.
@pytest.mark.parametrize("step", [1, 10, 11, 25, 33, 40])
def test_resume_is_bit_identical(tmp_path, uninterrupted, step):
    first = trainer(tmp_path, task=stopping(step))
    assert not first.fit() and first.step == step
    lc.manual_seed(999)
    second = trainer(tmp_path)
    second.resume()
    assert second.step == step
    assert second.fit()
    assert bits(second) == bits(uninterrupted)
    with open(tmp_path / "metrics.csv", newline="") as file:
        assert [int(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def test_resume_after_resume(tmp_path, uninterrupted):
    for step in (3, 9, 14):
        run = trainer(tmp_path, task=stopping(step))
        if step > 3:
            run.resume()
        assert not run.fit()
    last = trainer(tmp_path)
    last.resume()
    assert last.fit() and bits(last) == bits(uninterrupted)


def test_a_second_ctrl_c_interrupts_at_once(tmp_path):
    def impatient(model, batch):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, task=impatient).fit()
    assert signal.getsignal(signal.SIGINT) is before


def test_resume_refuses_another_order(tmp_path, uninterrupted):
    other = trainer()
    other.train.seed = 4
    with pytest.raises(ValueError, match=r"seed 3 \(here 4\)"):
        other.resume(uninterrupted.out / "checkpoint.safetensors")
    with pytest.raises(ValueError, match="no out folder"):
        trainer().resume()
    broken = tmp_path / "checkpoint.safetensors"
    broken.write_bytes((uninterrupted.out / "checkpoint.safetensors").read_bytes()[:-3])
    with pytest.raises(CheckpointError):
        trainer(tmp_path).resume()


def test_early_stopping_restores_the_best_epoch(tmp_path):
    """Labels without a pattern: the validation loss soon rises, and the weights of its minimum come back."""
    rng = np.random.default_rng(2)

    def noise(n):
        return TensorDataset(rng.standard_normal((n, 8)).astype(np.float32), rng.integers(0, 2, n))

    lc.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    validation = DataLoader(noise(64), 64)
    run = Trainer(
        model,
        classification(),
        optim.AdamW(model.parameters(), lr=0.02),
        DataLoader(noise(64), 8, shuffle=True),
        epochs=100,
        validation=validation,
        test=validation,
        patience=3,
        out=tmp_path,
    )
    assert run.fit()
    losses = [row["validation_loss"] for row in run.history]
    assert len(losses) < 50 and len(losses) == int(np.argmin(losses)) + 1 + 3
    assert run.history[-1]["test_loss"] == min(losses)
    with pytest.raises(ValueError, match="patience needs"):
        Trainer(model, classification(), run.optimizer, run.train, epochs=1, patience=1)


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path):
    def diverging(model, batch):
        loss, figures = classification()(model, batch)
        return loss * float("inf"), figures

    with pytest.raises(FloatingPointError, match=r"step 0 .*learning rate"):
        trainer(tmp_path, task=diverging).fit()


def test_without_matplotlib_the_run_succeeds(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    from rich.console import Console

    console = Console(file=open(tmp_path / "log", "w+"), width=200)  # noqa: SIM115
    assert trainer(tmp_path, epochs=2, console=console).fit()
    console.file.seek(0)
    text = console.file.read()
    console.file.close()
    assert text.count("pip install") == 1 and "littlecore[plot]" in text and "epoch 2/2" in text
    assert not (tmp_path / "curves.png").exists() and (tmp_path / "metrics.csv").exists()


def test_label_smoothing_is_for_training_only():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    batch = (lc.tensor([[[0.0, 1.0, 2.0, 3.0]]]), lc.tensor([1]))
    smooth, plain = classification(0.2), classification()
    model.eval()
    assert smooth(model, batch)[0].item() == plain(model, batch)[0].item()
    model.train()
    assert smooth(model, batch)[0].item() != plain(model, batch)[0].item()
