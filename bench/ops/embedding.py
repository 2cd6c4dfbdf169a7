"""embedding: rows are copied; backward writes the dense gradient of the whole table."""

from bench.harness import Case, Work, indices, normal


def case(rows: int, dim: int, table: int) -> Case:
    return Case(
        f"{rows}x{dim}_of_{table}",
        lambda lib, i, w: lib.nn.functional.embedding(i, w),
        [indices(table, rows), normal(table, dim)],
        forward=Work(bytes=2 * 4 * rows * dim),
        backward=Work(bytes=4 * table * dim + 2 * 4 * rows * dim),
    )


def cases() -> list[Case]:
    return [case(768, 384, 65), case(4096, 768, 50257)]
