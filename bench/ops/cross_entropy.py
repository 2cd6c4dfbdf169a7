"""cross_entropy over classes: the logits are read once; backward reads them again and writes their gradient."""

from bench.harness import Case, Work, indices, normal


def case(rows: int, classes: int) -> Case:
    size = rows * classes * 4
    return Case(
        f"{rows}x{classes}",
        lambda lib, x, target: lib.nn.functional.cross_entropy(x, target),
        [normal(rows, classes), indices(classes, rows)],
        forward=Work(bytes=size, stream="read"),
        backward=Work(bytes=2 * size),
    )


def cases() -> list[Case]:
    return [case(64, 10), case(1024, 65), case(256, 50257)]
