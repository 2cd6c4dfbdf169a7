"""sort and topk along rows."""

from bench.harness import Case, Work, normal


def cases() -> list[Case]:
    def sort(rows: int, cols: int) -> Case:
        call = lambda lib, x: lib.sort(x, -1)[0]  # noqa: E731
        return Case(f"sort_{rows}x{cols}", call, [normal(rows, cols)], Work(bytes=16 * rows * cols))

    def topk(rows: int, cols: int, k: int) -> Case:
        call = lambda lib, x: lib.topk(x, k)[0]  # noqa: E731
        return Case(f"topk{k}_{rows}x{cols}", call, [normal(rows, cols)], Work(bytes=4 * rows * cols + 12 * rows * k))

    return [sort(1024, 1024), sort(1, 1 << 20), topk(64, 50257, 40), topk(256, 65, 5)]
