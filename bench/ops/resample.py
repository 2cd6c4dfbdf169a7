"""resample: pad, interpolate, unfold and fold move memory; each input is read once, each output written once."""

import math
from collections.abc import Callable
from typing import Any

from bench.harness import Case, Work, normal


def case(name: str, call: Callable[..., Any], x: tuple[int, ...], y: tuple[int, ...]) -> Case:
    moved = 4 * (math.prod(x) + math.prod(y))
    return Case(
        f"{name}_{'x'.join(map(str, x))}",
        lambda lib, v: call(lib.nn.functional, v),
        [normal(*x)],
        forward=Work(bytes=moved),
        backward=Work(bytes=moved),
    )


def cases() -> list[Case]:
    return [
        case("pad", lambda f, v: f.pad(v, (1, 1, 1, 1)), (1024, 1536), (1026, 1538)),
        case("pad_reflect", lambda f, v: f.pad(v, (2, 2, 2, 2), "reflect"), (32, 64, 32, 32), (32, 64, 36, 36)),
        case("nearest", lambda f, v: f.interpolate(v, scale_factor=2), (16, 64, 32, 32), (16, 64, 64, 64)),
        case(
            "bilinear",
            lambda f, v: f.interpolate(v, scale_factor=2, mode="bilinear"),
            (16, 64, 32, 32),
            (16, 64, 64, 64),
        ),
        case("unfold", lambda f, v: f.unfold(v, 3, padding=1), (8, 16, 32, 32), (8, 144, 1024)),
        case("fold", lambda f, v: f.fold(v, 32, 3, padding=1), (8, 144, 1024), (8, 16, 32, 32)),
    ]
