"""The programs of `littlecore train`: a recipe is a config, its defaults, and a function that builds its Trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ..trainer import Trainer
from . import language, vision
from .config import Config, as_json, from_json, with_settings

__all__ = ["RECIPES", "Config", "Recipe", "as_json", "from_json", "with_settings"]

Build = Callable[[str, Any, Path | None, Console | None], tuple[Trainer, dict[str, Any]]]


@dataclass(frozen=True)
class Recipe:
    """`kind`: "vision" or "language"; `defaults(name, data)`: the config; `build`, `make_model` as in the modules."""

    kind: str
    defaults: Callable[[str, str | None], Any]
    build: Build
    make_model: Callable[[str, Any, dict[str, Any]], Any]


_VISION = Recipe("vision", vision.defaults, vision.build, vision.make_model)
_LANGUAGE = Recipe("language", language.defaults, language.build, language.make_model)

RECIPES = {"lenet": _VISION, "mlp": _VISION, "resnet": _VISION, "vit": _VISION, "gpt": _LANGUAGE}
