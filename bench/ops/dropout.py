"""dropout: read, write, and a counter-based random number an element."""

from bench.harness import Case, Work, normal


def case(rows: int, cols: int, p: float) -> Case:
    size = rows * cols * 4
    return Case(
        f"{rows}x{cols}_p{p}",
        lambda lib, x: lib.nn.functional.dropout(x, p, True),
        [normal(rows, cols)],
        forward=Work(bytes=2 * size),
        random=True,
    )


def cases() -> list[Case]:
    return [case(1024, 3072, 0.1), case(1024, 3072, 0.5)]
