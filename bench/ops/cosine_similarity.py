"""cosine_similarity: two inputs read, one number a row out."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    rows, cols = 4096, 256
    inputs = [normal(rows, cols), normal(rows, cols)]
    return [
        Case(
            f"{rows}x{cols}",
            lambda lib, a, b: lib.nn.functional.cosine_similarity(a, b),
            inputs,
            Work(bytes=8 * rows * cols, stream="read"),
        )
    ]
