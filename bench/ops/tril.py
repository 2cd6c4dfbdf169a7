"""tril: read once, written once, half of it zeros."""

from bench.harness import Case, Work, normal


def case(batch: int, n: int) -> Case:
    size = 4 * batch * n * n
    return Case(f"{batch}x{n}x{n}", lambda lib, x: lib.tril(x), [normal(batch, n, n)], Work(bytes=1.5 * size))


def cases() -> list[Case]:
    return [case(1, 256), case(16, 512)]
