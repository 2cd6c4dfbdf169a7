"""instance_norm: memory bound; forward reads x and writes y, backward reads dy and x and writes dx."""

from bench.harness import Case, Work, normal


def case(n: int, c: int, h: int, w: int) -> Case:
    size = n * c * h * w * 4
    return Case(
        f"{n}x{c}x{h}x{w}",
        lambda lib, x, weight, bias: lib.nn.functional.instance_norm(x, None, None, weight, bias),
        [normal(n, c, h, w), normal(c), normal(c)],
        forward=Work(bytes=2 * size),
        backward=Work(bytes=3 * size),
    )


def cases() -> list[Case]:
    return [case(32, 64, 32, 32)]
