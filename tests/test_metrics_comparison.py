"""The paired bootstrap against copies of images and the statistics of a mean."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import found, random_set, seeds, truth

from course_utils.errors import DataError
from course_utils.metrics import MeanAP, evaluate_boxes, interval, match, paired_bootstrap


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_weights_are_copies_of_images(seed):
    detections, targets = random_set(seed, crowds=True)
    rng = np.random.default_rng(seed)
    scores = iter(rng.permutation(1000))  # all different: copies of an image are the only ties
    detections = [one | {"scores": torch.tensor([float(next(scores)) for _ in one["scores"]])} for one in detections]
    weights = rng.integers(0, 4, len(targets))
    copies = np.repeat(np.arange(len(targets)), weights)
    ap = [
        match([detections[i] for i in copies], [targets[i] for i in copies], label).average_precision()
        for label in (1, 2, 3)
    ]
    ap = [value for value in ap if not math.isnan(value)]
    want = np.mean(ap) if ap else np.nan
    assert MeanAP(detections, targets, [1, 2, 3])(weights) == pytest.approx(want, nan_ok=True)


def test_resamples_are_the_same_images_for_both():
    # hard and easy images differ a lot, the two detectors by a constant: no doubt about the difference
    values = np.random.default_rng(0).random(50)
    got = paired_bootstrap(values, values - 0.01)
    assert got.low == pytest.approx(0.01) and got.high == pytest.approx(0.01)
    assert got.share == 1
    detections, targets = random_set(1, n_images=30)
    itself = paired_bootstrap(*[MeanAP(detections, targets, [1, 2, 3])] * 2, n=50)
    assert itself.low == itself.high == itself.difference == 0 and itself.share == 0.5


def test_spread_is_that_of_the_mean():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.3, 1, 400), rng.normal(0, 1, 400)
    got = paired_bootstrap(first, second, n=4000)
    error = np.std(first - second) / np.sqrt(400)
    assert got.differences.std() == pytest.approx(error, rel=0.05)
    assert got.difference == pytest.approx(first.mean() - second.mean())
    assert got.low == pytest.approx(got.difference - 1.96 * error, abs=0.15 * error)
    assert got.high == pytest.approx(got.difference + 1.96 * error, abs=0.15 * error)


def test_draws_with_replacement():
    one = np.zeros(10)
    one[0] = 10.0  # its mean is how often image 0 was drawn: binomial
    drawn = paired_bootstrap(one, np.zeros(10), n=5000).differences
    assert drawn.mean() == pytest.approx(1, abs=0.05)
    assert (drawn == 0).mean() == pytest.approx(0.9**10, abs=0.02)


def test_same_seed_same_result():
    first, second = np.random.default_rng(2).random((2, 30))
    one, again, other = (paired_bootstrap(first, second, 50, seed) for seed in (7, 7, 8))
    assert (one.differences == again.differences).all()
    assert (one.differences != other.differences).any()
    assert "95% interval" in str(one)


def test_better_detector_is_seen():
    _, targets = random_set(4, n_images=60)
    perfect = [found(t["boxes"], t["labels"], np.full(len(t["labels"]), 0.5)) for t in targets]
    half = [{key: value[::2] for key, value in one.items()} for one in perfect]
    got = paired_bootstrap(MeanAP(perfect, targets), MeanAP(half, targets), n=200)
    assert got.first == 1
    assert 0 < got.low < got.difference < got.high < 1
    full = evaluate_boxes(half, targets, "abc")
    assert got.second == pytest.approx(full["mAP"])  # the same classes and the same number


@settings(max_examples=20, deadline=None)
@given(seeds, st.sampled_from([0.5, 0.95]))
def test_interval_is_that_of_the_difference_to_zero(seed, level):
    detections, targets = random_set(seed, crowds=True)
    mean_ap = MeanAP(detections, targets, [1, 2, 3])
    against = paired_bootstrap(mean_ap, np.zeros(len(targets)), 50, seed, level)
    np.testing.assert_array_equal(interval(mean_ap, 50, seed, level), (against.low, against.high))


def test_interval_knows_certainty_and_doubt():
    _, targets = random_set(4, n_images=60)
    perfect = [found(t["boxes"], t["labels"], np.full(len(t["labels"]), 0.5)) for t in targets]
    assert interval(MeanAP(perfect, targets), 100) == (1, 1)
    half = MeanAP([one if i % 2 else found() for i, one in enumerate(perfect)], targets)
    (low, high), (least, most) = interval(half, level=0.5), interval(half)
    assert 0 < least < low < half(np.ones(60, int)) < high < most < 1
    assert np.isnan(interval(MeanAP([found()], [truth()], [1]), 5)).all()


def test_images_without_value_are_left_out():
    got = paired_bootstrap(np.array([1.0, np.nan, 0.0]), np.array([0.0, np.nan, 0.0]), n=100)
    assert got.first == 0.5 and got.second == 0
    nothing = paired_bootstrap(np.full(3, np.nan), np.full(3, np.nan), n=5)
    assert math.isnan(nothing.low)


def test_refuses():
    with pytest.raises(DataError, match="images"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
    with pytest.raises(DataError, match="at least 1"):
        paired_bootstrap(np.zeros(0), np.zeros(0))
    with pytest.raises(DataError, match="shape"):
        paired_bootstrap(np.zeros((2, 2)), np.zeros(2))
    for wrong in ({"n": 0}, {"level": 1.0}):
        with pytest.raises(DataError):
            paired_bootstrap(np.zeros(3), np.zeros(3), **wrong)
    one = MeanAP([found()], [truth([[0, 0, 1, 1]])], [1])
    for wrong in ({"n": 0}, {"level": 0.0}):
        with pytest.raises(DataError, match="level between 0 and 1"):
            interval(one, **wrong)
    with pytest.raises(DataError, match="at least 1 image"):
        interval(MeanAP([], [], [1]))
    for other in (MeanAP([found()], [truth([[0, 0, 1, 1]])], [2]), MeanAP([found()], [truth()], [1])):
        with pytest.raises(DataError, match="same targets"):
            paired_bootstrap(one, other)
