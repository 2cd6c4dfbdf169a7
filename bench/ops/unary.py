"""unary: one pass over memory; the transcendental ones are bound by arithmetic while the data stay in cache."""

from collections.abc import Callable
from typing import Any

from bench.harness import Case, Work, normal, positive

CALLS: dict[str, Callable[..., Any]] = {
    "relu": lambda lib, x: lib.relu(x),
    "gelu": lambda lib, x: lib.nn.functional.gelu(x),
    "gelu_tanh": lambda lib, x: lib.nn.functional.gelu(x, approximate="tanh"),
    "silu": lambda lib, x: lib.nn.functional.silu(x),
    "tanh": lambda lib, x: lib.tanh(x),
    "sigmoid": lambda lib, x: lib.sigmoid(x),
    "exp": lambda lib, x: lib.exp(x),
    "log": lambda lib, x: lib.log(x),
    "sqrt": lambda lib, x: lib.sqrt(x),
    "erf": lambda lib, x: lib.erf(x),
}


def case(name: str, rows: int, cols: int) -> Case:
    size = rows * cols * 4
    make = positive if name in ("log", "sqrt") else normal
    return Case(f"{name}_{rows}x{cols}", CALLS[name], [make(rows, cols)], Work(bytes=2 * size), Work(bytes=3 * size))


def cases() -> list[Case]:
    large = [case(name, 8192, 3072) for name in ("relu", "gelu")]
    return [case(name, rows, 3072) for name in CALLS for rows in (256, 1024)] + large
