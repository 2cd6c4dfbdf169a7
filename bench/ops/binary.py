"""binary: two inputs read, one output written; and the fixed cost of a call, on four numbers."""

import math
from collections.abc import Callable
from typing import Any

from bench.harness import Case, Work, normal

CALLS: dict[str, Callable[..., Any]] = {
    "add": lambda lib, a, b: lib.add(a, b),
    "mul": lambda lib, a, b: lib.mul(a, b),
    "div": lambda lib, a, b: lib.div(a, b),
    "maximum": lambda lib, a, b: lib.maximum(a, b),
}


def case(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> Case:
    size = 4 * max(1, math.prod(a))
    inputs = [normal(*a), normal(*b)]
    backward = Work(bytes=(5 if a == b else 3) * size)  # dy, a and b read, a gradient of each written
    if name == "add":  # the gradient is handed on; of what was broadcast it is summed
        backward = Work(bytes=0 if a == b else size, stream="read")
    return Case(
        f"{name}_{'x'.join(map(str, a))}_{'x'.join(map(str, b))}",
        CALLS[name],
        inputs,
        Work(bytes=3 * size),
        backward,
    )


def cases() -> list[Case]:
    whole = [case(name, (rows, 3072), (rows, 3072)) for name in CALLS for rows in (256, 1024)]
    broadcast = [case("add", (1024, 3072), (3072,)), case("mul", (1024, 3072), (1024, 1))]
    return [case("add", (4,), (4,)), *whole, *broadcast, case("add", (8192, 3072), (8192, 3072))]
