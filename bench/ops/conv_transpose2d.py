"""conv_transpose2d: the up-sampling layers of a generator and a U-Net; backward is dx, dw and db together."""

from bench.harness import Case, Work, normal


def case(n: int, k: int, size: int, c: int, kernel: int, stride: int, padding: int) -> Case:
    out = (size - 1) * stride - 2 * padding + kernel
    product = 2 * n * k * c * size * size * kernel * kernel
    moved = 4 * (n * k * size * size + n * c * out * out + k * c * kernel * kernel)
    return Case(
        f"{n}x{k}x{size}_{c}_k{kernel}s{stride}",
        lambda lib, x, w, b: lib.nn.functional.conv_transpose2d(x, w, b, stride, padding),
        [normal(n, k, size, size), normal(k, c, kernel, kernel), normal(c)],
        forward=Work(product, moved),
        backward=Work(2 * product, 2 * moved),
    )


def cases() -> list[Case]:
    return [case(16, 128, 8, 64, 4, 2, 1), case(16, 64, 16, 32, 2, 2, 0), case(1, 64, 32, 64, 3, 1, 1)]
