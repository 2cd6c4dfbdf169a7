"""einsum: contractions that reduce to batched products."""

from bench.harness import Case, Work, normal


def case(equation: str, a: tuple[int, ...], b: tuple[int, ...], flops: float, bytes: float) -> Case:
    name = equation.replace(",", "_").replace("->", "_to_")
    return Case(name, lambda lib, x, y: lib.einsum(equation, x, y), [normal(*a), normal(*b)], Work(flops, bytes))


def cases() -> list[Case]:
    n = 256
    return [
        case("ij,jk->ik", (n, n), (n, n), 2 * n**3, 12 * n * n),
        case("bhid,bhjd->bhij", (4, 12, n, 64), (4, 12, n, 64), 2 * 48 * n * n * 64, 4 * 48 * (2 * n * 64 + n * n)),
        case("bij,bj->bi", (32, n, n), (32, n), 2 * 32 * n * n, 4 * 32 * n * n),
    ]
