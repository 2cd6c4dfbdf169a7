"""Generated scenes: masks, boxes and captions say what the images show."""

import numpy as np
import pytest

from littlecore import data
from littlecore.data.scenes import COLOURS, PAIRS, SHAPES


def test_masks_boxes_and_objects_agree():
    found = data.scenes(60, 40, objects=(0, 4))
    assert found.images.shape == (60, 3, 40, 40) and found.images.dtype == np.float32
    assert found.images.min() >= 0 and found.images.max() <= 1
    counts = (found.shapes >= 0).sum(1)
    assert set(counts) == {0, 1, 2, 3, 4}
    for mask, shapes, boxes in zip(found.masks, found.shapes, found.boxes, strict=True):
        outside = mask.copy()
        for shape, box in zip(shapes, boxes.astype(int), strict=True):
            left, top, right, bottom = box
            if shape < 0:
                assert not box.any()
                continue
            inside = mask[top:bottom, left:right] == 1 + shape
            assert inside.any(0).all() and inside.any(1).all()  # the box is tight
            outside[top:bottom, left:right][inside] = 0
        assert not outside.any()  # and every pixel of an object lies in one


def test_shapes_are_told_apart_by_how_they_fill_their_boxes():
    found = data.scenes(200, 64, objects=(1, 1), radius=(0.3, 0.3))
    filled = []
    for k in range(len(SHAPES)):
        rows = found.shapes[:, 0] == k
        left, top, right, bottom = found.boxes[rows, 0].T
        filled.append(((found.masks[rows] > 0).sum((1, 2)) / ((right - left) * (bottom - top))).mean())
    disc, square, triangle, star = filled
    assert abs(disc - np.pi / 4) < 0.02 and square > 0.6 > triangle > star > 0.25


def test_objects_have_the_colour_that_is_said():
    found = data.scenes(300, 32, objects=(1, 1), radius=(0.3, 0.3), grain=0.0)
    inside = found.masks > 0
    seen = np.array([image[:, mask].mean(1) for image, mask in zip(found.images, inside, strict=True)])
    means = np.array([seen[found.colours[:, 0] == k].mean(0) for k in range(len(COLOURS))])
    nearest = np.square(seen[:, None] - means).sum(-1).argmin(1)
    np.testing.assert_array_equal(nearest, found.colours[:, 0])


def test_a_scene_depends_on_its_seed_and_number_alone():
    many, few, other = data.scenes(9, 24), data.scenes(4, 24), data.scenes(4, 24, seed=1)
    for field in ("images", "masks", "shapes", "colours", "boxes"):
        np.testing.assert_array_equal(getattr(many, field)[:4], getattr(few, field))
    assert not np.array_equal(few.images, other.images)


def test_only_the_pairs_asked_for():
    pairs = (("red", "disc"), ("blue", "star"))
    found = data.scenes(50, 24, pairs=pairs)
    there = found.shapes >= 0
    seen = {(COLOURS[c], SHAPES[s]) for c, s in zip(found.colours[there], found.shapes[there], strict=True)}
    assert seen == set(pairs) and len(PAIRS) == 24


def test_captions_go_from_left_to_right():
    found = data.scenes(40, 48, objects=(2, 2))
    for k in range(len(found)):
        if (found.shapes[k] < 0).any():
            continue
        order = np.argsort(found.boxes[k, :, 0] + found.boxes[k, :, 2])
        first, second = (f"a {COLOURS[found.colours[k, i]]} {SHAPES[found.shapes[k, i]]}" for i in order)
        assert found.caption(k) == f"{first} left of {second}"
    assert data.scenes(1, 16, objects=(0, 1), seed=3).caption(0) in ("", *(f"a {c} {s}" for c, s in PAIRS))


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"objects must be .* got \(3, 2\)"):
        data.scenes(1, objects=(3, 2))
    with pytest.raises(ValueError, match=r"got \('red', 'cube'\)"):
        data.scenes(1, pairs=[("red", "cube")])
    with pytest.raises(ValueError, match="no pair at all"):
        data.scenes(1, pairs=[])
