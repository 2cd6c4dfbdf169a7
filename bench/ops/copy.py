"""copy: contiguous, transposed and converting; every byte read once and written once."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    rows, cols = 2048, 3072
    size = 4 * rows * cols
    x = [normal(rows, cols)]
    return [
        Case("clone", lambda lib, x: x.clone(), x, Work(bytes=2 * size)),
        Case("transpose", lambda lib, x: x.t().contiguous(), x, Work(bytes=2 * size)),
        Case("to_bfloat16", lambda lib, x: x.to(lib.bfloat16), x, Work(bytes=1.5 * size)),
        Case("to_float64", lambda lib, x: x.to(lib.float64), x, Work(bytes=3 * size)),
        Case("heads", lambda lib, x: x.view(8, 256, 12, 256).transpose(1, 2).contiguous(), x, Work(bytes=2 * size)),
    ]
