"""Augmentations: what each does to pixels, and that a sample's depends on (seed, epoch, index) alone."""

import numpy as np
import pytest

from littlecore.data import (
    ColorJitter,
    Cutout,
    Normalize,
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomShift,
    SampleRandom,
    ToFloat,
)
from littlecore.data.transforms import sample_bilinear

IMAGES = np.random.default_rng(0).integers(1, 256, (64, 3, 12, 10)).astype(np.uint8)
EACH = [
    RandomCrop(2),
    RandomCrop(0, size=7),
    RandomShift(3),
    RandomHorizontalFlip(),
    Cutout(5),
    RandomAffine(20, 0.1, (0.8, 1.2), 10),
    ColorJitter(0.3, 0.4),
    Normalize([0.1, 0.2, 0.3], [1, 2, 3]),
    ToFloat(),
]
NAMES = [type(t).__name__ for t in EACH]


def apply(transform, images=IMAGES, seed=1, epoch=2, indices=None):
    indices = np.arange(len(images)) if indices is None else np.asarray(indices)
    return transform(images, SampleRandom(seed, epoch, indices))


@pytest.mark.parametrize("transform", EACH, ids=NAMES)
def test_a_sample_does_not_depend_on_its_batch(transform):
    before = IMAGES.copy()
    whole = apply(transform)
    part = apply(transform, IMAGES[[40, 3]], indices=[40, 3])
    np.testing.assert_array_equal(part, whole[[40, 3]])
    np.testing.assert_array_equal(IMAGES, before)  # the dataset's own images are not written to


@pytest.mark.parametrize("transform", EACH[:7], ids=NAMES[:7])
def test_seed_and_epoch_matter(transform):
    whole = apply(transform)
    assert not np.array_equal(whole, apply(transform, seed=2)) and not np.array_equal(whole, apply(transform, epoch=3))


@pytest.mark.parametrize("transform", EACH, ids=NAMES)
def test_images_must_have_four_dimensions(transform):
    if isinstance(transform, ToFloat):
        return
    with pytest.raises(ValueError, match=r"\[n, c, h, w\]"):
        apply(transform, IMAGES[0], indices=[0, 1, 2])


def test_a_crop_is_a_window_of_the_padded_image():
    padded = np.pad(IMAGES, ((0, 0), (0, 0), (2, 2), (2, 2)))
    seen = set()
    for image, whole in zip(apply(RandomCrop(2)), padded, strict=True):
        places = [(r, c) for r in range(5) for c in range(5) if np.array_equal(whole[:, r : r + 12, c : c + 10], image)]
        assert len(places) == 1
        seen.update(places)
    assert len(seen) > 20  # of 25
    with pytest.raises(ValueError, match="13x13 does not fit 12x10"):
        apply(RandomCrop(0, size=13))


def test_flip_mirrors_about_half():
    out = apply(RandomHorizontalFlip())
    flipped = (out == IMAGES[..., ::-1]).all((1, 2, 3))
    kept = (out == IMAGES).all((1, 2, 3))
    assert (flipped ^ kept).all() and 20 < flipped.sum() < 44
    np.testing.assert_array_equal(apply(RandomHorizontalFlip(1.0)), IMAGES[..., ::-1])
    np.testing.assert_array_equal(apply(RandomHorizontalFlip(0.0)), IMAGES)


