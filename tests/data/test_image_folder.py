"""Image files and folders of them."""

import sys

import numpy as np
import pytest

from littlecore.data import DataError, ImageFolder, SampleRandom, read_image

image_module = pytest.importorskip("PIL.Image")
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3)).astype(np.uint8)


@pytest.fixture
def root(tmp_path):
    for name, count in (("cat", 2), ("dog", 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            image_module.fromarray(PIXELS // (i + 1)).save(tmp_path / name / f"{i}.png")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    return tmp_path


def test_samples_and_classes(root):
    folder = ImageFolder(root)
    assert folder.classes == ["cat", "dog"] and len(folder) == 3
    image, label = folder[2]
    assert label == 1 and image.dtype == np.float32
    np.testing.assert_allclose(image, PIXELS.transpose(2, 0, 1) / 255, rtol=1e-6)
    np.testing.assert_array_equal(read_image(root / "dog" / "0.png"), PIXELS.transpose(2, 0, 1))
    x, y = folder.batch(np.array([0, 2]), SampleRandom(0, 0, np.array([0, 2])))
    assert x.shape == (2, 3, 6, 8) and y.tolist() == [0, 1]


def test_grey_and_resized(root):
    grey = read_image(root / "dog" / "0.png", channels=1, size=5)
    assert grey.shape == (1, 5, 5)
    assert abs(grey.mean() - (PIXELS @ [0.299, 0.587, 0.114]).mean()) < 4
    assert ImageFolder(root, channels=1, size=4)[0][0].shape == (1, 4, 4)


def test_broken_and_missing_files_are_named(root):
    content = (root / "dog" / "0.png").read_bytes()
    broken = root / "dog" / "1.png"
    for damaged in (b"", b"not a png", content[:40], content[: len(content) // 2]):
        broken.write_bytes(damaged)
        with pytest.raises(DataError, match=r"1\.png: not a readable image"):
            ImageFolder(root)[3]
    with pytest.raises(FileNotFoundError, match="nothing"):
        read_image(root / "nothing.png")
    with pytest.raises(ValueError, match="channels"):
        read_image(root / "dog" / "0.png", channels=4)


def test_folders_without_images_are_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        ImageFolder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no class folders"):
        ImageFolder(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no image files"):
        ImageFolder(tmp_path)


def test_without_pillow_the_error_names_the_extra(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "littlecore\[vision\]"'):
        read_image(root / "dog" / "0.png")
