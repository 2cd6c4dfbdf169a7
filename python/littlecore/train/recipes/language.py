"""A GPT that predicts the next character (or byte) of a text: the embedded plays, or a text file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from littlecore import data as lcdata

from ..tasks import language_modelling
from ..trainer import Trainer
from .config import Config
from .optimization import adamw, warmup_cosine

Facts = dict[str, Any]
Tokenizer = lcdata.CharTokenizer | lcdata.ByteTokenizer


@dataclass(frozen=True)
class GptConfig(Config):
    """`data`: "shakespeare" (in the wheel) or a UTF-8 text file.

    The last tenth of the text is held out: its first half for validation after every epoch, its second for the test.
    """

    data: str = "shakespeare"
    epochs: int = 9
    steps: int = 200  # an epoch's steps, each on batch_size windows at random places
    batch_size: int = 8
    lr: float = 3e-3
    weight_decay: float = 0.1
    warmup: float = 0.1
    clip_norm: float | None = 1.0
    level: str = "char"  # a token is a "char" or a "byte"
    context: int = 128  # tokens that the model sees at once
    layers: int = 4
    heads: int = 4
    width: int = 128
    dropout: float = 0.0
    sample: int = 400  # characters of text printed at the end


def defaults(name: str, data: str | None) -> GptConfig:
    """The recipe for the embedded plays or for a file."""
    return GptConfig() if data is None else replace(GptConfig(), data=data)


def load(config: GptConfig) -> tuple[str, Tokenizer]:
    """The text that `config` names and its tokenizer."""
    if config.level not in ("char", "byte"):
        raise ValueError(f"setting level: {config.level!r} is not char or byte")
    if config.data == "shakespeare":
        text = lcdata.shakespeare()
    else:
        text = lcdata.read_text(config.data)
        if len(text) < 25 * config.context:
            raise lcdata.DataError(
                config.data, f"{len(text)} characters are too few to learn from {config.context} at a time"
            )
    return text, lcdata.CharTokenizer.of(text) if config.level == "char" else lcdata.ByteTokenizer()


def make_tokenizer(facts: Facts) -> Tokenizer:
    """The tokenizer that `build` reported."""
    return lcdata.ByteTokenizer() if facts["alphabet"] is None else lcdata.CharTokenizer(facts["alphabet"])


def make_model(name: str, config: GptConfig, facts: Facts) -> Any:
    """A GPT with fresh weights."""
    from littlecore import models

    return models.gpt(
        vocab_size=facts["vocab_size"],
        block_size=config.context,
        n_layer=config.layers,
        n_head=config.heads,
        n_embd=config.width,
        dropout=config.dropout,
    )


def build(
    name: str, config: GptConfig, out: Path | None = None, console: Console | None = None
) -> tuple[Trainer, Facts]:
    """A Trainer for the GPT, and the facts of its data: the alphabet (None for bytes) and its size."""
    import littlecore as lc

    text, tokenizer = load(config)
    tokens = tokenizer.encode(text)
    held_out = len(tokens) // 20
    alphabet = tokenizer.alphabet if isinstance(tokenizer, lcdata.CharTokenizer) else None
    facts = {"alphabet": alphabet, "vocab_size": tokenizer.vocab_size}
    learnt, validation, test = np.split(tokens, [-2 * held_out, -held_out])
    train = lcdata.TextWindows(learnt, config.context, samples=config.steps * config.batch_size)

    lc.manual_seed(config.seed)
    model = make_model(name, config, facts).to(config.device)
    optimizer = adamw(model, config, betas=(0.9, 0.99))
    options: dict[str, Any] = {"num_workers": config.workers, "seed": config.seed}
    trainer = Trainer(
        model,
        language_modelling(),
        optimizer,
        lcdata.DataLoader(train, config.batch_size, **options),
        epochs=config.epochs,
        validation=lcdata.DataLoader(lcdata.TextWindows(validation, config.context), 16, **options),
        test=lcdata.DataLoader(lcdata.TextWindows(test, config.context), 16, **options),
        scheduler=warmup_cosine(optimizer, config.epochs * config.steps, config.warmup),
        clip_norm=config.clip_norm,
        patience=config.patience,
        out=out,
        device=config.device,
        title=f"gpt on {Path(config.data).name}",
        console=console,
    )
    return trainer, facts
