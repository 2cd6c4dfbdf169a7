"""Files that are whole or not there: written beside, synced, renamed into place."""

from __future__ import annotations

import os
import re
from pathlib import Path


def make_folder(folder: Path) -> None:
    """Make a folder for results where there is none. An OSError says in one line why nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(f"{folder}: results go there, but no such folder can be made ({error.strerror})") from None
    if not os.access(folder, os.W_OK):
        raise OSError(f"{folder}: results go there, but it cannot be written")


def write_atomically(path: str | os.PathLike[str], content: bytes, previous: Path | None = None) -> None:
    """Make `content` the file at `path`: at any moment, also of a kill, `path` is the old or the new one.

    The bytes go to a temporary file in the same folder, are synced to the disk and renamed over `path`; the folder is
    synced last. `previous` keeps the old file under that name. An OSError (a full disk, a read-only folder) leaves
    `path` as it was and no temporary file.
    """
    path = Path(path)
    for target in (path, previous):
        if target is not None:
            remove_leftovers(target)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            _keep(path, previous)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _keep(path: Path, previous: Path) -> None:
    """Give the file at `path` the second name `previous`, without a moment in which either is missing."""
    link = previous.with_name(f".{previous.name}.{os.getpid()}.tmp")
    link.unlink(missing_ok=True)
    try:
        try:
            os.link(path, link)
        except OSError:  # a file system without hard links
            link.write_bytes(path.read_bytes())
        os.replace(link, previous)
    finally:
        link.unlink(missing_ok=True)  # rename leaves it where both names are one file already


def _sync_folder(folder: Path) -> None:
    """Make the renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove temporary files of `path` whose writers were killed."""
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)\.tmp")
    for entry in path.parent.iterdir():
        if (match := pattern.fullmatch(entry.name)) and not _alive(int(match[1])):
            entry.unlink(missing_ok=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return process != os.getpid()
