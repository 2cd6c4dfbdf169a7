"""rms_norm: memory bound; forward reads x and writes y, backward reads dy and x and writes dx."""

from bench.harness import Case, Work, normal


def case(rows: int, cols: int) -> Case:
    size = rows * cols * 4
    return Case(
        f"{rows}x{cols}",
        lambda lib, x, w: lib.nn.functional.rms_norm(x, (cols,), w, 1e-6),
        [normal(rows, cols), normal(cols)],
        forward=Work(bytes=2 * size),
        backward=Work(bytes=3 * size),
    )


def cases() -> list[Case]:
    return [case(1024, 768), case(16384, 1024)]
