"""A step of two layers of 8 units: nothing but the fixed costs of calls."""

from bench.harness import Case, Work, captured, indices, initialized, normal, training

BATCH = [normal(4, 8), indices(8, 4)]
MACS, WEIGHTS = 4 * 2 * 64, 2 * 64


def build(lib):
    return lib.nn.Sequential(lib.nn.Linear(8, 8), lib.nn.Tanh(), lib.nn.Linear(8, 8))


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def gradients() -> Case:
    """Forward and backward, without an optimizer."""

    def setup(lib, *arrays):
        model = initialized(lib, build, arrays)
        return [model, list(model.parameters()), *arrays]

    def call(lib, model, parameters, x, y):
        for p in parameters:
            p.grad = None
        value = loss(lib, model, x, y)
        value.backward()
        return value

    return Case("b4_gradients", call, BATCH, step=Work(6 * MACS), setup=setup)


def cases() -> list[Case]:
    step = training("b4", build, loss, BATCH, MACS, WEIGHTS)
    return [step, captured(step), gradients(), captured(gradients())]
