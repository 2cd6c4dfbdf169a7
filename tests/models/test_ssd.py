"""The detector's boxes: overlap, offsets, matching, suppression, against plain Python."""

import check
import numpy as np
import pytest

import littlecore as lc
from littlecore import models
from littlecore.models.ssd import decode, encode, iou


def boxes(count, seed):
    random = np.random.default_rng(seed)
    low = random.uniform(0, 40, (count, 2))
    return np.hstack([low, low + random.uniform(2, 20, (count, 2))]).astype(np.float32)


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(0.0, width) * max(0.0, height)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def test_iou():
    a, b = boxes(7, 0), boxes(5, 1)
    expected = [[overlap(x, y) for y in b.astype(float)] for x in a.astype(float)]
    np.testing.assert_allclose(iou(lc.from_numpy(a), lc.from_numpy(b)).numpy(), expected, atol=1e-6)
    same = iou(lc.from_numpy(a), lc.from_numpy(a)).numpy()
    np.testing.assert_allclose(np.diag(same), 1, rtol=1e-6)


def test_offsets_lead_back_to_the_box():
    defaults, wanted = lc.from_numpy(boxes(20, 2)), lc.from_numpy(boxes(20, 3))
    np.testing.assert_allclose(decode(encode(wanted, defaults), defaults).numpy(), wanted.numpy(), rtol=1e-5, atol=1e-4)
    check.same_bits(encode(defaults, defaults), lc.zeros(20, 4))


def test_default_boxes_lie_around_their_cells():
    model = models.ssd(image_size=48, classes=3, sides=(10, 26))
    assert model.counts == [36, 9] and tuple(model.defaults.shape) == (45, 4)
    assert model.defaults[7].tolist() == [12 - 5, 12 - 5, 12 + 5, 12 + 5]  # second row, second column of 8 pixels
    assert model.defaults[36 + 4].tolist() == [24 - 13, 24 - 13, 24 + 13, 24 + 13]  # the middle
    scores, offsets = model(lc.rand(2, 3, 48, 48))
    assert tuple(scores.shape) == (2, 45, 4) and tuple(offsets.shape) == (2, 45, 4)


def test_every_object_has_a_default_box():
    model = models.ssd(image_size=48, classes=5)
    wanted = lc.tensor([[[3.0, 3, 7, 7], [20, 20, 46, 46], [0, 0, 0, 0]], [[0, 0, 0, 0]] * 3])
    labels = lc.tensor([[4, 1, -1], [-1, -1, -1]])
    classes, offsets = model.targets(wanted, labels)
    rebuilt = decode(offsets, model.defaults)
    assert set(classes[0].tolist()) == {0, 2, 5} and set(classes[1].tolist()) == {0}
    for image, k, label in ((0, 0, 5), (0, 1, 2)):
        for place in (classes[image] == label).nonzero().squeeze(1).tolist():
            np.testing.assert_allclose(rebuilt[image, place].numpy(), wanted[image, k].numpy(), atol=1e-3)
    assert (classes[0] == 5).sum().item() == 1  # too small for any to overlap by half, so the best one alone


def test_the_loss_counts_the_worst_of_the_empty_places():
    model = models.ssd(image_size=48, classes=2)
    places = len(model.defaults)
    classes = lc.zeros(1, places, dtype=lc.int64)
    classes[0, 5] = 2
    scores, zeros = lc.randn(1, places, 3), lc.zeros(1, places, 4)
    wanted = zeros.clone()
    wanted[0, 5, 1] = 2.0
    wanted[0, 6, 1] = 9.0  # no object there: it does not count
    each = -np.log(np.exp(scores.numpy()[0]) / np.exp(scores.numpy()[0]).sum(-1, keepdims=True))
    empty = np.sort(np.delete(each[:, 0], 5))
    expected = each[5, 2] + 1.5 + empty[-3:].sum()
    assert model.loss(scores, zeros, classes, wanted).item() == pytest.approx(expected, rel=1e-5)


def test_suppression_keeps_the_likeliest_of_those_that_overlap():
    random = np.random.default_rng(4)
    found, scores = boxes(40, 5), random.permutation(40).astype(np.float32)
    kept = []
    for k in np.argsort(-scores):
        if all(overlap(found[k].astype(float), found[j].astype(float)) <= 0.3 for j in kept):
            kept.append(k)
    assert models.nms(lc.from_numpy(found), lc.from_numpy(scores), 0.3).tolist() == kept
    assert models.nms(lc.from_numpy(found), lc.from_numpy(scores), 0.3, 3).tolist() == kept[:3]
    assert 1 < len(kept) < 40
    assert models.nms(lc.zeros(0, 4), lc.zeros(0), 0.5).tolist() == []


def test_detect_tells_classes_apart():
    model = models.ssd(image_size=48, classes=2).eval()
    place = 40
    scores = lc.zeros(1, len(model.defaults), 3)
    scores[..., 0] = 9.0
    scores[0, place] = lc.tensor([0.0, 5.0, 5.1])
    model.forward = lambda x: (scores, lc.zeros(1, len(model.defaults), 4))
    ((found, labels, chance),) = model.detect(lc.zeros(1, 3, 48, 48))
    assert labels.tolist() == [1, 0] and chance[0].item() > chance[1].item() > 0.4  # one box, both classes
    np.testing.assert_allclose(found[0].numpy(), model.defaults[place].numpy(), rtol=1e-6)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="image_size 40 must be a multiple of 16"):
        models.ssd(image_size=40)
    with pytest.raises(ValueError, match="5 sides"):
        models.ssd(sides=(1, 2, 3, 4, 5))
