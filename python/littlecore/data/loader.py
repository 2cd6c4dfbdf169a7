"""Batches of a dataset as littlecore tensors, in an order that a seed and an epoch number fix."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .counter_random import SampleRandom, seed_from, shuffled
from .dataset import Dataset

if TYPE_CHECKING:
    from littlecore import Generator

CollateFn = Callable[[Sequence[tuple[Any, ...]]], Any]


def to_tensors(fields: tuple[npt.NDArray[Any], ...]) -> tuple[Any, ...]:
    """NumPy arrays as littlecore tensors that share their memory."""
    from littlecore import from_numpy

    return tuple(from_numpy(np.ascontiguousarray(field)) for field in fields)


class DataLoader:
    """Iterates a dataset in batches; each `iter()` is one epoch.

    A batch is the tuple of `dataset.batch`'s fields as tensors, or, with `collate_fn`, what that makes of the list of
    samples `dataset[i]`. The order depends on nothing but (len(dataset), seed, epoch); a `generator` stands for the
    seed that it draws when the loader is made. With `num_workers` threads the next `num_workers * prefetch_factor`
    batches are made while one is used, with the same content and order; an exception in a worker is raised in place of
    its batch.

    Epochs count from 0, one for every `iter()`. `state_dict()` after k batches, given to `load_state_dict()` of an
    equally made loader, makes its next `iter()` continue with batch k, bit for bit.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool = False,
        *,
        drop_last: bool = False,
        num_workers: int = 0,
        prefetch_factor: int = 2,
        collate_fn: CollateFn | None = None,
        seed: int = 0,
        generator: Generator | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"DataLoader: batch_size must be at least 1, got {batch_size}")
        if num_workers < 0 or prefetch_factor < 1:
            raise ValueError(
                f"DataLoader: num_workers {num_workers} must be at least 0, prefetch_factor {prefetch_factor} 1"
            )
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, batch_size, shuffle, drop_last
        self.num_workers, self.prefetch_factor = num_workers, prefetch_factor
        self.collate_fn, self.seed = collate_fn, seed_from(generator, seed)
        self._epoch, self._batches = 0, 0  # the epoch in progress or next, and how many of its batches were given
        self._started = False  # whether an iteration of this epoch has begun

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def set_epoch(self, epoch: int, batch: int = 0) -> None:
        """Make the next `iter()` give epoch `epoch` from its batch number `batch` on."""
        if epoch < 0 or not 0 <= batch <= len(self):
            raise ValueError(f"DataLoader: there is no batch {batch} of {len(self)} in epoch {epoch}")
        self._epoch, self._batches, self._started = epoch, batch, False

    def state_dict(self) -> dict[str, int]:
        """Where the loader stands: its seed, the epoch, how many of the epoch's batches were given, the sizes."""
        return {
            "seed": self.seed,
            "epoch": self._epoch,
            "batches": self._batches,
            "samples": len(self.dataset),
            "batch_size": self.batch_size,
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue where `state` was taken. ValueError where the order would not be the same one."""
        mine = self.state_dict()
        fixed = ("seed", "samples", "batch_size")
        differing = [f"{name} {state[name]} (here {mine[name]})" for name in fixed if state[name] != mine[name]]
        if differing:
            raise ValueError(f"DataLoader: the state is of a loader with {', '.join(differing)}")
        self.set_epoch(state["epoch"], state["batches"])

    def __iter__(self) -> Iterator[Any]:
        if self._started:  # an earlier iteration of this epoch was finished or given up
            self._epoch, self._batches = self._epoch + 1, 0
        self._started = True
        epoch = self._epoch
        # Not a generator itself, so that two loops over one loader get two epochs in the order of their `iter()`.
        return self._iterate(epoch, self._batches)

    def _iterate(self, epoch: int, first: int) -> Iterator[Any]:
        n = len(self.dataset)
        order = shuffled(n, self.seed, epoch) if self.shuffle else np.arange(n)
        batches = [order[i * self.batch_size : (i + 1) * self.batch_size] for i in range(first, len(self))]
        for i, batch in enumerate(self._produce(batches, epoch)):
            if self._epoch == epoch:
                self._batches = first + i + 1
            yield batch

    def _make(self, indices: npt.NDArray[np.int64], epoch: int) -> Any:
        if self.collate_fn is not None:
            return self.collate_fn([self.dataset[int(i)] for i in indices])
        return to_tensors(self.dataset.batch(indices, SampleRandom(self.seed, epoch, indices)))

    def _produce(self, batches: list[npt.NDArray[np.int64]], epoch: int) -> Iterator[Any]:
        if self.num_workers == 0:
            for indices in batches:
                yield self._make(indices, epoch)
            return
        workers = ThreadPoolExecutor(self.num_workers, thread_name_prefix="littlecore-loader")
        pending: deque[Future[Any]] = deque()
        try:
            for indices in batches:
                pending.append(workers.submit(self._make, indices, epoch))
                if len(pending) > self.num_workers * self.prefetch_factor:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # also when the loop is left early: unstarted batches are dropped, running ones finish unseen
            workers.shutdown(wait=False, cancel_futures=True)
