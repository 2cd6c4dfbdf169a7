"""linear: matmul with the bias in its epilogue; forward, and the three products of backward."""

from bench.harness import Case, Work, normal


def case(rows: int, inputs: int, outputs: int) -> Case:
    product, moved = 2 * rows * inputs * outputs, 4 * (rows * inputs + inputs * outputs + rows * outputs)
    return Case(
        f"{rows}x{inputs}to{outputs}",
        lambda lib, x, w, b: lib.nn.functional.linear(x, w, b),
        [normal(rows, inputs), normal(outputs, inputs), normal(outputs)],
        forward=Work(product, moved),
        backward=Work(2 * product, 2 * moved),
    )


def layer(rows: int, inputs: int, outputs: int, activation: str) -> Case:
    """Linear and an activation, as the modules are written."""

    def setup(lib, x, w, b):
        net = lib.nn.Sequential(lib.nn.Linear(inputs, outputs), getattr(lib.nn, activation)())
        with lib.no_grad():
            net[0].weight.copy_(w)
            net[0].bias.copy_(b)
        return [net, x]

    moved = 4 * (rows * inputs + inputs * outputs + rows * outputs)
    return Case(
        f"{rows}x{inputs}to{outputs}_{activation}",
        lambda lib, net, x: net(x),
        [normal(rows, inputs), normal(outputs, inputs), normal(outputs)],
        forward=Work(2 * rows * inputs * outputs, moved),
        backward=Work(2 * rows * inputs * outputs, moved),  # of x alone
        setup=setup,
    )


def cases() -> list[Case]:
    plain = [case(64, 784, 512), case(64, 512, 10), case(256, 784, 512), case(1024, 768, 3072), case(1024, 3072, 768)]
    return [*plain, layer(256, 784, 512, "ReLU"), layer(1024, 768, 3072, "GELU"), layer(8192, 64, 3072, "GELU")]
