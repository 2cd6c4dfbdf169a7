"""The data inside the wheel is the real data, and MNIST is read right where it is at hand."""

import os
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from littlecore import data

EMBEDDED = resources.files("littlecore.data") / "embedded"
MNIST = Path(os.environ.get("LITTLECORE_MNIST") or Path(__file__).parents[3] / "shared" / "data" / "mnist")


def test_the_wheel_stays_small():
    assert sum(len(entry.read_bytes()) for entry in EMBEDDED.iterdir()) < 1_000_000


def test_digits_split_and_range():
    train, test = data.digits()
    (x, y), (tx, ty) = train.arrays, test.arrays
    assert x.shape == (1437, 1, 28, 28) and tx.shape == (360, 1, 28, 28)
    assert x.dtype == np.uint8 and y.dtype == np.int64 and x.max() == 255 and x.min() == 0
    share = np.bincount(ty) / np.bincount(np.concatenate([y, ty]))
    assert (np.abs(share - 0.2) < 0.006).all()  # every class gives a fifth, to one sample
    assert len(np.unique(np.concatenate([x, tx]).reshape(1797, -1), axis=0)) == 1797  # no image in both parts


def test_digits_are_sklearns():
    sklearn_data = pytest.importorskip("sklearn.datasets")
    truth = sklearn_data.load_digits()
    train, test = data.digits(size=8)
    ours = np.concatenate([train.arrays[0], test.arrays[0]]).reshape(1797, 64)
    labels = np.concatenate([train.arrays[1], test.arrays[1]])
    theirs = np.rint(truth.images.reshape(1797, 64) * 255 / 16)
    order, their_order = np.lexsort(ours.T), np.lexsort(theirs.T)
    np.testing.assert_array_equal(ours[order], theirs[their_order])
    np.testing.assert_array_equal(labels[order], truth.target[their_order])


def test_shakespeare_is_the_eight_plays():
    text = data.shakespeare()
    assert len(text) == 1_035_979 and text.isascii() and text.count("by William Shakespeare") == 8
    for line in ("To be, or not to be", "Tomorrow, and tomorrow", "We are such stuff", "wherefore art thou Romeo"):
        assert line in text or line.replace("Tomorrow", "To-morrow").replace("tomorrow", "to-morrow") in text


def test_resize_keeps_constants_and_is_bilinear_upwards():
    ramp = np.arange(4, dtype=np.float32)[None, :].repeat(4, 0)
    doubled = data.resize(ramp, 8)
    np.testing.assert_allclose(doubled[3], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], rtol=1e-6)
    for size in (1, 3, 5, 9):
        np.testing.assert_allclose(data.resize(np.full((2, 6, 7), 3.5, np.float32), size), 3.5, rtol=1e-6)
    assert data.resize(ramp, 4) is ramp
    with pytest.raises(ValueError, match="0x4"):
        data.resize(ramp[:0], 4)


def test_resize_is_pillows_bilinear():
    image_module = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).random((11, 17), np.float32)
    for height, width in ((28, 28), (5, 6), (11, 30)):
        theirs = image_module.fromarray(pixels).resize((width, height), image_module.Resampling.BILINEAR)
        np.testing.assert_allclose(data.resize(pixels, height, width), np.asarray(theirs), atol=2e-6)


@pytest.mark.skipif(not MNIST.is_dir(), reason="no MNIST folder (LITTLECORE_MNIST)")
def test_mnist_is_mnist():
    train, test = data.mnist(MNIST)
    assert train.arrays[0].shape == (60_000, 1, 28, 28) and test.arrays[0].shape == (10_000, 1, 28, 28)
    assert np.bincount(train.arrays[1]).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    mean, std = (train.arrays[0] / 255).mean(), (train.arrays[0] / 255).std()
    np.testing.assert_allclose([mean, std], [0.1307, 0.3081], atol=5e-5)
