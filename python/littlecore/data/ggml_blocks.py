"""The blocks of few bits in which llama.cpp's files hold weights.

Format: ggml-org/ggml, src/ggml-common.h. A block is so many neighbours of a row; d and m are float16, codes q whole
numbers. In the K kinds, groups of 16 or 32 values have scales s and offsets o of their own, of 4, 6 or 8 bits; the TQ
kinds are ternary.

    Q8_0             32 values       34 bytes   x = d q             d = (most of |x|) / 127
    Q5_0, Q4_0       32 values   22, 18 bytes   x = d (q - half)    d = (x of most |x|) / -half, half = 16, 8
    Q5_1, Q4_1       32 values   24, 20 bytes   x = d q + m         d = (most - least) / 31, / 15, m = least
    Q2_K            256 values       84 bytes   x = d s q - m o     groups of 16
    Q3_K            256 values      110 bytes   x = d s (q - 4)     groups of 16
    Q4_K, Q5_K      256 values 144, 176 bytes   x = d s q - m o     groups of 32
    Q6_K            256 values      210 bytes   x = d s (q - 32)    groups of 16
    TQ2_0, TQ1_0    256 values   66, 54 bytes   x = d (q - 1)       d = most of |x|; 2 bits each, 5 in a byte

A byte that holds several codes has the first in its lowest bits, and the next code of the block is the next byte's
lowest: all low parts of 16, 32 or 64 bytes, then all that lie above.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from .ggml_k_blocks import encode_around_zero, encode_from_least

Array = npt.NDArray[Any]

BYTES = {
    "Q8_0": 34, "Q5_1": 24, "Q5_0": 22, "Q4_1": 20, "Q4_0": 18, "Q6_K": 210, "Q5_K": 176, "Q4_K": 144, "Q3_K": 110,
    "Q2_K": 84, "TQ2_0": 66, "TQ1_0": 54,
}  # fmt: skip


def block_of(kind: str) -> int:
    """The number of values in a block."""
    return 256 if kind.endswith("_K") or kind.startswith("TQ") else 32


# ---- values to blocks ------------------------------------------------------------------------------------------------


def quantize_blocks(values: Array, kind: str) -> Array:
    """Blocks of `kind`, as bytes.    float32 [..., n] -> uint8 [..., n / values of a block * bytes of a block]

    The codes are ggml's, bit by bit. They come from the scale before it is rounded to float16, except in the K kinds.
    Halves are rounded away from zero in Q8_0 and the ternary kinds, to even in the K kinds, and up in the others.
    """
    if kind not in _ENCODE:
        raise ValueError(f"quantize_blocks: kind must be one of {', '.join(_ENCODE)}, got {kind!r}")
    block = block_of(kind)
    if values.ndim == 0 or values.shape[-1] % block:
        raise ValueError(f"quantize_blocks: the last side of {values.shape} must be a multiple of {block}")
    x = np.ascontiguousarray(values, np.float32).reshape(-1, block)
    if not np.isfinite(x).all():
        raise ValueError("quantize_blocks: every value must be finite")
    with np.errstate(all="ignore"):
        return _ENCODE[kind](x).reshape(*values.shape[:-1], values.shape[-1] // block * BYTES[kind])


def _halves(d: Array) -> Array:
    """float16, as bytes."""
    with np.errstate(over="ignore"):
        return d.astype("<f2").view(np.uint8)


def _inverse(d: Array) -> Array:
    """1 / d in float32, 0 where d is 0."""
    return np.divide(np.float32(1), d, out=np.zeros_like(d), where=d != 0)


def _away_from_zero(x: Array) -> Array:
    """The nearest whole number, of two the farther from zero."""
    whole = np.floor(np.abs(x))
    whole += np.abs(x) - whole >= 0.5
    return np.copysign(whole, x)


def _joined(codes: Array, width: int) -> Array:
    """The inverse of _split.    [..., 8 / width, bytes] -> [..., bytes]"""
    shifted = codes << np.arange(0, 8, width, dtype=np.uint8)[:, None]
    return np.bitwise_or.reduce(shifted, axis=-2)


def _packed(codes: Array, bits: int) -> Array:
    """32 codes of 4 or 5 bits: fifth bits first, then two codes a byte.    uint8 [n, 32] -> [n, 4 * bits]"""
    low = _joined((codes & 15).reshape(-1, 2, 16), 4)
    return low if bits == 4 else np.concatenate([np.packbits(codes >> 4, axis=1, bitorder="little"), low], 1)


def _encode_8(x: Array) -> Array:
    d = np.abs(x).max(1, keepdims=True) / np.float32(127)
    return np.concatenate([_halves(d), _away_from_zero(x * _inverse(d)).astype(np.int8).view(np.uint8)], 1)


def _encode_around_zero(x: Array, bits: int) -> Array:
    half = 1 << (bits - 1)
    d = np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1) / np.float32(-half)
    exact = x.astype(np.float64) * _inverse(d) + (half + 0.5)  # one rounding, as with a fused multiply-add
    codes = np.trunc(exact.astype(np.float32)).clip(0, 2 * half - 1).astype(np.uint8)
    return np.concatenate([_halves(d), _packed(codes, bits)], 1)


def _encode_from_least(x: Array, bits: int) -> Array:
    most, m = (1 << bits) - 1, x.min(1, keepdims=True)
    d = (x.max(1, keepdims=True) - m) / np.float32(most)
    codes = np.trunc((x - m) * _inverse(d) + np.float32(0.5)).clip(0, most).astype(np.uint8)
    return np.concatenate([_halves(d), _halves(m), _packed(codes, bits)], 1)


def _ternary(x: Array) -> tuple[Array, Array]:
    """d and codes 0, 1 or 2."""
    d = np.abs(x).max(1, keepdims=True)
    return d, (_away_from_zero(x * _inverse(d)) + 1).astype(np.uint8)


def _encode_ternary(x: Array) -> Array:
    d, codes = _ternary(x)
    return np.concatenate([_joined(codes.reshape(-1, 2, 4, 32), 2).reshape(-1, 64), _halves(d)], 1)


def _encode_ternary_tight(x: Array) -> Array:
    d, codes = _ternary(x)
    fields = []
    for part, count in zip(np.split(codes, (160, 240), axis=1), (5, 5, 4), strict=True):
        digits = part.reshape(len(x), count, part.shape[1] // count).astype(np.uint16)
        number = (digits * 3 ** np.arange(4, 4 - count, -1, dtype=np.uint16)[:, None]).sum(1)
        fields.append(((number * 256 + 242) // 243).astype(np.uint8))
    return np.concatenate([*fields, _halves(d)], 1)


def _encode_2_k(x: Array) -> Array:
    d, m, scale, offset, codes = encode_from_least(x, 2)
    q = _joined(codes.reshape(-1, 2, 4, 32), 2).reshape(-1, 64)
    return np.concatenate([scale | offset << 4, q, d.view(np.uint8), m.view(np.uint8)], 1)


def _encode_3_k(x: Array) -> Array:
    d, scale, codes = encode_around_zero(x, 3)
    scale = (scale + 32).astype(np.uint8)
    low, high = _joined((scale & 15).reshape(-1, 2, 8), 4), _joined((scale >> 4).reshape(-1, 4, 4), 2)
    above = _joined((codes >> 2).reshape(-1, 8, 32), 1)
    q = _joined((codes & 3).reshape(-1, 2, 4, 32), 2).reshape(-1, 64)
    return np.concatenate([above, q, low, high, d.view(np.uint8)], 1)


def _encode_4_or_5_k(x: Array, bits: int) -> Array:
    d, m, scale, offset, codes = encode_from_least(x, bits)
    scales, offsets = (s[:, :4] | s[:, 4:] >> 4 << 6 for s in (scale, offset))
    rest = scale[:, 4:] & 15 | offset[:, 4:] << 4
    fifth = _joined((codes >> 4).reshape(-1, 8, 32), 1)[:, : 32 * (bits - 4)]
    q = _joined((codes & 15).reshape(-1, 4, 2, 32), 4).reshape(-1, 128)
    return np.concatenate([d.view(np.uint8), m.view(np.uint8), scales, offsets, rest, fifth, q], 1)


def _encode_6_k(x: Array) -> Array:
    d, scale, codes = encode_around_zero(x, 6)
    low = _joined((codes & 15).reshape(-1, 2, 2, 64), 4).reshape(-1, 128)
    high = _joined((codes >> 4).reshape(-1, 2, 4, 32), 2).reshape(-1, 64)
    return np.concatenate([low, high, scale.astype(np.int8).view(np.uint8), d.view(np.uint8)], 1)


_ENCODE: dict[str, Callable[[Array], Array]] = {
    "Q8_0": _encode_8,
    "Q5_1": lambda x: _encode_from_least(x, 5),
    "Q5_0": lambda x: _encode_around_zero(x, 5),
    "Q4_1": lambda x: _encode_from_least(x, 4),
    "Q4_0": lambda x: _encode_around_zero(x, 4),
    "Q6_K": _encode_6_k,
    "Q5_K": lambda x: _encode_4_or_5_k(x, 5),
    "Q4_K": lambda x: _encode_4_or_5_k(x, 4),
    "Q3_K": _encode_3_k,
    "Q2_K": _encode_2_k,
    "TQ2_0": _encode_ternary,
    "TQ1_0": _encode_ternary_tight,
}


# ---- blocks to values ------------------------------------------------------------------------------------------------


def dequantize_blocks(blocks: Array, kind: str) -> Array:
    """The values of blocks.    uint8 [..., bytes] -> float32 [..., bytes / bytes of a block * values of a block]"""
    if kind not in _DECODE:
        raise ValueError(f"dequantize_blocks: kind must be one of {', '.join(_DECODE)}, got {kind!r}")
    size = BYTES[kind]
    if blocks.dtype != np.uint8 or blocks.ndim == 0 or blocks.shape[-1] % size:
        raise ValueError(
            f"dequantize_blocks: {kind} wants uint8 with a last side that is a multiple of {size}, got "
            f"{blocks.dtype} {blocks.shape}"
        )
    values = _DECODE[kind](np.ascontiguousarray(blocks).reshape(-1, size))
    return values.reshape(*blocks.shape[:-1], blocks.shape[-1] // size * block_of(kind))


def _parts(rows: Array, *sizes: int) -> list[Array]:
    """The fields of blocks, so many bytes each."""
    return np.split(rows, np.cumsum(sizes)[:-1], axis=1)


def _numbers(field: Array) -> Array:
    """float16 as float32.    [n, 2] -> [n, 1]"""
    return field.copy().view("<f2").astype(np.float32)


def _split(field: Array, width: int) -> Array:
    """Codes of `width` bits.    uint8 [..., bytes] -> [..., 8 / width, bytes]"""
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    return field[..., None, :] >> shifts & np.uint8((1 << width) - 1)


def _unpacked(field: Array, bits: int) -> Array:
    """The inverse of _packed, as float32."""
    codes = _split(field[:, -16:], 4).reshape(-1, 32)
    if bits == 5:
        codes = codes | np.unpackbits(field[:, :4], axis=1, bitorder="little") << np.uint8(4)
    return codes.astype(np.float32)


def _decode_8(rows: Array) -> Array:
    d, q = _parts(rows, 2, 32)
    return _numbers(d) * q.view(np.int8).astype(np.float32)


def _decode_around_zero(rows: Array, bits: int) -> Array:
    d, q = _parts(rows, 2, 4 * bits)
    return _numbers(d) * (_unpacked(q, bits) - (1 << (bits - 1)))


def _decode_from_least(rows: Array, bits: int) -> Array:
    d, m, q = _parts(rows, 2, 2, 4 * bits)
    return _numbers(d) * _unpacked(q, bits) + _numbers(m)


def _in_groups(scale: Array, codes: Array, offset: Array | None = None) -> Array:
    """scale * codes - offset.    scale and offset [n, groups] for codes [n, ...] of 256"""
    x = scale[..., None] * codes.reshape(*scale.shape, 256 // scale.shape[1]).astype(np.float32)
    return x if offset is None else x - offset[..., None]


def _decode_2_k(rows: Array) -> Array:
    groups, q, d, m = _parts(rows, 16, 64, 2, 2)
    return _in_groups(_numbers(d) * (groups & 15), _split(q.reshape(-1, 2, 32), 2), _numbers(m) * (groups >> 4))


def _decode_3_k(rows: Array) -> Array:
    above, q, low, high, d = _parts(rows, 32, 64, 8, 4, 2)
    scale = (_split(low, 4).reshape(-1, 16) | _split(high, 2).reshape(-1, 16) << np.uint8(4)).astype(np.int8) - 32
    codes = _split(q.reshape(-1, 2, 32), 2).reshape(-1, 8, 32) | _split(above, 1) << np.uint8(2)
    return _in_groups(_numbers(d) * scale, codes.astype(np.int8) - 4)


def _decode_4_or_5_k(rows: Array, bits: int) -> Array:
    d, m, scales, offsets, rest, fifth, q = _parts(rows, 2, 2, 4, 4, 4, 32 * (bits - 4), 128)
    scale = np.concatenate([scales & 63, rest & 15 | scales >> 6 << 4], 1)
    offset = np.concatenate([offsets & 63, rest >> 4 | offsets >> 6 << 4], 1)
    codes = _split(q.reshape(-1, 4, 32), 4).reshape(-1, 8, 32)
    if bits == 5:
        codes = codes | _split(fifth, 1) << np.uint8(4)
    return _in_groups(_numbers(d) * scale, codes, _numbers(m) * offset)


def _decode_6_k(rows: Array) -> Array:
    low, high, scale, d = _parts(rows, 128, 64, 16, 2)
    codes = _split(low.reshape(-1, 2, 64), 4).reshape(-1, 256)
    codes = codes | _split(high.reshape(-1, 2, 32), 2).reshape(-1, 256) << np.uint8(4)
    return _in_groups(_numbers(d) * scale.view(np.int8), codes.astype(np.int8) - 32)


def _decode_ternary(rows: Array) -> Array:
    q, d = _parts(rows, 64, 2)
    return _numbers(d) * (_split(q.reshape(-1, 2, 32), 2).reshape(-1, 256).astype(np.float32) - 1)


def _decode_ternary_tight(rows: Array) -> Array:
    """A byte is 256 / 243 times the number of five ternary digits, rounded up: times 3, it carries the first out."""
    d, digits = rows[:, 52:], []
    for field, count in zip(_parts(rows[:, :52], 32, 16, 4), (5, 5, 4), strict=True):
        powers = 3 ** np.arange(count, dtype=np.uint8)[:, None]
        left = (field[:, None] * powers).astype(np.uint16)  # modulo 256: the digits that are still to come
        digits.append((left * 3 >> 8).reshape(len(rows), count * field.shape[1]))
    return _numbers(d) * (np.concatenate(digits, 1).astype(np.float32) - 1)


_DECODE: dict[str, Callable[[Array], Array]] = {
    "Q8_0": _decode_8,
    "Q5_1": lambda rows: _decode_from_least(rows, 5),
    "Q5_0": lambda rows: _decode_around_zero(rows, 5),
    "Q4_1": lambda rows: _decode_from_least(rows, 4),
    "Q4_0": lambda rows: _decode_around_zero(rows, 4),
    "Q6_K": _decode_6_k,
    "Q5_K": lambda rows: _decode_4_or_5_k(rows, 5),
    "Q4_K": lambda rows: _decode_4_or_5_k(rows, 4),
    "Q3_K": _decode_3_k,
    "Q2_K": _decode_2_k,
    "TQ2_0": _decode_ternary,
    "TQ1_0": _decode_ternary_tight,
}
