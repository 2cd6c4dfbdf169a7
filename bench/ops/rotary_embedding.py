"""rotary_embedding: pairs of numbers turned by an angle of their position; read once, written once."""

from bench.harness import Case, Work, normal


def turn(lib, x, cos, sin):
    """PyTorch has no such op: its users write these lines."""
    if hasattr(lib.nn.functional, "rotary_embedding"):
        return lib.nn.functional.rotary_embedding(x, cos, sin)
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return lib.cat([a * cos - b * sin, b * cos + a * sin], -1)


def case(batch: int, heads: int, seq: int, dim: int) -> Case:
    size = 4 * batch * heads * seq * dim
    inputs = [normal(batch, heads, seq, dim), normal(seq, dim // 2), normal(seq, dim // 2)]
    return Case(f"{batch}x{heads}x{seq}x{dim}", turn, inputs, Work(bytes=2 * size))


def cases() -> list[Case]:
    return [case(4, 12, 256, 64), case(1, 12, 1024, 64)]
