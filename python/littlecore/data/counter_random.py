"""Random numbers that are a function of what they are for, not of what was drawn before.

Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011), vectorised in
NumPy. A number depends on (seed, epoch, sample index, draw) alone, so shuffles and augmentations are the same for any
batch size, any number of workers, any NumPy version, and after a resume in the middle of an epoch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from littlecore import Generator

UInt32Array = npt.NDArray[np.uint32]

_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_MULTIPLIER = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)

# Draws 0, 1, 2, ... belong to augmentations; the other users count down from the end.
_DRAW_SHUFFLE = 0xFFFFFFFF
_DRAW_SPLIT = 0xFFFFFFFE


def seed_from(generator: Generator | None, seed: int) -> int:
    """`seed`, or one drawn from the generator where there is one."""
    if generator is None:
        return seed
    from littlecore import randint

    return int(randint(2**63 - 1, (), generator=generator).item())


def philox(counter: npt.NDArray[np.uint64], key: tuple[int, int]) -> UInt32Array:
    """Philox 4x32-10 of every column of `counter` [4, n] (values below 2^32) under one key: [4, n] uint32."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0 = c0 * _MULTIPLIER[0]
        product1 = c2 * _MULTIPLIER[1]
        c0, c1, c2, c3 = (
            (product1 >> _SHIFT) ^ c1 ^ np.uint64(k0),
            product1 & _LOW,
            (product0 >> _SHIFT) ^ c3 ^ np.uint64(k1),
            product0 & _LOW,
        )
        k0 = (k0 + _WEYL[0]) & 0xFFFFFFFF
        k1 = (k1 + _WEYL[1]) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3]).astype(np.uint32)


def _bits(seed: int, epoch: int, indices: npt.NDArray[np.integer], draw: int, blocks: int = 1) -> UInt32Array:
    """[n, 4 * blocks] uint32: `blocks` Philox blocks for each of n sample indices, draws draw .. draw + blocks - 1."""
    index = indices.astype(np.uint64)
    counter = np.empty((4, len(index), blocks), np.uint64)
    counter[0] = (index & _LOW)[:, None]
    counter[1] = (index >> _SHIFT)[:, None]
    counter[2] = epoch & 0xFFFFFFFF
    counter[3] = draw + np.arange(blocks, dtype=np.uint64)
    out = philox(counter.reshape(4, -1), (seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF))
    return out.reshape(4, len(index), blocks).transpose(1, 2, 0).reshape(len(index), 4 * blocks)


def _order(n: int, seed: int, epoch: int, draw: int) -> npt.NDArray[np.int64]:
    bits = _bits(seed, epoch, np.arange(n), draw)
    keys = bits[:, 0].astype(np.uint64) << _SHIFT | bits[:, 1]
    return np.argsort(keys, kind="stable").astype(np.int64)


def shuffled(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """A permutation of 0 .. n-1 [n] that depends on nothing but (n, seed, epoch)."""
    return _order(n, seed, epoch, _DRAW_SHUFFLE)


def split_order(n: int, seed: int) -> npt.NDArray[np.int64]:
    """The permutation that `random_split` cuts; independent of every epoch's shuffle."""
    return _order(n, seed, 0, _DRAW_SPLIT)


class SampleRandom:
    """Random numbers for a batch of samples: row i depends on (seed, epoch, indices[i], call number) alone.

    Each method returns [n, *shape] for the n samples; the call number counts the calls on this object, so the same
    sequence of calls gives a sample the same numbers whatever batch it is in.
    """

    def __init__(self, seed: int, epoch: int, indices: npt.NDArray[np.integer]) -> None:
        self.seed, self.epoch, self.indices = seed, epoch, np.asarray(indices)
        self._draw = 0

    def __len__(self) -> int:
        return len(self.indices)

    def bits(self, *shape: int) -> UInt32Array:
        """Uniform 32-bit integers [n, *shape] uint32."""
        count = int(np.prod(shape, dtype=np.int64))
        blocks = max(1, -(-count // 4))
        out = _bits(self.seed, self.epoch, self.indices, self._draw, blocks)
        self._draw += blocks
        return out[:, :count].reshape(len(self), *shape)

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> npt.NDArray[np.float64]:
        """Uniform in [low, high): [n, *shape] float64, of 32 random bits each."""
        return np.asarray(low + (high - low) * (self.bits(*shape) * 2.0**-32), np.float64)

    def integers(self, low: int, high: int, *shape: int) -> npt.NDArray[np.int64]:
        """Uniform integers in [low, high): [n, *shape] int64 (bias below (high - low) / 2^32)."""
        if not 0 < high - low < 2**32:
            raise ValueError(f"integers: the range [{low}, {high}) must hold 1 to 2^32 - 1 values")
        span = np.uint64(high - low)
        return low + (self.bits(*shape).astype(np.uint64) * span >> _SHIFT).astype(np.int64)
