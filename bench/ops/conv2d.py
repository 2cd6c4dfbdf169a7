"""conv2d: LeNet, CIFAR residual networks, ResNet-50 and depthwise layers; backward is dx, dw and db together."""

from bench.harness import Case, Work, normal

LAYERS = (  # name, c, size, k, r, stride, padding, groups
    ("lenet1", 1, 28, 6, 5, 1, 2, 1),
    ("lenet2", 6, 14, 16, 5, 1, 0, 1),
    ("cifar_stem", 3, 32, 64, 3, 1, 1, 1),
    ("cifar_16", 16, 32, 16, 3, 1, 1, 1),
    ("cifar_64", 64, 32, 64, 3, 1, 1, 1),
    ("cifar_128", 128, 16, 128, 3, 1, 1, 1),
    ("cifar_512", 512, 4, 512, 3, 1, 1, 1),
    ("cifar_64_128_s2", 64, 32, 128, 3, 2, 1, 1),
    ("cifar_1x1_s2", 64, 32, 128, 1, 2, 0, 1),
    ("r50_stem", 3, 224, 64, 7, 2, 3, 1),
    ("r50_1x1_64_256", 64, 56, 256, 1, 1, 0, 1),
    ("r50_1x1_512_128", 512, 28, 128, 1, 1, 0, 1),
    ("r50_3x3_64", 64, 56, 64, 3, 1, 1, 1),
    ("r50_3x3_256", 256, 14, 256, 3, 1, 1, 1),
    ("depthwise_32x112", 32, 112, 32, 3, 1, 1, 32),
    ("depthwise_512x14", 512, 14, 512, 3, 1, 1, 512),
)


def case(batch: int, name: str, c: int, size: int, k: int, r: int, stride: int, padding: int, groups: int) -> Case:
    out = (size + 2 * padding - r) // stride + 1
    product = 2 * batch * k * out * out * (c // groups) * r * r
    moved = 4 * (batch * c * size * size + batch * k * out * out + k * (c // groups) * r * r)
    return Case(
        f"{name}_b{batch}",
        lambda lib, x, w, b: lib.nn.functional.conv2d(x, w, b, stride, padding, 1, groups),
        [normal(batch, c, size, size), normal(k, c // groups, r, r), normal(k)],
        forward=Work(product, moved),
        backward=Work(2 * product, 2 * moved),
    )


def cases() -> list[Case]:
    return [
        case(batch, *layer) for layer in LAYERS for batch in (1, 32) if batch == 1 or layer[2] <= 56 or layer[1] <= 3
    ]
