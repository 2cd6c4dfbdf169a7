"""one_hot: indices read, rows of zeros with a one written."""

from bench.harness import Case, Work, indices


def case(rows: int, classes: int) -> Case:
    call = lambda lib, i: lib.nn.functional.one_hot(i, classes)  # noqa: E731
    return Case(f"{rows}x{classes}", call, [indices(classes, rows)], Work(bytes=8 * rows * (1 + classes)))


def cases() -> list[Case]:
    return [case(64, 10), case(4096, 256)]
