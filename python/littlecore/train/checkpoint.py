"""Checkpoints: one safetensors file of tensors and state, verified bit by bit when read, never half written.

The metadata of the file holds the state as JSON, with the dtype, the shape and the CRC32 of every tensor in it, and
the CRC32 of that JSON. So any changed bit, in the header or in the data, is an error, and the file stays one that
every safetensors reader opens. There is no pickle anywhere.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .files import write_atomically

Array = npt.NDArray[Any]

_STATE, _CRC = "littlecore", "littlecore.crc32"


class CheckpointError(ValueError):
    """A checkpoint that is damaged, or of another program. The message names the file."""


def previous_checkpoint(path: str | os.PathLike[str]) -> Path:
    """Where `save_checkpoint` keeps the checkpoint that it replaces."""
    path = Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: str | os.PathLike[str], tensors: Mapping[str, Array], state: Any = None) -> None:
    """Write `tensors` (NumPy arrays by name) and `state` (whatever JSON can hold) as one checkpoint file.

    The file that was at `path` stays as `previous_checkpoint(path)`. A kill at any moment leaves the old file or the
    new one; an OSError leaves the old one.
    """
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    table = {name: [array.dtype.str, list(array.shape), _crc(array)] for name, array in arrays.items()}
    text = json.dumps({"tensors": table, "state": state}, separators=(",", ":"))
    metadata = {_STATE: text, _CRC: f"{zlib.crc32(text.encode()):08x}"}
    write_atomically(path, save(arrays, metadata), previous_checkpoint(path))


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, Array], Any]:
    """Read and verify what `save_checkpoint` wrote: (tensors, state).

    Raises CheckpointError for a damaged file, naming what is damaged and, where the replaced checkpoint is intact,
    that one; FileNotFoundError where there is none.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such checkpoint: {os.fspath(path)}")
    try:
        return _load(path)
    except CheckpointError as error:
        older = previous_checkpoint(path)
        try:
            _load(older)
        except (CheckpointError, OSError):
            raise error from None
        raise CheckpointError(f"{error}; the checkpoint before it, {older}, is intact") from None


def _load(path: str | os.PathLike[str]) -> tuple[dict[str, Array], Any]:
    name = os.fspath(path)
    try:
        with safe_open(name, framework="np") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  not a dict
    # The library raises TypeError and the like for dtypes that NumPy lacks.
    except (SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{name}: not a readable safetensors file ({error})") from None
    if _STATE not in metadata or _CRC not in metadata:
        raise CheckpointError(f"{name}: not a littlecore checkpoint, or a damaged one: its metadata lacks the state")
    text = metadata[_STATE]
    if f"{zlib.crc32(text.encode()):08x}" != metadata[_CRC] or len(metadata) != 2:
        raise CheckpointError(f"{name}: damaged: the state does not have its checksum")
    content = json.loads(text)
    if content["tensors"].keys() != tensors.keys():
        raise CheckpointError(f"{name}: damaged: the tensors are not the ones that were saved")
    for key, (dtype, shape, crc) in content["tensors"].items():
        array = tensors[key]
        if array.dtype.str != dtype or list(array.shape) != shape or _crc(array) != crc:
            raise CheckpointError(f"{name}: damaged: tensor {key} does not have its checksum")
    return tensors, content["state"]


def _crc(array: Array) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)
