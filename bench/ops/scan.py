"""scan: running sums, read once and written once."""

from bench.harness import Case, Work, normal


def case(rows: int, cols: int, dim: int) -> Case:
    size = 4 * rows * cols
    call = lambda lib, x: lib.cumsum(x, dim)  # noqa: E731
    return Case(
        f"cumsum_{rows}x{cols}_dim{dim}", call, [normal(rows, cols)], Work(bytes=2 * size), Work(bytes=2 * size)
    )


def cases() -> list[Case]:
    return [case(1024, 3072, 1), case(1024, 3072, 0)]
