"""The one exception of the readers."""

from __future__ import annotations

import os
from pathlib import Path


class DataError(ValueError):
    """A data file or folder that cannot be what it claims to be.

    The message starts with the path and, where a byte is to blame, its offset, so that it stands alone on a terminal.
    `path` and `offset` hold the same two (`offset` is None where no single byte is to blame; for a gzipped file it
    counts decompressed bytes).
    """

    def __init__(self, path: str | os.PathLike[str], problem: str, offset: int | None = None) -> None:
        self.path = os.fspath(path)
        self.offset = offset
        where = self.path if offset is None else f"{self.path}: byte {offset}"
        super().__init__(f"{where}: {problem}")


def existing_folder(path: str | os.PathLike[str]) -> Path:
    """The folder at `path`; DataError where there is none."""
    if not (folder := Path(path)).is_dir():
        raise DataError(path, "is a file, not a folder" if folder.exists() else "no such folder")
    return folder
