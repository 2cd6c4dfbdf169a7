"""The loader's order, workers, errors and resume."""

import gc
import threading
import time
from itertools import chain

import numpy as np
import pytest

import littlecore as lc
from littlecore.data import DataLoader, Dataset, RandomShift, TensorDataset, Transformed

DATASET = TensorDataset(np.arange(23, dtype=np.float32)[:, None], np.arange(23))


def labels(loader):
    return [y.tolist() for _, y in loader]


def test_batches_are_tensors_in_order():
    batches = list(DataLoader(DATASET, 10))
    assert [tuple(x.shape) for x, _ in batches] == [(10, 1), (10, 1), (3, 1)]
    x, y = batches[2]
    assert isinstance(x, lc.Tensor) and x.dtype == lc.float32 and y.dtype == lc.int64
    assert y.tolist() == [20, 21, 22] and x.numpy().ravel().tolist() == [20, 21, 22]


@pytest.mark.parametrize(
    ("batch_size", "drop_last", "count"), [(10, False, 3), (10, True, 2), (23, True, 1), (50, False, 1), (50, True, 0)]
)
def test_length_and_drop_last(batch_size, drop_last, count):
    loader = DataLoader(DATASET, batch_size, drop_last=drop_last)
    assert len(loader) == count == len(labels(loader))


def test_shuffle_covers_all_and_depends_on_seed_and_epoch_alone():
    loader = DataLoader(DATASET, 5, True, seed=9)
    first, second = labels(loader), labels(loader)
    assert sorted(chain.from_iterable(first)) == list(range(23)) and first != second
    again = DataLoader(DATASET, 5, True, seed=9)
    np.random.seed(0)
    lc.manual_seed(77)  # no global generator has a say
    assert labels(again) == first
    again.set_epoch(1)
    assert labels(again) == second
    assert labels(DataLoader(DATASET, 5, True, seed=10)) != first
    coarse = DataLoader(DATASET, 23, True, seed=9)
    assert labels(coarse)[0] == list(chain.from_iterable(first))  # nor the batch size


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_workers_change_nothing(workers):
    images = np.random.default_rng(0).integers(0, 256, (50, 1, 6, 6)).astype(np.uint8)
    dataset = Transformed(TensorDataset(images, np.arange(50)), RandomShift(2))

    def run(**options):
        loader = DataLoader(dataset, 7, True, seed=3, **options)
        return [(x.numpy().tobytes(), y.tolist()) for _ in range(2) for x, y in loader]

    assert run(num_workers=workers, prefetch_factor=3) == run()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("given", range(7))
def test_resume_continues_with_the_next_batch(workers, given):
    def make():
        return DataLoader(DATASET, 4, True, seed=1, num_workers=workers)

    whole = make()
    expected = labels(whole) + labels(whole)
    interrupted = make()
    iterator = iter(interrupted)
    got = [next(iterator)[1].tolist() for _ in range(given)]
    state = interrupted.state_dict()
    resumed = make()
    resumed.load_state_dict(state)
    got += labels(resumed) + labels(resumed)
    assert got == expected
    assert state == {"seed": 1, "epoch": 0, "batches": given, "samples": 23, "batch_size": 4}


def test_state_of_another_loader_is_refused():
    state = DataLoader(DATASET, 4, True, seed=1).state_dict()
    with pytest.raises(ValueError, match=r"seed 1 \(here 2\), batch_size 4 \(here 5\)"):
        DataLoader(DATASET, 5, True, seed=2).load_state_dict(state)
    with pytest.raises(ValueError, match="no batch 7 of 6"):
        DataLoader(DATASET, 4).set_epoch(0, 7)


def test_a_loop_left_early_starts_the_next_epoch():
    loader = DataLoader(DATASET, 5, True, seed=2)
    expected = [labels(DataLoader(DATASET, 5, True, seed=2))]
    reference = DataLoader(DATASET, 5, True, seed=2)
    reference.set_epoch(1)
    expected.append(labels(reference))
    for _, y in loader:
        assert y.tolist() == expected[0][0]
        break
    assert labels(loader) == expected[1]


class Failing(Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index == 6:
            raise OSError("sample 6 is broken")
        return (index,)


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_arrives_in_place_of_its_batch(workers):
    iterator = iter(DataLoader(Failing(), 2, num_workers=workers))
    assert [next(iterator)[0].tolist() for _ in range(3)] == [[0, 1], [2, 3], [4, 5]]
    with pytest.raises(OSError, match="sample 6"):
        next(iterator)


def test_workers_end_with_the_loop():
    class Slow(Failing):
        def __getitem__(self, index):
            time.sleep(0.001)
            return (index,)

    before = threading.active_count()
    for _ in DataLoader(Slow(), 1, num_workers=3):
        break
    gc.collect()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= before


def test_collate_fn_gets_the_samples():
    loader = DataLoader(DATASET, 2, collate_fn=lambda samples: [int(y) for _, y in samples])
    assert next(iter(loader)) == [0, 1]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"num_workers": -1}, {"prefetch_factor": 0}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="at least"):
        DataLoader(DATASET, **options)
