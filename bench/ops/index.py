"""index: rows, entries and masked elements picked out of a tensor."""

from bench.harness import Case, Work, indices, mask, normal


def cases() -> list[Case]:
    rows, cols, picked = 4096, 768, 8192
    return [
        Case(
            f"rows_{picked}x{cols}",
            lambda lib, x, i: x[i],
            [normal(rows, cols), indices(rows, picked)],
            forward=Work(bytes=8 * picked * cols),
            backward=Work(bytes=4 * (rows + picked) * cols),
        ),
        Case(
            f"entries_{picked}",
            lambda lib, x, i, j: x[i, j],
            [normal(rows, cols), indices(rows, picked), indices(cols, picked)],
            forward=Work(bytes=24 * picked),
        ),
        Case(
            f"mask_{rows}x{cols}",
            lambda lib, x, m: x[m],
            [normal(rows, cols), mask(rows, cols)],
            forward=Work(bytes=(4 + 1 + 2) * rows * cols),
        ),
    ]
