"""`littlecore train`: run a recipe into a folder, or go on with one that was interrupted."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from .run_folder import Run, new_folder, read_config, write_config


def add_arguments(commands: Any) -> None:
    from littlecore.train.recipes import RECIPES

    parser = commands.add_parser("train", help="train a model; every run leaves a folder")
    parser.add_argument("name", choices=list(RECIPES), metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--data", help="a folder (MNIST's or CIFAR-10's files, or images) or, for gpt, a text file")
    parser.add_argument("--epochs", type=int, help="how many epochs")
    parser.add_argument("--device", help="where to train (cpu)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    parser.add_argument("--out", help="the run's folder (default: runs/NAME, or the first free runs/NAME-N)")
    parser.add_argument("--resume", metavar="FOLDER", help="go on with the interrupted run of this folder")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    console = Console(highlight=False, markup=False, soft_wrap=True)
    if options.resume is not None:
        folder, settled = _resumed(options)
    else:
        folder, settled = new_folder(options.name, options.out), _configured(options)
    trainer, facts = settled.recipe.build(settled.name, settled.config, folder, console)
    settled = replace(settled, facts=facts)
    parameters = sum(p.numel() for p in trainer.model.parameters())
    console.print(f"{settled.name}: {parameters:,} parameters, data {settled.config.data}, folder {folder}")
    if options.resume is None:
        write_config(folder, settled)
    elif (folder / "checkpoint.safetensors").exists():
        trainer.resume()
        if trainer.finished:
            raise ValueError(f"the run in {folder} is finished: there is nothing to go on with")
        console.print(f"going on at epoch {trainer.epoch + 1}, batch {trainer.batch + 1} of {len(trainer.train)}")
    if not trainer.fit():
        console.print(f"stopped; go on with: littlecore train {settled.name} --resume {folder}")
        return 130
    _summary(console, settled, trainer, folder)
    return 0


def _configured(options: argparse.Namespace) -> Run:
    """The run that the arguments describe, every value checked."""
    from littlecore.train.recipes import RECIPES, with_settings

    named = [f"{key}={value}" for key in ("epochs", "device") if (value := getattr(options, key)) is not None]
    config = with_settings(RECIPES[options.name].defaults(options.name, options.data), options.set + named)
    _check_device(config.device)
    return Run(options.name, config, None)


def _check_device(device: str) -> None:
    import littlecore as lc

    kind, _, number = device.partition(":")
    if kind == "cuda" and lc.cuda.is_available() and (not number or number.isdecimal()):
        if int(number or 0) < lc.cuda.device_count():
            return
    elif device == "cpu":
        return
    there = [f"cuda:{i}" for i in range(lc.cuda.device_count())] or [lc.cuda.why_not()]
    raise ValueError(f"device {device!r} is not available here: there is cpu; {', '.join(there)}")


def _resumed(options: argparse.Namespace) -> tuple[Path, Run]:
    """The folder and the run to go on with. Its configuration is the folder's, so no other may be given."""
    if options.set or any(getattr(options, key) is not None for key in ("data", "epochs", "device", "out")):
        raise ValueError("--resume takes the configuration of its folder: give no --data, --epochs, --set or --out")
    settled = read_config(options.resume)
    if settled.name != options.name:
        raise ValueError(f"{options.resume} holds a run of {settled.name}, not of {options.name}")
    return Path(options.resume), settled


def _summary(console: Any, run: Run, trainer: Any, folder: Path) -> None:
    """What came out, and for a language model a sample of it."""
    last = trainer.history[-1]
    seconds = sum(row["seconds"] for row in trainer.history)
    if "test_accuracy" in last:
        console.print(f"test accuracy {last['test_accuracy']:.2%}, loss {last['test_loss']:.4f}; {seconds:.1f} s")
    else:
        losses = f"validation loss {last['validation_loss']:.4f}, test loss {last['test_loss']:.4f}"
        console.print(f"{losses}, in nats a token; {seconds:.1f} s")
    console.print(f"configuration, metrics, curves and checkpoint are in {folder}")
    if run.recipe.kind == "language" and run.config.sample:
        from littlecore.train.recipes.language import make_tokenizer

        from .generate import stream_text

        console.print()
        tokenizer = make_tokenizer(run.facts or {})
        stream_text(trainer.model, tokenizer, "\n", run.config.sample, temperature=0.8)
