"""Scalars as a TensorBoard event file: TFRecord framing, CRC-32C, and the few protobuf fields that a scalar needs.

Formats: TensorFlow's `tfrecord` page and `event.proto`, `summary.proto`. Nothing but the standard library is used.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # Castagnoli, reflected
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli) of `content`."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def _masked(content: bytes) -> bytes:
    crc = crc32c(content)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(content: bytes) -> bytes:
    """One TFRecord: length, its checksum, the content, its checksum."""
    length = struct.pack("<Q", len(content))
    return length + _masked(length) + content + _masked(content)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, kind: int, value: bytes) -> bytes:
    size = _varint(len(value)) if kind == _BYTES else b""
    return _varint(number << 3 | kind) + size + value


def _event(step: int, wall_time: float, what: bytes) -> bytes:
    """An Event message: wall_time = 1, step = 2, and one of the fields of its `what`."""
    return _field(1, _FIXED64, struct.pack("<d", wall_time)) + _field(2, _VARINT, _varint(step)) + what


def _scalar(tag: str, value: float) -> bytes:
    """A Summary.Value message: tag = 1, simple_value = 2."""
    return _field(1, _BYTES, tag.encode()) + _field(2, _FIXED32, struct.pack("<f", value))


class EventWriter:
    """Appends scalars to a new event file in `folder`; every `add` reaches the file at once.

    `first_step` tells TensorBoard to forget what earlier files of the folder hold from that step on, as a resumed run
    needs.
    """

    def __init__(self, folder: str | os.PathLike[str], first_step: int = 0) -> None:
        self.path = Path(folder) / f"events.out.tfevents.{time.time_ns():019d}.littlecore"
        self._file = open(self.path, "xb")  # noqa: SIM115  closed by close()
        self._write(_event(0, time.time(), _field(3, _BYTES, b"brain.Event:2")))
        if first_step:
            start = _field(1, _VARINT, b"\x01")  # SessionLog.status = START
            self._write(_event(first_step, time.time(), _field(7, _BYTES, start)))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        """Write one event with every scalar at `step`."""
        values = b"".join(_field(1, _BYTES, _scalar(tag, value)) for tag, value in scalars.items())
        self._write(_event(step, time.time(), _field(5, _BYTES, values)))

    def _write(self, event: bytes) -> None:
        self._file.write(record(event))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
