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


def cases() -> list[Case]:
    return [case(64, 784, 512), case(64, 512, 10), case(256, 784, 512), case(1024, 768, 3072), case(1024, 3072, 768)]
