"""CIFAR's binary files."""

import numpy as np
import pytest

from littlecore.data import DataError, cifar, read_cifar

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (6, 3, 32, 32)).astype(np.uint8)


def record(labels, pixels):
    return bytes(labels) + pixels.tobytes()


def test_both_kinds(tmp_path):
    for k in range(1, 6):
        (tmp_path / f"data_batch_{k}.bin").write_bytes(record([k], PIXELS[k]) + record([9], PIXELS[0]))
    (tmp_path / "test_batch.bin").write_bytes(record([7], PIXELS[3]))
    train, test = cifar(tmp_path)
    assert (len(train), len(test)) == (10, 1)
    image, label = train[2]
    assert label == 2 and image.dtype == np.float32
    np.testing.assert_allclose(image, PIXELS[2] / 255, rtol=1e-6)
    (tmp_path / "train.bin").write_bytes(record([19, 99], PIXELS[4]))
    (tmp_path / "test.bin").write_bytes(record([0, 1], PIXELS[5]))
    train, test = cifar(tmp_path, 100)
    assert train[0][1] == 99 and test[0][1] == 1
    np.testing.assert_array_equal(read_cifar(tmp_path / "test.bin", 100)[0], PIXELS[5:])


def test_truncated_and_lying_files(tmp_path):
    path, content = tmp_path / "x.bin", record([1], PIXELS[0]) + record([2], PIXELS[1])
    for length in (0, 1, 3072, 3074, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=rf"byte {length // 3073 * 3073}: {length} bytes are no whole number"):
            read_cifar(path)
    path.write_bytes(content[:3073] + b"\x0a" + content[3074:])
    with pytest.raises(DataError, match="byte 3073: label 10 is not one of 0 to 9"):
        read_cifar(path)
    path.write_bytes(record([20, 1], PIXELS[0]))
    with pytest.raises(DataError, match="byte 0: coarse label 20 is not one of 0 to 19"):
        read_cifar(path, 100)
    with pytest.raises(DataError, match=r"CIFAR-10 needs data_batch_1\.bin"):
        cifar(tmp_path)
    with pytest.raises(ValueError, match="classes must be 10 or 100, got 20"):
        read_cifar(path, 20)
