"""The one exception of the readers."""

from __future__ import annotations

import os


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
