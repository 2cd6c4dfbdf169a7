"""pointwise_loss: two inputs read, one number out; backward reads both again and writes a gradient."""

from bench.harness import Case, Work, normal, positive

NAMES = ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits", "kl_div")


def case(name: str, rows: int, cols: int) -> Case:
    size = 4 * rows * cols
    make = positive if name in ("kl_div", "binary_cross_entropy_with_logits") else normal

    def call(lib, x, target):
        options = {"reduction": "batchmean"} if name == "kl_div" else {}
        return getattr(lib.nn.functional, name)(x, target.detach(), **options)

    inputs = [normal(rows, cols), make(rows, cols)]
    return Case(f"{name}_{rows}x{cols}", call, inputs, Work(bytes=2 * size, stream="read"))


def cases() -> list[Case]:
    return [case(name, 1024, 1024) for name in NAMES]
