"""attention: scaled dot product over heads of 64; a causal mask halves the useful arithmetic."""

from bench.harness import Case, Work, normal


def case(batch: int, heads: int, seq: int, dim: int, causal: bool) -> Case:
    flops = 4 * batch * heads * seq * seq * dim // (2 if causal else 1)
    one = 4 * batch * heads * seq * dim
    return Case(
        f"b{batch}h{heads}t{seq}d{dim}{'_causal' if causal else ''}",
        lambda lib, q, k, v: lib.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal),
        [normal(batch, heads, seq, dim)] * 3,
        forward=Work(flops, 4 * one),
        backward=Work(2.5 * flops, 9 * one),
    )


def cases() -> list[Case]:
    return [case(4, 12, t, 64, causal) for t in (64, 256, 1024) for causal in (False, True)] + [
        case(1, 12, 4096, 64, True)
    ]
