"""triplet_margin_loss: three inputs read, one number out."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    rows, cols = 4096, 256
    inputs = [normal(rows, cols)] * 3
    return [
        Case(
            f"{rows}x{cols}",
            lambda lib, a, p, n: lib.nn.functional.triplet_margin_loss(a, p, n),
            inputs,
            Work(bytes=12 * rows * cols, stream="read"),
        )
    ]
