"""CIFAR-10 and CIFAR-100 in their binary format: records of labels and 3 x 32 x 32 bytes of pixels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .dataset import ImageDataset
from .errors import DataError, existing_folder

_SHAPE = (3, 32, 32)
_FILES = {
    10: ([f"data_batch_{k}.bin" for k in range(1, 6)], ["test_batch.bin"]),
    100: (["train.bin"], ["test.bin"]),
}


def read_cifar(path: str | os.PathLike[str], classes: int = 10) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """One file of CIFAR-10 or of CIFAR-100 (whose 20 coarse labels are passed over): [n, 3, 32, 32], [n].

    Raises DataError (file, byte, field) for a file that is no whole number of records or has impossible labels.
    """
    if classes not in _FILES:
        raise ValueError(f"read_cifar: classes must be 10 or 100, got {classes}")
    limits = {"label": 10} if classes == 10 else {"coarse label": 20, "fine label": 100}
    content = np.frombuffer(Path(path).read_bytes(), np.uint8)
    size = len(limits) + int(np.prod(_SHAPE))
    if not len(content) or len(content) % size:
        whole = len(content) // size * size
        raise DataError(path, f"{len(content)} bytes are no whole number of records of {size}", whole)
    records = content.reshape(-1, size)
    for column, (field, limit) in enumerate(limits.items()):
        wrong = np.flatnonzero(records[:, column] >= limit)
        if wrong.size:
            value = records[wrong[0], column]
            raise DataError(path, f"{field} {value} is not one of 0 to {limit - 1}", int(wrong[0]) * size + column)
    return records[:, len(limits) :].reshape(-1, *_SHAPE), records[:, len(limits) - 1].astype(np.int64)


def cifar(folder: str | os.PathLike[str], classes: int = 10) -> tuple[ImageDataset, ImageDataset]:
    """CIFAR-10 or CIFAR-100 from a folder of its binary files: (train, test), images float32 [3, 32, 32] of 0..1.

    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009. Raises DataError as read_cifar does, and
    for missing files.
    """
    if classes not in _FILES:
        raise ValueError(f"cifar: classes must be 10 or 100, got {classes}")
    folder, parts = existing_folder(folder), []
    for names in _FILES[classes]:
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise DataError(folder, f"CIFAR-{classes} needs {', '.join(missing)} here")
        images, labels = zip(*(read_cifar(folder / name, classes) for name in names), strict=True)
        parts.append(ImageDataset(np.concatenate(images), np.concatenate(labels)))
    return parts[0], parts[1]
