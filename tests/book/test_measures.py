"""The measures of chapter 6 on examples small enough to count by hand."""

import numpy as np
import pytest

import littlecore as lc
from littlecore import data
from littlecore.book import (
    breakout,
    chain_of_thought,
    human_feedback,
    image_generation,
    model_merging,
    object_detection,
    quantization,
    retrieval,
    semantic_segmentation,
    text_generation,
    transformer,
)


def scene(boxes, labels):
    """One scene with these objects, and nothing to see."""
    empty = np.zeros((1, 3, 8, 8), np.float32)
    labels = np.array([labels])
    return data.Scenes(empty, np.zeros((1, 8, 8), np.int64), labels, labels, np.array([boxes], np.float32))


def found(*boxes):
    """(box, label, probability) each."""
    each = zip(*boxes, strict=True)
    return [tuple(lc.tensor(list(part)) for part in each)]


def test_a_box_counts_once_and_for_its_class_alone():
    truth = scene([[0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 0, 0]], [1, 1, -1])
    answers = found(
        ([0.0, 0.0, 10.0, 9.0], 1, 0.5),  # right, but a likelier one has the object
        ([0.0, 0.0, 10.0, 8.0], 1, 0.9),  # right
        ([20.0, 20.0, 30.0, 24.0], 1, 0.8),  # overlaps by 0.4
        ([20.0, 20.0, 30.0, 30.0], 0, 0.7),  # of another class
    )
    answers = [tuple(part[lc.tensor([1, 2, 3, 0])] for part in answers[0])]  # a detector gives the likeliest first
    right, objects = object_detection.hits(truth, answers, 1)
    assert right.tolist() == [True, False, False] and objects == 2
    assert object_detection.hits(truth, answers, 1, 0.35)[0].tolist() == [True, True, False]
    right, objects = object_detection.hits(truth, answers, 0)
    assert right.tolist() == [False] and objects == 0


def test_average_precision_is_the_area_under_the_curve():
    right = np.array([True, False, True, False])  # recall 1/4 at precision 1, 1/2 at 2/3
    assert object_detection.average_precision(right, 4) == pytest.approx(1 / 4 + 1 / 4 * 2 / 3)
    assert object_detection.average_precision(np.array([True, True]), 2) == 1
    assert object_detection.average_precision(np.array([], bool), 3) == 0


def test_runs_of_letters():
    assert transformer.chrf(["a bcdefg"], ["abcdefg"]) == pytest.approx(100)
    # of runs of 1, 2 and 3 letters 2/3, 1/2 and 0 are right, of what is written and of what is wanted
    assert transformer.chrf(["abx"], ["aby"]) == pytest.approx(100 * (2 / 3 + 1 / 2) / 6)
    recall = (2 / 4 + 1 / 3) / 6
    assert transformer.chrf(["ab"], ["abcd"]) == pytest.approx(100 * 5 * (2 / 6) * recall / (4 * (2 / 6) + recall))
    assert transformer.chrf(["xyz"], ["abc"]) == 0


def test_overlap_and_boundary():
    labels = np.zeros((1, 6, 6), np.int64)
    labels[0, 1:5, 1:5] = 2
    shifted = np.roll(labels, 1, 2)
    a, b = (semantic_segmentation.planes(lc.from_numpy(x), lc.from_numpy(x), 5) for x in (labels, shifted))
    assert semantic_segmentation.overlaps(a, b)[2] == pytest.approx(12 / 20)
    edge = semantic_segmentation.boundary(a)[0, 2].numpy()
    expected = labels[0] == 2
    expected[2:4, 2:4] = False
    np.testing.assert_array_equal(edge, expected)
    zeros = lc.zeros(1, 4, 4, dtype=lc.int64)
    full = semantic_segmentation.planes(zeros, zeros, 5)
    assert semantic_segmentation.boundary(full).sum().item() == 0  # the image's edge is no boundary


