"""A step of two layers of 8 units: nothing but the fixed costs of calls."""

from bench.harness import Case, indices, normal, training


def build(lib):
    return lib.nn.Sequential(lib.nn.Linear(8, 8), lib.nn.Tanh(), lib.nn.Linear(8, 8))


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def cases() -> list[Case]:
    return [training("b4", build, loss, [normal(4, 8), indices(8, 4)], 4 * 2 * 64, 2 * 64)]
