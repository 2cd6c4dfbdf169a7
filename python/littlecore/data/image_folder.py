"""Images in one folder per class, decoded by Pillow (extra `vision`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .dataset import Dataset
from .errors import DataError, existing_folder
from .resize import resize

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".tif", ".tiff", ".webp"}
_MODES = {1: "L", 3: "RGB"}


def read_image(path: str | os.PathLike[str], channels: int = 3, size: int | None = None) -> npt.NDArray[np.uint8]:
    """Decode an image file to uint8 [channels, h, w] (1: grey, 3: RGB), resized to size x size where given.

    Raises DataError for a file that Pillow cannot decode, FileNotFoundError, and ImportError without Pillow.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('reading image files needs Pillow: pip install "littlecore[vision]"') from None
    if channels not in _MODES:
        raise ValueError(f"read_image: channels must be 1 or 3, got {channels}")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such image file: {path}")
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert(_MODES[channels]))
    # Pillow raises SyntaxError for some broken PNGs and its own error for decompression bombs.
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(path, f"not a readable image ({error})") from None
    planes = pixels.reshape(*pixels.shape[:2], channels).transpose(2, 0, 1)
    if size is not None and planes.shape[1:] != (size, size):
        planes = np.rint(resize(planes.astype(np.float32), size)).astype(np.uint8)
    return np.ascontiguousarray(planes)


class ImageFolder(Dataset):
    """The images under `root`/CLASS/: classes are the sub-folders in name order, files are in path order.

    A sample is (float32 [channels, h, w] of 0..1, class number). Files are decoded when asked for. `size` resizes each
    image to size x size; without it all images of a batch must have one size.
    """

    def __init__(self, root: str | os.PathLike[str], channels: int = 3, size: int | None = None) -> None:
        root = existing_folder(root)
        self.root, self.channels, self.size = root, channels, size
        self.classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != ".")
        if not self.classes:
            raise DataError(root, "no class folders: images belong in one sub-folder per class")
        self.samples: list[tuple[Path, int]] = []
        for label, name in enumerate(self.classes):
            files = sorted(p for p in (root / name).rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file())
            if not files:
                raise DataError(root / name, f"no image files (looked for {', '.join(sorted(_ENDINGS))})")
            self.samples += [(path, label) for path in files]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        path, label = self.samples[index]
        return read_image(path, self.channels, self.size) * np.float32(1 / 255), label