def test_distances_of_samples():
    a = lc.tensor([3.0, 1.0, 2.0])
    assert image_generation.wasserstein(a, a) == 0
    assert image_generation.wasserstein(a, lc.tensor([1.5, 2.0, 5.0])) == pytest.approx((0.5 + 0 + 2) / 3)
    assert image_generation.wasserstein(a, lc.tensor([1.0, 1.0, 9.0, 2.0, 3.0, 3.0, 0.0, 1.0, 2.0])) == pytest.approx(0)
    x, y = lc.tensor([[0.0, 0.0], [0.0, 1.0]]), lc.tensor([[0.0, 0.0], [9.0, 9.0]])
    own, other = np.exp(-0.5), np.exp(-81)
    expected = own + other - 2 * (1 + own + 0 + 0) / 4
    assert image_generation.discrepancy(x, y, 1.0) == pytest.approx(expected, abs=1e-6)


def test_noise_all_at_once_is_noise_step_by_step():
    kept = np.cumprod(1 - image_generation.BETA.numpy().astype(np.float64))
    np.testing.assert_allclose(image_generation.KEPT.numpy(), kept, rtol=1e-4)
    x, step = lc.ones(3, 2), lc.tensor([0, 50, 99])
    mean = image_generation.noised(x, step, lc.zeros(3, 2)).numpy()
    np.testing.assert_allclose(mean[:, 0], np.sqrt(kept[[0, 50, 99]]), rtol=1e-4)
    assert kept[-1] < 1e-3  # nothing is left of the sample


def test_the_game_of_breakout():
    game = breakout.Breakout(4, np.random.default_rng(0))
    total, bricks = np.zeros(4), 3 * breakout.SIDE
    for _ in range(1500):  # the paddle goes where the ball is, and no ball is lost
        assert (game.seen()[:, :2].sum((2, 3)) == 1).all()
        points, lost = game.step((game.x != game.paddle) * np.where(game.x < game.paddle, 1, 2))
        assert not lost.any()
        total += points
    there = game.bricks.sum((1, 2))
    assert (total > bricks).all() and ((total + there) % bricks == 0).all()
    ever = np.zeros(4, bool)
    for _ in range(200):  # it stays where it is
        _, lost = game.step(np.zeros(4, np.int64))
        assert (game.bricks[lost].sum((1, 2)) == bricks).all() and (game.y[lost] == 3).all()
        ever |= lost
    assert ever.all()


def test_ties_trims_votes_and_averages():
    a, b, c = lc.tensor([4.0, -3.0, 0.1, 2.0]), lc.tensor([-1.0, -5.0, 6.0, 0.2]), lc.tensor([-2.0, 0.3, 0.1, 8.0])
    merged = model_merging.ties([a, b, c], keep=0.5)
    # kept: a 4 -3, b -5 6, c -2 8; signs by weight: + - + +
    assert merged.tolist() == [4, -4, 6, 8]
    assert model_merging.ties([a, -a], keep=1.0).tolist() == [0, 0, 0, 0]


def test_few_bits_is_q4_1_but_for_its_bits():
    """Codes of 4 bits from float16's neighbours may differ by one where a value lies between two codes."""
    w = np.random.default_rng(0).standard_normal((50, 64)).astype(np.float32)
    ours = quantization.few_bits(4)(lc.from_numpy(w)).numpy()
    theirs = data.dequantize_blocks(data.quantize_blocks(w, "Q4_1"), "Q4_1")
    assert np.mean(np.abs(ours - theirs) > 1e-6) < 0.001
    two = quantization.few_bits(2)(lc.from_numpy(w)).numpy().reshape(-1, 32)
    assert max(len(np.unique(row)) for row in two) == 4


@pytest.mark.parametrize("rounding", [quantization.few_bits(2), quantization.ternary])
def test_a_rounded_layer_learns_as_if_it_were_not(rounding):
    layer, x = quantization.RoundedLinear(64, 3), lc.randn(5, 64)
    layer.rounding = rounding
    y = layer(x)
    rounded = rounding(layer.weight.detach())
    np.testing.assert_allclose(y.detach().numpy(), (x @ rounded.mT + layer.bias).detach().numpy(), rtol=1e-4, atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), np.tile(x.numpy().sum(0), (3, 1)), rtol=1e-4, atol=1e-5)


