"""The IDX reader believes nothing: every truncation, lie and swap is refused with the file and the byte."""

import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest

from littlecore.data import DataError, mnist, read_idx, read_labelled, write_idx
from littlecore.data.idx import MNIST_FILES

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
IMAGES = (np.arange(5 * 4 * 3) * 7 % 256).astype(np.uint8).reshape(5, 4, 3)
LABELS = np.array([3, 1, 4, 1, 5], np.uint8)


def idx_bytes(values):
    """An IDX file by the format's own words, independently of write_idx."""
    kind = values.dtype.str[1:]
    header = bytes([0, 0, CODES[kind], values.ndim]) + b"".join(struct.pack(">I", size) for size in values.shape)
    return header + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_round_trip(tmp_path, kind, ending):
    values = (np.arange(24) * 5 - (0 if kind == "u1" else 60)).astype(kind).reshape(2, 3, 4)
    by_hand, ours = tmp_path / f"hand{ending}", tmp_path / f"ours{ending}"
    content = idx_bytes(values)
    by_hand.write_bytes(gzip.compress(content) if ending else content)
    write_idx(ours, values)
    for path in (by_hand, ours):
        got = read_idx(path)
        assert got.dtype == np.dtype(kind) and got.dtype.isnative
        np.testing.assert_array_equal(got, values)


def test_gzip_is_recognised_by_content_and_may_have_members_and_padding(tmp_path):
    path = tmp_path / "no-ending"
    content = idx_bytes(IMAGES)
    path.write_bytes(gzip.compress(content[:10]) + gzip.compress(content[10:]) + b"\0" * 7)
    np.testing.assert_array_equal(read_idx(path), IMAGES)


def test_gzip_larger_than_a_piece(tmp_path):
    values = np.zeros((3, 1000, 1000), np.uint8)  # compresses so well that the stream outlives its input
    values[1, 2, 3] = 9
    write_idx(tmp_path / "x.gz", values)
    np.testing.assert_array_equal(read_idx(tmp_path / "x.gz"), values)


def test_every_truncation_of_a_plain_file_names_its_end(tmp_path):
    content, path = idx_bytes(IMAGES), tmp_path / "x"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=f"{path}: byte {length}: ") as caught:
            read_idx(path)
        assert caught.value.offset == length and caught.value.path == str(path)


def test_every_truncation_and_every_flipped_byte_of_a_gzip_is_refused(tmp_path):
    content, path = gzip.compress(idx_bytes(IMAGES), mtime=0), tmp_path / "x.gz"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=str(path)):
            read_idx(path)
    survivors = []
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x55]) + content[position + 1 :])
        try:
            np.testing.assert_array_equal(read_idx(path), IMAGES)
            survivors.append(position)
        except DataError as error:
            assert str(path) in str(error)
    assert set(survivors) <= {4, 5, 6, 7, 8, 9}  # the gzip header's time and system fields carry no data


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(2**32 - 1, 28, 28), (2**32 - 1,) * 3, (6, 4, 3), (2**31, 1, 1)])
def test_a_header_that_lies_allocates_nothing(tmp_path, shape, compressed):
    content = struct.pack(">I3I", 0x803, *shape) + IMAGES.tobytes()
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(content) if compressed else content)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"byte \d+: .*claims"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20  # two pieces, whatever the header says
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "offset", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"x" * 50, 0, "not an IDX file"),
        (b"\0\0\x0a\x01\0\0\0\x01x", 2, "type code 0x0a"),
        (b"\0\0\x08\x00x", 3, "rank 0"),
        (b"\0\0\x08\xffx", 3, "rank 255"),
        (idx_bytes(LABELS) + b"x", 13, "goes on"),
        (struct.pack(">I3I", 0x803, 0, 2**32 - 1, 2**32 - 1), 4, "impossible sizes"),
    ],
)
def test_what_is_not_idx_is_refused_at_its_byte(tmp_path, content, offset, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert caught.value.offset == offset


def test_write_idx_refuses_other_types(tmp_path):
    with pytest.raises(TypeError, match="int64"):
        write_idx(tmp_path / "x", np.arange(3))


def pair(tmp_path, images, labels):
    write_idx(tmp_path / "images", images)
    write_idx(tmp_path / "labels", labels)
    return tmp_path / "images", tmp_path / "labels"


def test_a_pair_is_read(tmp_path):
    x, y = read_labelled(*pair(tmp_path, IMAGES, LABELS), classes=10)
    np.testing.assert_array_equal(x, IMAGES)
    np.testing.assert_array_equal(y, LABELS)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (LABELS, IMAGES, "images: byte 2: .*swapped"),
        (IMAGES.astype(np.float32), LABELS, "images: byte 2: holds float32"),
        (IMAGES, IMAGES, "labels: byte 2: holds uint8 values of rank 3"),
        (IMAGES, LABELS[:4], "labels: byte 4: counts 4 labels for the 5 images"),
        (IMAGES[:0], LABELS[:0], "images: byte 4: holds no pixels"),
        (IMAGES, np.array([0, 1, 10, 2, 99], np.uint8), "labels: byte 10: label 10 "),
    ],
)
def test_a_wrong_pair_is_refused(tmp_path, images, labels, message):
    with pytest.raises(DataError, match=message):
        read_labelled(*pair(tmp_path, images, labels), classes=10)


@pytest.mark.parametrize("place", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize(("dot", "ending"), [("-", ""), ("-", ".gz"), (".", ".gz")])
def test_mnist_finds_the_four_files(tmp_path, place, dot, ending):
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for (part, what), name in MNIST_FILES.items():
        values = (IMAGES if what == "images" else LABELS)[: 5 if part == "train" else 2]
        write_idx(folder / (name.replace("-idx", f"{dot}idx") + ending), values)
    train, test = mnist(tmp_path)
    assert train.arrays[0].shape == (5, 1, 4, 3) and test.arrays[0].shape == (2, 1, 4, 3)
    assert train.arrays[1].tolist() == LABELS.tolist() and train.arrays[1].dtype == np.int64


def test_mnist_names_what_is_missing_or_differs(tmp_path):
    with pytest.raises(DataError, match="no such folder"):
        mnist(tmp_path / "nowhere")
    write_idx(tmp_path / MNIST_FILES["train", "images"], IMAGES)
    write_idx(tmp_path / MNIST_FILES["train", "labels"], LABELS)
    with pytest.raises(DataError, match="t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte"):
        mnist(tmp_path)
    write_idx(tmp_path / MNIST_FILES["test", "images"], IMAGES[:, :2])
    write_idx(tmp_path / MNIST_FILES["test", "labels"], LABELS)
    with pytest.raises(DataError, match="differ in size"):
        mnist(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device files")
def test_a_device_is_not_read_for_ever():
    with pytest.raises(DataError, match="byte"):
        read_idx("/dev/zero")
