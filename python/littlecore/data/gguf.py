"""GGUF, llama.cpp's file of a model (ggml-org/ggml, docs/gguf.md): its keys, and its tensors as NumPy arrays."""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from .errors import DataError
from .ggml_blocks import BYTES, block_of, dequantize_blocks

Array = npt.NDArray[Any]

_PLAIN = {0: "<f4", 1: "<f2", 24: "<i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}
_BFLOAT16 = 30
_BLOCKS = {
    2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K",
    34: "TQ1_0", 35: "TQ2_0",
}  # fmt: skip
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MAX_RANK = 4


class GGUF(NamedTuple):
    """What a file holds: `metadata` by key, and `tensors` by name, the blocks dequantized to float32."""

    metadata: dict[str, Any]
    tensors: dict[str, Array]


class _Reader:
    """Takes fields one by one, and names the first that cannot be."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        self.content = path.read_bytes()

    def refuse(self, problem: str, at: int | None = None) -> DataError:
        return DataError(self.path, problem, self.at if at is None else at)

    def take(self, count: int, what: str) -> bytes:
        if count > len(self.content) - self.at:
            raise self.refuse(f"{what} needs {count} bytes, {len(self.content) - self.at} are left")
        self.at += count
        return self.content[self.at - count : self.at]

    def number(self, form: str, what: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form), what))[0]

    def text(self, what: str) -> str:
        start = self.at
        content = self.take(self.number("<Q", f"the length of {what}"), what)
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise self.refuse(f"{what} is not UTF-8", start) from None

    def value(self, kind: int, what: str) -> Any:
        start = self.at
        if kind in _SCALARS:
            return self.number(_SCALARS[kind], what)
        if kind == _STRING:
            return self.text(what)
        if kind != _ARRAY:
            raise self.refuse(f"{what} is of type {kind}, which is none of GGUF's 13", start - 4)
        inner, count = self.number("<I", f"the type of {what}"), self.number("<Q", f"the length of {what}")
        if inner == _ARRAY:
            raise self.refuse(f"{what} is an array of arrays", start)
        if count > len(self.content) - self.at:  # each takes a byte at least
            raise self.refuse(f"{what} has {count} elements, {len(self.content) - self.at} bytes are left", start + 4)
        return [self.value(inner, what) for _ in range(count)]


def read_gguf(path: str | os.PathLike[str]) -> GGUF:
    """Read a GGUF file of version 2 or 3, little-endian, with tensors of plain numbers, bfloat16 (as float32) or any
    blocks that dequantize_blocks knows. Sides stand in NumPy's order, the slowest first.

    Raises DataError, which names the file, the byte and the field, for a file that is truncated, of another format or
    version, untrue about its sizes, or with tensors of another type.
    """
    file = _Reader(Path(path))
    if (magic := file.take(4, "the magic number")) != b"GGUF":
        raise file.refuse(f"no GGUF file: it starts with {magic!r}", 0)
    if (version := file.number("<I", "the version")) not in (2, 3):
        raise file.refuse(f"the version is {version}, this reads 2 and 3 (little-endian)", 4)
    tensors, pairs = file.number("<Q", "the number of tensors"), file.number("<Q", "the number of keys")
    for at, (count, what) in zip((8, 16), ((tensors, "tensors"), (pairs, "keys")), strict=True):
        if count * 12 > len(file.content):
            raise file.refuse(f"{count} {what} do not fit into {len(file.content)} bytes", at)
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        start, key = file.at, file.text("a key")
        if key in metadata:
            raise file.refuse(f"the key {key!r} stands there twice", start)
        metadata[key] = file.value(file.number("<I", f"the type of {key!r}"), repr(key))
    found = [_tensor_info(file) for _ in range(tensors)]
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise file.refuse(f"general.alignment is {alignment!r}, wanted a positive number")
    begin = -(-file.at // alignment) * alignment
    values = {name: _tensor(file, begin, *info) for name, info in found}
    if len(values) != len(found):
        raise file.refuse("two tensors have one name")
    return GGUF(metadata, values)


def _tensor_info(file: _Reader) -> tuple[str, tuple[str, list[int], int, int, int]]:
    """A tensor's name; what stands in errors for it, its sides, type and offset, and where the type stood."""
    name = file.text("a tensor's name")
    what = f"the tensor {name!r}"
    if (rank := file.number("<I", f"the rank of {what}")) > _MAX_RANK:
        raise file.refuse(f"{what} has {rank} sides, at most {_MAX_RANK} are possible", file.at - 4)
    sides = [file.number("<Q", f"a side of {what}") for _ in range(rank)]
    at = file.at
    return name, (
        what,
        sides[::-1],
        file.number("<I", f"the type of {what}"),
        file.number("<Q", f"offset of {what}"),
        at,
    )


def _tensor(file: _Reader, begin: int, what: str, sides: list[int], kind: int, offset: int, at: int) -> Array:
    if kind in _BLOCKS:
        name = _BLOCKS[kind]
        if not sides or sides[-1] % block_of(name):
            raise file.refuse(f"{what} has blocks of {block_of(name)} and sides {sides}", at)
        count, dtype = math.prod(sides) // block_of(name) * BYTES[name], np.dtype(np.uint8)
    elif kind in _PLAIN or kind == _BFLOAT16:
        count, dtype = math.prod(sides), np.dtype(_PLAIN.get(kind, "<u2"))
    else:
        raise file.refuse(f"{what} has values of type {kind}; this reads plain numbers, {', '.join(BYTES)}", at)
    size = count * dtype.itemsize
    if begin + offset + size > len(file.content):
        raise file.refuse(
            f"{what} needs {size} bytes from byte {begin + offset} on, the file has {len(file.content)}", at + 4
        )
    values = np.frombuffer(file.content, dtype, count, begin + offset)
    if kind in _BLOCKS:
        return dequantize_blocks(values.reshape(*sides[:-1], -1), name)
    if kind == _BFLOAT16:
        return (values.astype(np.uint32) << 16).view(np.float32).reshape(sides)
    return values.astype(dtype.newbyteorder("=")).reshape(sides)
