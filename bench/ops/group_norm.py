"""group_norm: like layer_norm over the channels of a group and all their pixels."""

from bench.harness import Case, Work, normal


def case(n: int, c: int, h: int, w: int, groups: int) -> Case:
    size = n * c * h * w * 4
    return Case(
        f"{n}x{c}x{h}x{w}_g{groups}",
        lambda lib, x, weight, bias: lib.nn.functional.group_norm(x, groups, weight, bias),
        [normal(n, c, h, w), normal(c), normal(c)],
        forward=Work(bytes=2 * size),
        backward=Work(bytes=3 * size),
    )


def cases() -> list[Case]:
    return [case(32, 64, 32, 32, 8), case(16, 256, 28, 28, 32)]
