"""ResNet-18 in its 32x32 form (a 3x3 stem, no pooling before the blocks)."""

from bench.harness import Case, indices, inference, normal, training

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))


def build(lib):
    nn = lib.nn

    def conv(c, k, size, stride):
        return [nn.Conv2d(c, k, size, stride, size // 2, bias=False), nn.BatchNorm2d(k)]

    class Block(nn.Module):
        def __init__(self, c, k, stride):
            super().__init__()
            self.body = nn.Sequential(*conv(c, k, 3, stride), nn.ReLU(), *conv(k, k, 3, 1))
            self.skip = nn.Sequential(*conv(c, k, 1, stride)) if stride != 1 or c != k else nn.Identity()

        def forward(self, x):
            return lib.relu(self.body(x) + self.skip(x))

    layers, c = [*conv(3, 64, 3, 1), nn.ReLU()], 64
    for k, stride in STAGES:
        layers += [Block(c, k, stride), Block(k, k, 1)]
        c = k
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def cases() -> list[Case]:
    macs, weights, c, pixels = 32 * 32 * 64 * 27, 64 * 27 + 512 * 10, 64, 32 * 32
    for k, stride in STAGES:
        pixels //= stride * stride
        stage = 9 * c * k + 3 * 9 * k * k + (c * k if c != k else 0)
        macs, weights, c = macs + pixels * stage, weights + stage, k
    return [
        training("b32", build, loss, [normal(32, 3, 32, 32), indices(10, 32)], 32 * macs, weights),
        inference("b1", build, [normal(1, 3, 32, 32)], macs, weights),
    ]
