"""create: memory written once."""

from bench.harness import Case, Work


def case(n: int) -> list[Case]:
    return [
        Case(f"zeros_{n}", lambda lib: lib.zeros(n), [], Work(bytes=4 * n)),
        Case(f"full_{n}", lambda lib: lib.full((n,), 1.5), [], Work(bytes=4 * n)),
        Case(f"arange_{n}", lambda lib: lib.arange(n), [], Work(bytes=8 * n)),
    ]


def cases() -> list[Case]:
    return case(4) + case(1 << 20)
