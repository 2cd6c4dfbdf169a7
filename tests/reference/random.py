"""random: Philox4x32-10 and the order of its words, in plain integers (Salmon et al., SC 2011)."""

import numpy as np


def philox(seed: int, offset: int, block: int) -> list[int]:
    low = 2**32 - 1
    c = [block & low, block >> 32, offset & low, offset >> 32]
    k = [seed & low, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & low, (a >> 32) ^ c[3] ^ k[1], a & low]
        k = [(k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low]
    return c


def words(seed: int, offset: int, n: int) -> np.ndarray:
    """Groups of 64: word 0 of 16 blocks, then word 1 of them, 2, 3."""
    out = []
    for group in range(-(-n // 64)):
        blocks = [philox(seed, offset, 16 * group + b) for b in range(16)]
        out += [blocks[b][w] for w in range(4) for b in range(16)]
    return np.array(out[:n], dtype=np.uint64)


def uniform(seed: int, offset: int, n: int) -> np.ndarray:
    return (words(seed, offset, n) >> np.uint64(8)).astype(np.float64) * 2.0**-24


def normal(seed: int, offset: int, n: int) -> np.ndarray:
    w = words(seed, offset, -(-n // 64) * 64).reshape(-1, 2, 32).astype(np.float64)
    radius, angle = np.sqrt(-2 * np.log((w[:, 0] + 0.5) * 2.0**-32)), 2 * np.pi * w[:, 1] * 2.0**-32
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:n]
