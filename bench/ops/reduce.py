"""reduce: the input is read once; along the last axis, across it, and over everything."""

from bench.harness import Case, Work, normal


def case(name: str, rows: int, cols: int, dim: int | None) -> Case:
    def call(lib, x):
        y = getattr(lib, name)(x) if dim is None else getattr(lib, name)(x, dim)
        return y.values if hasattr(y, "values") and not callable(y.values) else y

    axis = "all" if dim is None else f"dim{dim}"
    work = Work(bytes=4 * rows * cols, stream="read")
    return Case(f"{name}_{rows}x{cols}_{axis}", call, [normal(rows, cols)], forward=work)


def cases() -> list[Case]:
    sums = [case("sum", rows, 3072, dim) for rows in (1024, 8192) for dim in (None, 0, 1)]
    return sums + [case(name, 1024, 3072, 1) for name in ("mean", "amax", "var", "argmax", "logsumexp", "prod")]
