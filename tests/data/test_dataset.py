"""Datasets, splits and transforms of datasets."""

from itertools import chain

import numpy as np
import pytest

from littlecore.data import Dataset, ImageDataset, SampleRandom, Subset, TensorDataset, Transformed, random_split, stack


def rows(*indices):
    index = np.array(indices)
    return index, SampleRandom(0, 0, index)


@pytest.fixture
def dataset():
    return TensorDataset(np.arange(10.0)[:, None] * [1, 10], np.arange(10))


def test_tensor_dataset_gathers_rows(dataset):
    x, y = dataset.batch(*rows(3, 0))
    assert x.tolist() == [[3, 30], [0, 0]] and y.tolist() == [3, 0]
    assert len(dataset) == 10 and dataset[4][0].tolist() == [4, 40]


def test_tensor_dataset_takes_tensors():
    import littlecore as lc

    x, _ = TensorDataset(lc.tensor([[1.0], [2.0]]), np.arange(2)).batch(*rows(1))
    assert x.tolist() == [[2.0]]


def test_the_default_batch_stacks_samples():
    class Squares(Dataset):
        def __len__(self):
            return 5

        def __getitem__(self, index):
            return np.full(2, index), index**2

    x, y = Squares().batch(*rows(2, 4))
    assert x.tolist() == [[2, 2], [4, 4]] and y.tolist() == [4, 16] and y.dtype == np.int64


@pytest.mark.parametrize(
    ("arrays", "message"),
    [((), "at least one"), ((np.zeros(3), np.zeros(4)), "differ"), ((np.float64(3),), "zero-dimensional")],
)
def test_tensor_dataset_refuses(arrays, message):
    with pytest.raises(ValueError, match=message):
        TensorDataset(*[np.asarray(a) for a in arrays])


def test_stack_names_the_field():
    with pytest.raises(ValueError, match="field 1"):
        stack([(1, np.zeros(2)), (2, np.zeros(3))])


def test_random_split_is_disjoint_complete_and_fixed(dataset):
    a, b, c = random_split(dataset, [5, 3, 2], seed=4)
    labels = [part.batch(*rows(*range(len(part))))[1].tolist() for part in (a, b, c)]
    assert sorted(chain.from_iterable(labels)) == list(range(10))
    assert [len(part) for part in labels] == [5, 3, 2]
    again = random_split(dataset, [0.5, 0.3, 0.2], seed=4)
    assert [part.indices.tolist() for part in again] == [part.indices.tolist() for part in (a, b, c)]
    assert random_split(dataset, [5, 5], seed=5)[0].indices.tolist() != a.indices.tolist()


@pytest.mark.parametrize("lengths", [[5, 4], [11], [0.5, 0.6], [-1, 11]])
def test_random_split_refuses_wrong_lengths(dataset, lengths):
    with pytest.raises(ValueError, match="random_split"):
        random_split(dataset, lengths)


def test_subset_of_a_subset_and_its_bounds(dataset):
    inner = Subset(Subset(dataset, [7, 8, 9]), [2, 0])
    assert inner.batch(*rows(0, 1))[1].tolist() == [9, 7] and inner[1][1] == 7
    with pytest.raises(IndexError, match=r"\[0, 10\)"):
        Subset(dataset, [10])


def test_transformed_changes_the_first_field_in_order(dataset):
    plus_one_twice = Transformed(dataset, lambda x, random: x + 1, lambda x, random: x * 2)
    x, y = plus_one_twice.batch(*rows(1))
    assert x.tolist() == [[4, 22]] and y.tolist() == [1]
    assert plus_one_twice[1][0].tolist() == [4, 22] and plus_one_twice[-9][1] == 1


def test_image_dataset_gives_floats_of_bytes():
    dataset = ImageDataset(np.array([[[[0, 51]]], [[[102, 255]]]], np.uint8), np.array([3, 4]))
    x, y = dataset.batch(*rows(1, 0))
    assert x.dtype == np.float32 and x.ravel().tolist() == pytest.approx([0.4, 1, 0, 0.2]) and y.tolist() == [4, 3]
    np.testing.assert_array_equal(dataset[1][0], x[0])
