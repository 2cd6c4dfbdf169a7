"""pool2d: each input is read once; backward writes a gradient of the input's size."""

from bench.harness import Case, Work, normal


def case(name: str, n: int, c: int, size: int, kernel: int, stride: int, padding: int) -> Case:
    out = (size + 2 * padding - kernel) // stride + 1
    x, y = 4 * n * c * size * size, 4 * n * c * out * out
    return Case(
        f"{name}_{n}x{c}x{size}_k{kernel}s{stride}",
        lambda lib, v: getattr(lib.nn.functional, name)(v, kernel, stride, padding),
        [normal(n, c, size, size)],
        forward=Work(bytes=x + y),
        backward=Work(bytes=x + y),
    )


def cases() -> list[Case]:
    return [
        case("max_pool2d", 64, 32, 24, 3, 3, 0),
        case("max_pool2d", 64, 64, 4, 2, 2, 0),
        case("max_pool2d", 32, 64, 112, 3, 2, 1),
        case("max_pool2d", 64, 64, 32, 2, 2, 0),
        case("avg_pool2d", 64, 64, 32, 2, 2, 0),
        case("avg_pool2d", 32, 512, 7, 7, 7, 0),
    ]