def test_cutout_zeroes_one_square():
    out = apply(Cutout(5))
    sizes = set()
    for image, whole in zip(out, IMAGES, strict=True):
        hole = image[0] == 0  # the images hold no zero
        rows, cols = np.nonzero(hole.any(1))[0], np.nonzero(hole.any(0))[0]
        assert hole[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all()
        assert (image == 0).all(0).sum() == hole.sum()
        np.testing.assert_array_equal(image[:, ~hole], whole[:, ~hole])
        sizes.add(hole.shape and (len(rows), len(cols)))
    assert max(sizes) == (5, 5) and min(sizes) < (5, 5)  # whole inside, cut at the border


def test_normalize_and_to_float():
    x = apply(Normalize([0.5, 0.25, 0], [0.5, 1, 2]))
    assert x.dtype == np.float32
    expected = (IMAGES / 255 - np.array([0.5, 0.25, 0])[:, None, None]) / np.array([0.5, 1, 2])[:, None, None]
    np.testing.assert_allclose(x, expected, atol=1e-6)
    np.testing.assert_allclose(apply(ToFloat()), IMAGES / 255, rtol=1e-6)
    floats = IMAGES.astype(np.float32)
    np.testing.assert_array_equal(apply(ToFloat(), floats), floats)  # floats are taken as they are
    with pytest.raises(ValueError, match="std must be positive"):
        Normalize(0.5, [1, 0])


def test_colour_jitter_is_two_factors():
    np.testing.assert_array_equal(apply(ColorJitter()), IMAGES)
    image = np.arange(24, dtype=np.uint8).reshape(1, 1, 4, 6) + 100
    darker = np.rint(image * 0.75)
    flatter = np.rint(111.5 + 0.5 * (image - 111.5))
    np.testing.assert_array_equal(ColorJitter(0.25)(image, Fixed(-1, 0)), darker)
    np.testing.assert_array_equal(ColorJitter(0, 0.5)(image, Fixed(0, -1)), flatter)
    floats = image / np.float32(123)
    bright = ColorJitter(0.5, 1)(floats, Fixed(1, 0))
    np.testing.assert_allclose(bright, np.minimum(floats * 1.5, 1), rtol=1e-6)
    assert bright.dtype == np.float32 and ColorJitter(1)(floats, Fixed(-1, 0)).max() == 0


def test_affine_without_a_change_is_the_identity():
    np.testing.assert_array_equal(apply(RandomAffine()), IMAGES)


class Fixed(SampleRandom):
    """Gives chosen numbers in [-1, 1]; to the affine map angle, shear, scale, dx, dy."""

    def __init__(self, *values):
        super().__init__(0, 0, np.arange(1))
        self.values = values

    def uniform(self, low=0.0, high=1.0, *shape):
        return np.array([self.values])


def test_affine_turns_shifts_and_scales_the_right_way():
    image = np.zeros((1, 1, 9, 9), np.float32)
    image[0, 0, 4, 7] = 1  # three pixels right of the centre
    turned = RandomAffine(degrees=90)(image, Fixed(1, 0, 0, 0, 0))
    assert np.argwhere(turned[0, 0] > 0.99).tolist() == [[7, 4]]  # a quarter turn brings it below the centre
    shifted = RandomAffine(translate=1 / 9)(image, Fixed(0, 0, 0, -1, 1))
    assert np.argwhere(shifted[0, 0] > 0.99).tolist() == [[5, 6]]
    image[0, 0, 4, 7], image[0, 0, 4, 6] = 0, 1
    grown = RandomAffine(scale=(1, 2))(image, Fixed(0, 0, 1, 0, 0))
    assert np.argwhere(grown[0, 0] > 0.99).tolist() == [[4, 8]]  # two pixels from the centre become four
    sheared = RandomAffine(shear=45)(np.roll(image, 2, 2), Fixed(0, 1, 0, 0, 0))
    assert np.argwhere(sheared[0, 0] > 0.99).tolist() == [[6, 8]]  # two rows below the centre move two to the right


def test_bilinear_sampling_is_the_formula():
    rng = np.random.default_rng(1)
    image = rng.random((2, 2, 5, 6), np.float32)
    x, y = rng.uniform(-3, 9, (2, 4, 7)), rng.uniform(-3, 8, (2, 4, 7))
    out = sample_bilinear(image, x, y)

    def pixel(n, c, r, q):
        return float(image[n, c, r, q]) if 0 <= r < 5 and 0 <= q < 6 else 0.0

    for n, c, i, j in np.ndindex(out.shape):
        left, top = int(np.floor(x[n, i, j])), int(np.floor(y[n, i, j]))
        fx, fy = x[n, i, j] - left, y[n, i, j] - top
        expected = (1 - fy) * ((1 - fx) * pixel(n, c, top, left) + fx * pixel(n, c, top, left + 1))
        expected += fy * ((1 - fx) * pixel(n, c, top + 1, left) + fx * pixel(n, c, top + 1, left + 1))
        assert abs(out[n, c, i, j] - expected) < 1e-5


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomCrop(-1),
        lambda: Cutout(0),
        lambda: ColorJitter(-0.1),
        lambda: ColorJitter(0, 2),
        lambda: RandomAffine(scale=(0, 1)),
        lambda: RandomAffine(scale=(2, 1)),
    ],
)
def test_impossible_arguments_are_refused(make):
    with pytest.raises(ValueError, match=r"must|positive"):
        make()
