"""A 784-512-512-10 perceptron."""

from bench.harness import Case, indices, inference, normal, training


def build(lib):
    nn = lib.nn
    return nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def cases() -> list[Case]:
    weights = 784 * 512 + 512 * 512 + 512 * 10
    steps = [training(f"b{b}", build, loss, [normal(b, 784), indices(10, b)], b * weights, weights) for b in (64, 256)]
    return [*steps, inference("b1", build, [normal(1, 784)], weights, weights)]
