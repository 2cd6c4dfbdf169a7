"""gettext's catalogues (.mo): sentences of programs and their translations."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path

from .errors import DataError, existing_folder

_MAGIC = 0x950412DE


def read_catalogue(path: str | os.PathLike[str]) -> list[tuple[str, str]]:
    """(sentence, translation) of a file, in its order; of plurals the first form, contexts and the header left out.

    Raises DataError (file, byte) for a file that is none or points outside of itself.
    """
    content = Path(path).read_bytes()
    order = next((o for o in "<>" if content[:4] == struct.pack(f"{o}I", _MAGIC)), None)
    if order is None or len(content) < 20:
        raise DataError(path, "no catalogue of gettext's", 0)
    count, *tables = struct.unpack_from(f"{order}III", content, 8)

    def texts(table: int) -> Iterator[bytes]:
        for at in range(table, table + 8 * count, 8):
            if at + 8 > len(content):
                raise DataError(path, f"ends within its table of {count} texts", len(content))
            length, start = struct.unpack_from(f"{order}II", content, at)
            if start + length > len(content):
                raise DataError(path, f"a text of {length} bytes at {start} lies outside of it", at)
            yield content[start : start + length].split(b"\0")[0]

    pairs, charset = list(zip(*map(texts, tables), strict=True)), "utf-8"
    if pairs and not pairs[0][0] and (found := re.search(rb"charset=([\w-]+)", pairs[0][1])):
        charset = found[1].decode()
    try:
        decoded = [(a.split(b"\4")[-1].decode(charset), b.decode(charset)) for a, b in pairs]
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(path, f"its texts are not {charset} ({error})") from None
    return [(a, b) for a, b in decoded if a and b]


def read_catalogues(folder: str | os.PathLike[str], language: str) -> list[tuple[str, str]]:
    """Of all LANGUAGE/LC_MESSAGES/*.mo below `folder`, such as /usr/share/locale: each sentence once, in their order.

    Raises DataError as read_catalogue does, and where there is none.
    """
    files = sorted(existing_folder(folder).glob(f"**/{language}/LC_MESSAGES/*.mo"))
    if not files:
        raise DataError(folder, f"holds no {language}/LC_MESSAGES/*.mo")
    found: dict[str, str] = {}
    for file in files:
        for sentence, translation in read_catalogue(file):
            found.setdefault(sentence, translation)
    return list(found.items())
