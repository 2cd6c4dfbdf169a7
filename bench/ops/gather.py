"""gather and scatter_add along the last axis."""

from bench.harness import Case, Work, indices, normal


def gather(rows: int, cols: int, picked: int) -> Case:
    return Case(
        f"gather_{rows}x{picked}_of_{cols}",
        lambda lib, x, i: lib.gather(x, 1, i),
        [normal(rows, cols), indices(cols, rows, picked)],
        forward=Work(bytes=(4 + 8 + 4) * rows * picked),
        backward=Work(bytes=4 * rows * cols + 12 * rows * picked),
    )


def scatter_add(rows: int, cols: int, picked: int) -> Case:
    return Case(
        f"scatter_add_{rows}x{picked}_to_{cols}",
        lambda lib, x, i, src: lib.scatter_add(x, 1, i, src),
        [normal(rows, cols), indices(cols, rows, picked), normal(rows, picked)],
        forward=Work(bytes=8 * rows * cols + 12 * rows * picked),
    )


def cases() -> list[Case]:
    return [gather(4096, 65, 1), gather(1024, 1024, 256), scatter_add(1024, 1024, 256)]
