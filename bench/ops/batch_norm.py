"""batch_norm in training: x is read for the statistics and again to normalize; backward reads dy and x twice."""

from bench.harness import Case, Work, normal


def case(n: int, c: int, h: int, w: int) -> Case:
    size = n * c * h * w * 4
    return Case(
        f"{n}x{c}x{h}x{w}",
        lambda lib, x, weight, bias: lib.nn.functional.batch_norm(x, None, None, weight, bias, True),
        [normal(n, c, h, w), normal(c), normal(c)],
        forward=Work(bytes=3 * size),
        backward=Work(bytes=5 * size),
    )


def cases() -> list[Case]:
    return [case(64, 64, 16, 16), case(32, 64, 32, 32), case(32, 256, 56, 56)]
