"""softmax over the last axis: a row stays in cache, so one read and one write."""

from bench.harness import Case, Work, normal


def case(name: str, rows: int, cols: int) -> Case:
    size = rows * cols * 4
    return Case(
        f"{name}_{rows}x{cols}",
        lambda lib, x: getattr(lib.nn.functional, name)(x, -1),
        [normal(rows, cols)],
        forward=Work(bytes=2 * size),
        backward=Work(bytes=3 * size),
    )


def cases() -> list[Case]:
    return [case(name, *shape) for name in ("softmax", "log_softmax") for shape in ((12288, 256), (16384, 1024))]
