"""where: a condition and two inputs read, one output written."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    return [
        Case(
            f"{rows}x3072",
            lambda lib, a, b: lib.where(a > b, a, b),
            [normal(rows, 3072), normal(rows, 3072)],
            forward=Work(bytes=22 * rows * 3072),  # with the comparison that makes the condition
        )
        for rows in (256, 1024)
    ]
