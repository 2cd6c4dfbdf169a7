"""rnn: the input products are one matmul, the recurrence is one skinny matmul a step."""

from bench.harness import Case, Work, normal


def case(name: str, gates: int, batch: int, seq: int, width: int) -> Case:
    def setup(lib, x, *weights):
        layer = getattr(lib.nn, name)(width, width, batch_first=True)
        with lib.no_grad():
            for p, w in zip(layer.parameters(), weights, strict=True):
                p.copy_(w)
        return [layer, x]

    weights = [normal(gates * width, width, scale=0.05)] * 2 + [normal(gates * width, scale=0.05)] * 2
    flops = 2 * batch * seq * 2 * gates * width * width
    return Case(
        f"{name}_b{batch}t{seq}w{width}",
        lambda lib, layer, x: layer(x)[0],
        [normal(batch, seq, width), *weights],
        forward=Work(flops),
        backward=Work(flops),
        setup=setup,
    )


def cases() -> list[Case]:
    return [case(name, gates, 32, 64, 256) for name, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1))]
