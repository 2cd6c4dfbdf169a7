"""Ready data sets: the embedded digits and plays, and MNIST from a folder of the user's."""

from __future__ import annotations

import gzip
import os
from functools import cache
from importlib import resources

import numpy as np

from .dataset import ImageDataset
from .errors import DataError, existing_folder
from .idx import MNIST_FILES, find_mnist_file, read_labelled
from .resize import resize

DIGITS_TEST = 360
_SPLIT_SEED = 1797
_DIGITS_MAX = 16


def digits(size: int = 28) -> tuple[ImageDataset, ImageDataset]:
    """The embedded 1,797 handwritten digits, as (train of 1,437, test of 360).

    Each sample is an image float32 [1, size, size] of 0..1 (ink is bright, as in MNIST) and its label int64.
    The split is a fixed random one that keeps the ten classes in proportion. `size` other than 8 resizes bilinearly.

    Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
    CC BY 4.0 (data/embedded/README.md).
    """
    with resources.as_file(resources.files(__package__) / "embedded") as folder:
        pixels, labels = read_labelled(
            folder / "digits-images-idx3-ubyte.gz", folder / "digits-labels-idx1-ubyte.gz", classes=10
        )
    values = resize(pixels.astype(np.float32) * (255 / _DIGITS_MAX), size)
    images = np.rint(values).clip(0, 255).astype(np.uint8)[:, None]
    test = _stratified(labels, DIGITS_TEST)
    targets = labels.astype(np.int64)
    return ImageDataset(images[~test], targets[~test]), ImageDataset(images[test], targets[test])


def _stratified(labels: np.ndarray, count: int) -> np.ndarray:
    """A fixed random mask [n] of `count` samples in which each class has its share, within one sample."""
    from .counter_random import split_order

    order = split_order(len(labels), _SPLIT_SEED)
    by_class = order[np.argsort(labels[order], kind="stable")]
    chosen = (np.arange(count) * len(labels)) // count  # evenly spaced ranks, so proportional in every class
    mask = np.zeros(len(labels), bool)
    mask[by_class[chosen]] = True
    return mask


@cache
def shakespeare() -> str:
    """The embedded plays: 1,035,979 ASCII characters, Hamlet first, The Tempest last (data/embedded/README.md)."""
    packed = (resources.files(__package__) / "embedded" / "shakespeare.txt.gz").read_bytes()
    return gzip.decompress(packed).decode("ascii")


def mnist(folder: str | os.PathLike[str]) -> tuple[ImageDataset, ImageDataset]:
    """MNIST, or a set in its format (Fashion-MNIST, KMNIST), from a folder of the four IDX files: (train, test).

    Each sample is an image float32 [1, h, w] of 0..1 and its label int64 of 0..9. The files may be gzipped and may lie
    in torchvision's MNIST/raw below `folder`. Raises DataError, which names the file and the byte, for a file that is
    missing, truncated, swapped with another or untrue about its sizes.
    """
    folder = existing_folder(folder)
    found = {key: find_mnist_file(folder, name) for key, name in MNIST_FILES.items()}
    missing = [MNIST_FILES[key] for key, path in found.items() if path is None]
    if missing:
        raise DataError(folder, f"MNIST needs {', '.join(missing)} (or the same with .gz) here")
    parts = []
    for part in ("train", "test"):
        x, y = read_labelled(found[part, "images"], found[part, "labels"], classes=10)  # type: ignore[arg-type]
        parts.append(ImageDataset(x[:, None], y.astype(np.int64)))
    train, test = parts
    if train.arrays[0].shape[1:] != test.arrays[0].shape[1:]:
        sizes = f"{train.arrays[0].shape[2:]} and {test.arrays[0].shape[2:]}"
        raise DataError(folder, f"train and test images differ in size: {sizes}")
    return train, test
