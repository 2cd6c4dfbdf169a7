"""repeat: read once, written as often as asked."""

from bench.harness import Case, Work, normal


def case(rows: int, cols: int, times: int) -> Case:
    size = 4 * rows * cols
    return Case(
        f"{rows}x{cols}_x{times}",
        lambda lib, x: x.repeat(times, 1),
        [normal(rows, cols)],
        forward=Work(bytes=(1 + times) * size),
        backward=Work(bytes=(1 + times) * size),
    )


def cases() -> list[Case]:
    return [case(4, 16, 3), case(512, 768, 8)]
