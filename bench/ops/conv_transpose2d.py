"""conv_transpose2d: the upsampling layers of a decoder."""

from bench.harness import Case, Work, normal


def case(batch: int, c: int, size: int, k: int, r: int, stride: int, padding: int) -> Case:
    out = (size - 1) * stride - 2 * padding + r
    product = 2 * batch * c * size * size * k * r * r
    moved = 4 * (batch * c * size * size + batch * k * out * out + c * k * r * r)
    return Case(
        f"{batch}x{c}x{size}_to_{k}x{out}_k{r}s{stride}",
        lambda lib, x, w, b: lib.nn.functional.conv_transpose2d(x, w, b, stride, padding),
        [normal(batch, c, size, size), normal(c, k, r, r), normal(k)],
        forward=Work(product, moved),
        backward=Work(2 * product, 2 * moved),
    )


def cases() -> list[Case]:
    return [case(16, 64, 8, 32, 4, 2, 1), case(16, 128, 16, 64, 4, 2, 1), case(16, 256, 4, 128, 3, 1, 1)]
