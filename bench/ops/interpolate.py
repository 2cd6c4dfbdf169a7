"""interpolate: the image read, its enlargement written."""

from bench.harness import Case, Work, normal


def case(mode: str, n: int, c: int, size: int) -> Case:
    moved = 4 * n * c * size * size * 5
    options = {"align_corners": False} if mode == "bilinear" else {}
    return Case(
        f"{mode}_{n}x{c}x{size}x{size}_x2",
        lambda lib, x: lib.nn.functional.interpolate(x, scale_factor=2, mode=mode, **options),
        [normal(n, c, size, size)],
        forward=Work(bytes=moved),
        backward=Work(bytes=moved),
    )


def cases() -> list[Case]:
    return [case(mode, 16, 64, 32) for mode in ("nearest", "bilinear")]
