"""nll_loss: one number picked from every row."""

from bench.harness import Case, Work, indices, normal


def case(rows: int, classes: int) -> Case:
    return Case(
        f"{rows}x{classes}",
        lambda lib, x, target: lib.nn.functional.nll_loss(x, target),
        [normal(rows, classes), indices(classes, rows)],
        forward=Work(bytes=12 * rows),
        backward=Work(bytes=4 * rows * classes),
    )


def cases() -> list[Case]:
    return [case(64, 10), case(4096, 1000)]
