"""Linear least squares on tensor ops: what chapter 1 needs, for many problems at once."""

from __future__ import annotations

import littlecore as lc
from littlecore import Tensor


def least_squares(a: Tensor, b: Tensor) -> Tensor:
    """w [..., K] that minimizes |a w - b|, by modified Gram-Schmidt.    a: [..., N, K], b: [..., N], N >= K

    The target is orthogonalized as one more column, which makes the solution as exact as a QR decomposition's
    (Bjorck, "Solving linear least squares problems by Gram-Schmidt orthogonalization", BIT 7, 1967).
    """
    columns = [*a.unbind(-1), b]
    count = len(columns) - 1
    products: dict[tuple[int, int], Tensor] = {}  # R, with the target's coordinates in its last column
    for k in range(count):
        products[k, k] = (columns[k] * columns[k]).sum(-1, keepdim=True).sqrt()
        q = columns[k] / products[k, k]
        for j in range(k + 1, count + 1):
            products[k, j] = (q * columns[j]).sum(-1, keepdim=True)
            columns[j] = columns[j] - products[k, j] * q

    w: list[Tensor] = [b] * count
    for k in reversed(range(count)):
        rest = products[k, count]
        for j in range(k + 1, count):
            rest = rest - products[k, j] * w[j]
        w[k] = rest / products[k, k]
    return lc.cat(w, -1)
