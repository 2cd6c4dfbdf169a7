"""The IDX format of MNIST: two zero bytes, a type code, a rank, big-endian sizes, the values.

The header is not believed: nothing is allocated for bytes that the file does not hold, and every refusal names the
file and the byte. Format: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .errors import DataError

_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MAX_RANK = 8
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
# A deflate stream spends at least one bit on 258 bytes (measured limit 1032:1), so a claim beyond that is a lie.
_DEFLATE_LIMIT = 1032

MNIST_FILES = {
    ("train", "images"): "train-images-idx3-ubyte",
    ("train", "labels"): "train-labels-idx1-ubyte",
    ("test", "images"): "t10k-images-idx3-ubyte",
    ("test", "labels"): "t10k-labels-idx1-ubyte",
}


def _gunzip(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Decompressed pieces of at most _CHUNK bytes of a gzip file (several members allowed), checksums verified."""
    offset = 0  # decompressed bytes so far
    pending = file.read(_CHUNK)
    while pending:
        stream = zlib.decompressobj(wbits=31)
        while not stream.eof:
            try:
                piece = stream.decompress(pending, _CHUNK)
            except zlib.error as error:
                raise DataError(path, f"the gzip stream is damaged here ({error})", offset) from None
            pending = stream.unconsumed_tail
            offset += len(piece)
            yield piece
            # A full piece may have left output behind in the stream: ask again before feeding it.
            if not (pending or stream.eof or len(piece) == _CHUNK) and not (pending := file.read(_CHUNK)):
                raise DataError(path, "the gzip stream is truncated here", offset)
        pending = (stream.unused_data or file.read(_CHUNK)).lstrip(b"\0")  # gzip allows zero padding at the end


def _pieces(path: Path, file: BinaryIO, compressed: bool) -> Iterator[bytes]:
    if compressed:
        yield from _gunzip(path, file)
        return
    while piece := file.read(_CHUNK):
        yield piece


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read one IDX file, plain or gzipped (recognised by content): an array in native byte order.

    Raises DataError (file and byte offset) for a wrong magic number, a header that claims more or fewer bytes than
    the file holds, a truncated or damaged gzip stream; FileNotFoundError where there is no such file.
    """
    path = Path(path)
    with open(path, "rb") as file:
        disk_size = os.fstat(file.fileno()).st_size
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        pieces = _pieces(path, file, compressed)
        content = bytearray()

        def fill(wanted: int) -> None:
            """Read until `content` holds `wanted` bytes or the file ends."""
            while len(content) < wanted and (piece := next(pieces, None)) is not None:
                content.extend(piece)

        dtype, shape, header_size = _read_header(path, content, fill)
        claimed = dtype.itemsize
        for size in shape:
            claimed *= size
        total = header_size + claimed
        claim = f"its header claims {' x '.join(map(str, shape))} values = {total} bytes"
        if not compressed and total > disk_size:
            raise DataError(path, f"the file ends here, but {claim}", disk_size)
        if compressed and total > disk_size * _DEFLATE_LIMIT:
            raise DataError(path, f"{claim}, more than {disk_size} bytes of gzip can hold", 4)
        fill(total + 1)
        if len(content) < total:
            raise DataError(path, f"the data ends here, but {claim}", len(content))
        if len(content) > total:
            raise DataError(path, f"data goes on after the {total} bytes that the header claims", total)
    try:
        values = np.frombuffer(content, dtype, offset=header_size).reshape(shape)
    except ValueError:  # a size of 0 beside sizes whose product no array can have
        raise DataError(path, f"impossible sizes, {claim}", 4) from None
    return values.astype(dtype.newbyteorder("="), copy=False)


def _read_header(path: Path, content: bytearray, fill: Any) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """(dtype, shape, header bytes) from the first bytes, which `fill` brings into `content`."""
    fill(4)
    if len(content) < 4:
        raise DataError(path, "the file ends inside the 4-byte magic number", len(content))
    if content[0] or content[1]:
        raise DataError(path, f"not an IDX file: it starts with {bytes(content[:4]).hex(' ')}, not with 00 00", 0)
    if content[2] not in _DTYPES:
        raise DataError(path, f"unknown IDX type code 0x{content[2]:02x}", 2)
    rank = content[3]
    if not 1 <= rank <= _MAX_RANK:
        raise DataError(path, f"IDX rank {rank}, expected 1 to {_MAX_RANK}", 3)
    header_size = 4 + 4 * rank
    fill(header_size)
    if len(content) < header_size:
        raise DataError(path, f"the file ends inside the {header_size}-byte header", len(content))
    return np.dtype(_DTYPES[content[2]]), struct.unpack_from(f">{rank}I", content, 4), header_size


def write_idx(path: str | os.PathLike[str], values: npt.NDArray[Any]) -> None:
    """Write an array as an IDX file, gzipped where the name ends in .gz. TypeError for a dtype IDX lacks."""
    wanted = values.dtype.newbyteorder(">")
    codes = {np.dtype(name).newbyteorder(">"): code for code, name in _DTYPES.items()}
    if wanted not in codes:
        raise TypeError(f"write_idx: IDX has no type for {values.dtype}")
    header = struct.pack(f">HBB{values.ndim}I", 0, codes[wanted], values.ndim, *values.shape)
    content = header + np.ascontiguousarray(values, wanted).tobytes()
    if os.fspath(path).endswith(".gz"):
        deflate = zlib.compressobj(9, wbits=31)
        content = deflate.compress(content) + deflate.flush()
    Path(path).write_bytes(content)


def read_labelled(
    images: str | os.PathLike[str], labels: str | os.PathLike[str], classes: int | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Read a pair of IDX files: images uint8 [n, h, w] and labels uint8 [n].

    Raises DataError where a file has the wrong rank or type (the two swapped, mostly), the counts differ, there are no
    images, or a label is not below `classes`.
    """
    x, y = read_idx(images), read_idx(labels)
    for path, values, rank, what in ((images, x, 3, "images"), (labels, y, 1, "labels")):
        if values.ndim != rank or values.dtype != np.uint8:
            swapped = x.ndim == 1 and y.ndim == 3
            raise DataError(
                path,
                f"holds {values.dtype} values of rank {values.ndim} where {what} (uint8, rank {rank}) were expected"
                + ("; are images and labels swapped?" if swapped else ""),
                2,
            )
    if len(x) != len(y):
        raise DataError(labels, f"counts {len(y)} labels for the {len(x)} images of {os.fspath(images)}", 4)
    if x.size == 0:
        raise DataError(images, f"holds no pixels: sizes {x.shape}", 4)
    if classes is not None and y.max() >= classes:
        first = int(np.argmax(y >= classes))
        raise DataError(labels, f"label {y[first]} is not one of 0 to {classes - 1}", 8 + first)
    return x, y


def find_mnist_file(folder: Path, name: str) -> Path | None:
    """`name` in `folder` or its MNIST/raw or raw, gzipped or not, with torchvision's '-' or the older '.' spelling."""
    for place in (folder, folder / "raw", folder / "MNIST" / "raw"):
        for spelling in (name, name.replace("-idx", ".idx")):
            for ending in ("", ".gz"):
                candidate = place / (spelling + ending)
                if candidate.is_file():
                    return candidate
    return None
