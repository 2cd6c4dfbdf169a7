"""cat, stack, roll and flip: every byte read once and written once."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    rows, cols = 1024, 1536
    size = 4 * rows * cols
    pair = [normal(rows, cols), normal(rows, cols)]
    return [
        Case("cat_dim0", lambda lib, a, b: lib.cat([a, b], 0), pair, Work(bytes=4 * size)),
        Case("cat_dim1", lambda lib, a, b: lib.cat([a, b], 1), pair, Work(bytes=4 * size)),
        Case("stack", lambda lib, a, b: lib.stack([a, b], 1), pair, Work(bytes=4 * size)),
        Case("roll", lambda lib, a: lib.roll(a, 7, 0), pair[:1], Work(bytes=2 * size)),
        Case("flip_dim0", lambda lib, a: lib.flip(a, (0,)), pair[:1], Work(bytes=2 * size)),
        Case("flip_dim1", lambda lib, a: lib.flip(a, (1,)), pair[:1], Work(bytes=2 * size)),
    ]
