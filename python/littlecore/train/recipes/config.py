"""A recipe's settings: frozen dataclasses, set from text by the type of each field, kept as JSON."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar


@dataclass(frozen=True)
class Config:
    """What every recipe has. `device` is where it trains; `seed` fixes weights, data order and augmentation."""

    data: str = ""
    epochs: int = 10
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup: float = 0.1  # the part of all steps in which the rate rises, before it falls to 0 along a cosine
    clip_norm: float | None = None
    patience: int | None = None  # epochs without a better validation loss until the run stops
    workers: int = 1
    seed: int = 0
    device: str = "cpu"


_LEAST = {
    **dict.fromkeys(("epochs", "batch_size", "patience", "steps", "context", "layers", "heads", "width", "hidden"), 1),
    **dict.fromkeys(("patch_size", "image_size", "channels"), 1),
    **dict.fromkeys(("lr", "weight_decay", "clip_norm", "workers", "seed", "sample"), 0),
    **dict.fromkeys(("warmup", "validation", "dropout", "label_smoothing"), 0),
    **dict.fromkeys(("shift", "degrees", "zoom", "shear", "cutout"), 0),
}
_MOST = dict.fromkeys(("warmup", "validation", "dropout", "label_smoothing", "shift", "zoom"), 1)

AnyConfig = TypeVar("AnyConfig", bound=Config)


def with_settings(config: AnyConfig, settings: Sequence[str]) -> AnyConfig:
    """`config` with `key=value` settings applied, each value read as the type of its field.

    ValueError for an unknown key (the message lists the known ones), a value of the wrong type or out of bounds.
    """
    hints = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise ValueError(f"setting {setting!r} is not key=value")
        if key not in hints:
            raise ValueError(f"there is no setting {key!r}; there are {', '.join(sorted(hints))}")
        changes[key] = _parse(key, text, hints[key])
        _check_bounds(key, changes[key])
    return dataclasses.replace(config, **changes)


def _parse(key: str, text: str, kind: Any) -> Any:
    """`text` as a value of `kind`: bool, int, float, str, T | None, tuple[T, ...]."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        if text.lower() == "none":
            return None
        (kind,) = (part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is tuple:
        return tuple(_parse(key, part, typing.get_args(kind)[0]) for part in text.split(",") if part)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"setting {key}: {text!r} is not true or false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"setting {key}: {text!r} is not a{'n' if kind is int else ''} {kind.__name__}") from None


def _check_bounds(key: str, value: Any) -> None:
    """ValueError for a number, or one of a tuple, that the setting cannot be."""
    for number in value if isinstance(value, tuple) else (value,):
        if key in _LEAST and number is not None:
            least, most = _LEAST[key], _MOST.get(key, math.inf)
            if not (least <= number <= most and math.isfinite(number)):
                wanted = f"at least {least}" if most == math.inf else f"from {least} to {most}"
                raise ValueError(f"setting {key}: {number} is not {wanted}")


def as_json(config: Config) -> dict[str, Any]:
    """The settings by name."""
    return dataclasses.asdict(config)


def from_json(kind: type[AnyConfig], values: Mapping[str, Any]) -> AnyConfig:
    """The config that `as_json` showed, also after a way through a JSON file (which turns tuples into lists)."""
    known = {field.name for field in dataclasses.fields(kind)}
    if unknown := set(values) - known:
        raise ValueError(f"unknown settings {', '.join(sorted(unknown))}")
    arguments: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in values.items()}
    return kind(**arguments)
