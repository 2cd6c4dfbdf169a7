"""Datasets: samples by index, and batches of them as NumPy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from .counter_random import SampleRandom, seed_from, split_order

if TYPE_CHECKING:
    from littlecore import Generator

Array = npt.NDArray[Any]
Batch = tuple[Array, ...]


class Dataset:
    """Samples by index. A subclass defines `__len__` and `__getitem__` (a tuple of arrays or numbers).

    One that can gather many samples at once, or that draws random numbers, defines `batch` too.
    """

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} defines no __len__")

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        raise NotImplementedError(f"{type(self).__name__} defines no __getitem__")

    def batch(self, indices: npt.NDArray[np.integer], random: SampleRandom) -> Batch:
        """The samples at `indices` [n], each field stacked to [n, ...]. `random` has one row per sample."""
        return stack([self[int(i)] for i in indices])


def stack(samples: Sequence[tuple[Any, ...]]) -> Batch:
    """Stack each field of equally shaped samples into one array [n, ...]; Python ints become int64."""
    fields = []
    for position, values in enumerate(zip(*samples, strict=True)):
        shapes = {np.shape(v) for v in values}
        if len(shapes) > 1:
            raise ValueError(f"stack: field {position} of the samples has different shapes {sorted(shapes)}")
        fields.append(np.stack([np.asarray(v) for v in values]))
    return tuple(fields)


class TensorDataset(Dataset):
    """Arrays (or littlecore tensors) that share their first size n: sample i is row i of each.

    Tensors are read through `numpy()` without a copy, so the loader can gather a batch in one pass.
    """

    def __init__(self, *tensors: Any) -> None:
        arrays = tuple(t if isinstance(t, np.ndarray) else np.asarray(t.numpy()) for t in tensors)
        if not arrays:
            raise ValueError("TensorDataset: at least one array is needed")
        if any(a.ndim == 0 for a in arrays):
            raise ValueError("TensorDataset: a zero-dimensional array has no samples")
        if len({len(a) for a in arrays}) > 1:
            raise ValueError(f"TensorDataset: first sizes differ: {[a.shape for a in arrays]}")
        self.arrays: Batch = arrays

    def __len__(self) -> int:
        return len(self.arrays[0])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return tuple(a[index] for a in self.arrays)

    def batch(self, indices: npt.NDArray[np.integer], random: SampleRandom) -> Batch:
        return tuple(a[indices] for a in self.arrays)


class ImageDataset(TensorDataset):
    """Images uint8 [n, c, h, w], kept as bytes and given as float32 of 0..1, and their labels int64 [n]."""

    def __init__(self, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> None:
        super().__init__(images, labels)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        image, label = super().__getitem__(index)
        return image * np.float32(1 / 255), label

    def batch(self, indices: npt.NDArray[np.integer], random: SampleRandom) -> Batch:
        images, labels = super().batch(indices, random)
        return images * np.float32(1 / 255), labels


class Subset(Dataset):
    """The samples of `dataset` at `indices`, renumbered from 0."""

    def __init__(self, dataset: Dataset, indices: Sequence[int] | npt.NDArray[np.integer]) -> None:
        self.dataset = dataset
        self.indices = np.asarray(indices, np.int64)
        if self.indices.size and not 0 <= self.indices.min() <= self.indices.max() < len(dataset):
            raise IndexError(f"Subset: indices must lie in [0, {len(dataset)})")

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.dataset[int(self.indices[index])]

    def batch(self, indices: npt.NDArray[np.integer], random: SampleRandom) -> Batch:
        return self.dataset.batch(self.indices[indices], random)


class Transform(Protocol):
    """A change of a batch of samples' first field, drawing what randomness it needs from `random`."""

    def __call__(self, images: Array, random: SampleRandom) -> Array: ...


class Transformed(Dataset):
    """`dataset` with `transforms` applied in order to the first field of every batch."""

    def __init__(self, dataset: Dataset, *transforms: Transform) -> None:
        self.dataset, self.transforms = dataset, transforms

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Sample `index` as epoch 0 of seed 0 shows it."""
        row = np.array([range(len(self))[index]])
        return tuple(field[0] for field in self.batch(row, SampleRandom(0, 0, row)))

    def batch(self, indices: npt.NDArray[np.integer], random: SampleRandom) -> Batch:
        first, *rest = self.dataset.batch(indices, random)
        for transform in self.transforms:
            first = transform(first, random)
        return first, *rest


def random_split(
    dataset: Dataset, lengths: Sequence[int | float], generator: Generator | None = None, *, seed: int = 0
) -> list[Subset]:
    """Cut `dataset` into disjoint random parts, the same ones for the same (length, seed).

    `lengths` are counts that sum to the dataset's length, or fractions that sum to 1 (the last part takes the rest).
    A `generator` draws the seed.
    """
    n = len(dataset)
    if lengths and all(isinstance(length, float) for length in lengths):
        if any(length < 0 for length in lengths) or abs(sum(lengths) - 1) > 1e-6:
            raise ValueError(f"random_split: fractions must be positive and sum to 1, got {list(lengths)}")
        counts = [int(n * length) for length in lengths[:-1]]
        counts.append(n - sum(counts))
    else:
        counts = [int(length) for length in lengths]
    if any(count < 0 for count in counts) or sum(counts) != n:
        raise ValueError(f"random_split: lengths {list(lengths)} do not add up to the dataset's {n} samples")
    order = split_order(n, seed_from(generator, seed))
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(counts)[:-1])]