def test_ternary_is_a_sign_or_nothing():
    assert quantization.ternary(lc.tensor([[3.0, -3.0, 0.4], [-0.4, 0.0, 5.2]])).tolist() == [[2, -2, 0], [0, 0, 2]]


def test_surprise_is_a_standard_deviation_of_what_chance_does():
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(20))
    found = [text_generation.surprise(random.multinomial(5000, p), p) for _ in range(400)]
    assert abs(np.mean(found)) < 0.2 and np.std(found) == pytest.approx(1, abs=0.15)
    wrong = np.roll(p, 1)
    assert text_generation.surprise(random.multinomial(5000, p), wrong) > 10
    assert text_generation.surprise(np.array([1, 0]), np.array([0.0, 1.0])) == np.inf


def test_the_ways_to_draw():
    p = np.array([0.05, 0.4, 0.3, 0.15, 0.06, 0.04])
    np.testing.assert_allclose(text_generation.nucleus(p), np.array([0, 0.4, 0.3, 0.15, 0, 0]) / 0.85)
    np.testing.assert_allclose(text_generation.five_likeliest(p), np.append(p[:5], 0) / 0.96)


def test_advantages_without_decay_are_all_rewards_to_come():
    length = human_feedback.LENGTH
    rewards, values = lc.randn(3, length), lc.randn(3, length)
    to_come = np.cumsum(rewards.numpy()[:, ::-1], 1)[:, ::-1]
    found = human_feedback.advantages(rewards, values, 1.0).numpy()
    np.testing.assert_allclose(found, to_come - values.numpy(), rtol=1e-4, atol=1e-5)
    found = human_feedback.advantages(rewards, values, 0.0).numpy()
    after = np.append(values.numpy()[:, 1:], np.zeros((3, 1)), 1)
    np.testing.assert_allclose(found, rewards.numpy() + after - values.numpy(), rtol=1e-4, atol=1e-5)


def test_sums_and_their_steps():
    problems = np.array([[12, 34, 56], [99, 98, 97], [0, 5, 7]])
    texts = [chain_of_thought.text(row) for row in chain_of_thought.example(problems, True)]
    assert texts == ["12+34+56=0612040910>102", "99+98+97=1724182729>294", "00+05+07=0512000001>012"]
    assert chain_of_thought.text(chain_of_thought.example(problems, False)[0]) == "12+34+56=102"
    assert chain_of_thought.carries(problems).tolist() == [1, 2, 1]


def test_passages_are_ranked_by_rare_words_that_they_share():
    index = retrieval.Index([["red", "fox"], ["red", "red", "hen"], ["red", "dog", "and", "fox"], ["cat"]])
    scores = index.by_words([["fox"], ["hen", "red"], ["unknown"]]).numpy()
    assert scores[0, 0] > scores[0, 2] > scores[0, 1] == scores[0, 3] == 0  # the shorter passage first
    assert scores[1].argmax() == 1 and not scores[2].any()
    rarity = np.log(1 + (4 - 2 + 0.5) / 2.5)
    assert scores[0, 0] == pytest.approx(rarity * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 2.5)), rel=1e-5)


def test_questions_are_words_that_say_something():
    assert retrieval.words("The maps of a Class, its KEYS and x") == ["map", "clas", "its", "key"]
    question = retrieval.shortened("Return the keys of a map in their order.", np.random.default_rng(0))
    assert len(question.split()) == 4 and set(question.split()) <= {"Return", "keys", "map", "their", "order"}


def test_a_tie_or_a_nan_is_not_found():
    scores = lc.tensor([[1.0, 3.0, 2.0], [2.0, 2.0, 2.0], [float("nan"), 1.0, 0.0]])
    assert retrieval.place(scores, np.array([2, 0, 1])).tolist() == [1, 2, 1]
    nans = lc.full((1, 3), float("nan"))
    assert retrieval.place(nans, np.array([0])).tolist() == [2]
