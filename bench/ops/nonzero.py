"""nonzero: a mask read, the coordinates of its true entries written."""

from bench.harness import Case, Work, mask


def case(rows: int, cols: int) -> Case:
    call = lambda lib, m: lib.nonzero(m)  # noqa: E731
    return Case(f"{rows}x{cols}", call, [mask(rows, cols)], Work(bytes=rows * cols * (1 + 16 / 2)))


def cases() -> list[Case]:
    return [case(64, 64), case(1024, 3072)]
