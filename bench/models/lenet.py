"""LeNet on 28x28 images."""

from bench.harness import Case, indices, inference, normal, training


def build(lib):
    nn = lib.nn
    features = [
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    head = [nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)]
    return nn.Sequential(*features, *head)


def loss(lib, model, x, y):
    return lib.nn.functional.cross_entropy(model(x), y)


def cases() -> list[Case]:
    macs = 28 * 28 * 6 * 25 + 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10
    weights = 6 * 25 + 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10
    return [
        training("b64", build, loss, [normal(64, 1, 28, 28), indices(10, 64)], 64 * macs, weights),
        inference("b1", build, [normal(1, 1, 28, 28)], macs, weights),
    ]
