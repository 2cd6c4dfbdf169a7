"""The training loop: epochs of steps, validation, figures, checkpoints; `fit` is meant to be read first."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from littlecore.data import DataLoader

from .checkpoint import load_checkpoint, save_checkpoint
from .curves import draw_curves
from .display import Display
from .history import Means, Row, write_csv
from .interrupt import StopRequest
from .state import pack, unpack
from .tasks import Task
from .tensorboard import EventWriter

_REDRAW = 30.0  # seconds between drawings of the curves during the run: one takes as long as a small epoch

CHECKPOINT, BEST, METRICS, CURVES = "checkpoint.safetensors", "best.safetensors", "metrics.csv", "curves.png"


class Trainer:
    """Trains `model` on `task` with `optimizer` for `epochs` epochs of the loader `train`.

    After every epoch: the `validation` loader is evaluated, a row of figures is appended to `history` and, where `out`
    names a folder, metrics.csv, curves.png, a TensorBoard event file and checkpoint.safetensors are brought up to date
    there. After the last one the `test` loader is evaluated, once.

    `scheduler` is stepped after every step, `clip_norm` bounds the gradients' global norm. With `patience`, training
    stops once the validation loss has not improved for that many epochs, and the model of the best epoch is restored.
    Ctrl-C ends the run after the step in progress, with a checkpoint. `resume()` continues from a checkpoint such that
    every later bit is the one of a run never interrupted.
    """

    def __init__(
        self,
        model: Any,
        task: Task,
        optimizer: Any,
        train: DataLoader,
        *,
        epochs: int,
        validation: DataLoader | None = None,
        test: DataLoader | None = None,
        scheduler: Any = None,
        clip_norm: float | None = None,
        patience: int | None = None,
        out: str | os.PathLike[str] | None = None,
        device: str = "cpu",
        title: str = "",
        console: Console | None = None,
    ) -> None:
        if patience is not None and validation is None:
            raise ValueError("Trainer: patience needs a validation loader")
        self.model, self.task, self.optimizer, self.scheduler = model, task, optimizer, scheduler
        self.train, self.validation, self.test = train, validation, test
        self.epochs, self.clip_norm, self.patience = epochs, clip_norm, patience
        self.out = None if out is None else Path(out)
        self.device, self.title, self.console = device, title, console
        self.epoch, self.batch, self.step = 0, 0, 0  # epochs finished, batches of the present one, steps in all
        self.history: list[Row] = []
        self.best_loss, self.best_epoch = math.inf, 0
        self.finished = False
        self._means, self._seconds = Means(), 0.0  # of the epoch in progress
        self._drawn = time.monotonic()  # when the curves were last drawn; inf: they cannot be

    # ---- the loop ------------------------------------------------------------------------------------------------

    def fit(self) -> bool:
        """Train until the last epoch, an early stop or Ctrl-C. True when finished, False when interrupted."""
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
        with StopRequest() as stop, Display(self.console, self.epochs) as display, self._events() as events:
            while self.epoch < self.epochs and not self._exhausted():
                if not self._train_epoch(stop, display):
                    self.save()
                    self._draw(display)
                    return False
                row = self._finish_epoch()
                display.line(row)
                events.add(row)
                self._write_figures()
                self.save()
                if time.monotonic() - self._drawn > _REDRAW:
                    self._draw(display)
            if not self.finished:
                self._finish(events)
                self._write_figures()
                self.save()
                self._draw(display)
        return True

    def _train_epoch(self, stop: StopRequest, display: Display) -> bool:
        """The steps of one epoch from `batch` on; False when a stop was requested."""
        start = time.monotonic() - self._seconds
        self.model.train()
        self.train.set_epoch(self.epoch, self.batch)
        display.begin_epoch(self.epoch, len(self.train), self.batch)
        for batch in self.train:
            figures = self.train_step(batch)
            self._means.add(figures, len(batch[0]))
            self.batch += 1
            self.step += 1
            self._seconds = time.monotonic() - start
            display.batch(self.batch, self._means.result())
            if stop.requested:
                return False
        return True

    def train_step(self, batch: Any) -> dict[str, float]:
        """One step: forward, backward, update. The figures of the batch before the update."""
        loss, figures = self.task(self.model, self._to_device(batch))
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the loss is {value} at step {self.step} (epoch {self.epoch + 1}): a lower learning rate may help"
            )
        self.optimizer.zero_grad()
        loss.backward()
        if self.clip_norm is not None:
            from littlecore.nn.utils import clip_grad_norm_

            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()
        return {"loss": value, **figures}

    def evaluate(self, loader: DataLoader) -> dict[str, float]:
        """Means of the loss and the task's figures over `loader`, in evaluation mode and without gradients."""
        from littlecore import no_grad

        means = Means()
        self.model.eval()
        loader.set_epoch(0)
        with no_grad():
            for batch in loader:
                loss, figures = self.task(self.model, self._to_device(batch))
                means.add({"loss": loss.item(), **figures}, len(batch[0]))
        self.model.train()
        return means.result()

    def _to_device(self, batch: Sequence[Any]) -> Sequence[Any]:
        return batch if self.device == "cpu" else tuple(tensor.to(self.device) for tensor in batch)

    # ---- the end of an epoch and of the run ------------------------------------------------------------------------

    def _finish_epoch(self) -> Row:
        """Validate, append the epoch's row to `history`, remember the best epoch."""
        start = time.monotonic()
        self.epoch += 1
        row: Row = {"epoch": self.epoch, "step": self.step, **self._means.result("train_")}
        if self.validation is not None:
            row |= {f"validation_{name}": value for name, value in self.evaluate(self.validation).items()}
            if row["validation_loss"] < self.best_loss:
                self.best_loss, self.best_epoch = row["validation_loss"], self.epoch
                if self.patience is not None and self.out is not None:
                    save_checkpoint(self.out / BEST, *pack({"model": self.model.state_dict()}))
        row["learning_rate"] = self.optimizer.param_groups[0]["lr"]
        row["seconds"] = round(self._seconds + time.monotonic() - start, 3)
        self.history.append(row)
        self.batch, self._means, self._seconds = 0, Means(), 0.0
        return row

    def _exhausted(self) -> bool:
        return self.patience is not None and self.epoch - self.best_epoch >= self.patience

    def _finish(self, events: _Events) -> None:
        """Restore the best epoch's model where one was kept, and test."""
        if self.patience is not None and self.out is not None and (self.out / BEST).is_file():
            self.model.load_state_dict(unpack(*load_checkpoint(self.out / BEST))["model"])
        if self.test is not None and self.history:
            figures = {f"test_{name}": value for name, value in self.evaluate(self.test).items()}
            self.history[-1] |= figures
            events.add({"step": self.step, **figures})
        self.finished = True

    # ---- files -----------------------------------------------------------------------------------------------------

    def _events(self) -> _Events:
        return _Events(self.out, self.step)

    def _write_figures(self) -> None:
        if self.out is not None:
            write_csv(self.out / METRICS, self.history)

    def _draw(self, display: Display) -> None:
        """Draw the curves; where matplotlib is missing say so once: the run is worth more than its picture."""
        if self.out is None or not self.history or self._drawn == math.inf:
            return
        try:
            draw_curves(self.out / CURVES, self.history, self.title)
            self._drawn = time.monotonic()
        except ImportError as error:
            self._drawn = math.inf
            display.say(f"no {CURVES}: {error}")

    def save(self) -> None:
        """Write the checkpoint into `out`: everything that `resume` needs."""
        if self.out is None:
            return
        from littlecore import get_rng_state

        save_checkpoint(
            self.out / CHECKPOINT,
            *pack(
                {
                    "model": self.model.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                    "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
                    "random": get_rng_state(),
                    "loader": self.train.state_dict(),
                    "counters": {name: getattr(self, name) for name in _COUNTERS},
                    "means": self._means.state(),
                    "seconds": self._seconds,
                }
            ),
        )

    def resume(self, path: str | os.PathLike[str] | None = None) -> None:
        """Take over a checkpoint (default: the one in `out`) of an equally made Trainer; `fit` continues from there."""
        from littlecore import set_rng_state

        if path is None:
            if self.out is None:
                raise ValueError("Trainer.resume: there is no out folder to resume from; give a checkpoint's path")
            path = self.out / CHECKPOINT
        state = unpack(*load_checkpoint(path))
        self.train.load_state_dict(state["loader"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        set_rng_state(state["random"])
        for name, value in state["counters"].items():
            setattr(self, name, value)
        self._means, self._seconds = Means(state["means"]), state["seconds"]


_COUNTERS = ("epoch", "batch", "step", "history", "best_loss", "best_epoch", "finished")


class _Events:
    """The TensorBoard file of one `fit`, as a context; nothing without a folder."""

    def __init__(self, folder: Path | None, step: int) -> None:
        self._writer = None if folder is None else EventWriter(folder, step + 1 if step else 0)

    def __enter__(self) -> _Events:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, row: Row) -> None:
        """Write `train_loss` and the like as `loss/train`, so that TensorBoard puts the parts into one panel."""
        if self._writer is None:
            return
        scalars = {}
        for name, value in row.items():
            part, _, quantity = name.partition("_")
            if part in ("train", "validation", "test"):
                scalars[f"{quantity}/{part}"] = value
            elif name == "learning_rate":
                scalars[name] = value
        self._writer.add(row["step"], scalars)
