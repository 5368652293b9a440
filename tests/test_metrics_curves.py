"""Precision, recall and average precision against scikit-learn, the bare definition and tables worked by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import random_set, seeds
from sklearn.metrics import average_precision_score, precision_recall_curve

from course_utils.errors import DataError
from course_utils.metrics import FALSE_ALARM, HIT, IGNORED, average_precision, match, precision_recall

METHODS = ("all-point", "11-point", "101-point")


def plain_ap(recall, precision, method):
    """Average precision straight from the definition, without an envelope."""

    def best(wanted):
        return max((p for r, p in zip(recall, precision) if r >= wanted), default=0.0)

    if method == "all-point":
        steps = sorted({0.0, *recall})
        return sum((b - a) * best(b) for a, b in itertools.pairwise(steps))
    n, slack = (10, 1e-9) if method == "11-point" else (100, 0.0)
    grid = np.linspace(0, 1, n + 1)
    return sum(best(wanted - slack) for wanted in grid) / len(grid)


def test_the_facts_table():
    recall, precision = precision_recall([1, 0, 1, 0, 0, 1, 0], 3)
    assert precision == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4, 2 / 5, 3 / 6, 3 / 7])
    assert recall == pytest.approx(np.array([1, 1, 2, 2, 2, 3, 3]) / 3)
    assert average_precision(recall, precision) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)  # .7222
    assert average_precision(recall, precision, "11-point") == pytest.approx((4 + 3 * 2 / 3 + 4 / 2) / 11)  # .7273
    assert average_precision(recall, precision, "101-point") == pytest.approx((34 + 33 * 2 / 3 + 34 / 2) / 101)


@pytest.mark.parametrize("method", METHODS)
def test_golden_values(method):
    assert average_precision(*precision_recall([1, 1, 1], 3), method) == pytest.approx(1)
    assert average_precision(*precision_recall([0, 1], 1), method) == pytest.approx(0.5)
    assert average_precision(*precision_recall([0, 0], 1), method) == 0
    assert average_precision([], [], method) == 0
    assert math.isnan(average_precision(*precision_recall([0], 0), method))


def test_recall_of_exactly_three_tenths_counts():
    # np.arange(0, 1.1, .1)[3] is .30000000000000004
    recall, precision = precision_recall([1, 1, 1] + [0] * 7, 10)
    assert average_precision(recall, precision, "11-point") == pytest.approx(4 / 11)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([HIT, FALSE_ALARM, IGNORED]), max_size=30), st.integers(0, 20))
def test_equals_the_definition(kind, missed):
    n_objects = kind.count(HIT) + missed
    recall, precision = precision_recall(np.array(kind, int), n_objects)
    hits, alarms, points = 0, 0, []
    for what in kind:
        hits, alarms = hits + (what == HIT), alarms + (what == FALSE_ALARM)
        if what != IGNORED and n_objects:
            points.append((hits / n_objects, hits / (hits + alarms)))
    if n_objects:
        np.testing.assert_allclose(np.stack([recall, precision], axis=1), np.reshape(points, (-1, 2)))
        for method in METHODS:
            assert average_precision(recall, precision, method) == pytest.approx(plain_ap(recall, precision, method))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any))
def test_points_are_scikit_learns(hits):
    recall, precision = precision_recall(np.array(hits, int), sum(hits))
    scores = -np.arange(len(hits))
    theirs, reach, _ = precision_recall_curve(hits, scores)
    assert set(zip(recall.round(9), precision.round(9))) >= set(zip(reach[:-1].round(9), theirs[:-1].round(9)))
    raw = np.diff(recall, prepend=0) @ precision  # without envelope this is their average precision
    assert raw == pytest.approx(average_precision_score(hits, scores))
    assert average_precision(recall, precision) >= raw - 1e-12


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_rescoring_that_keeps_the_order_changes_nothing(seed):
    detections, targets = random_set(seed)
    rescored = [one | {"scores": torch.exp(5 * one["scores"].double()) - 7} for one in detections]
    first, second = (match(which, targets, 1) for which in (detections, rescored))
    np.testing.assert_equal(first.average_precision(), second.average_precision())


@pytest.mark.parametrize(
    "recall, precision, method",
    [
        ([0.1, 0.2], [1.0], "all-point"),
        ([0.2, 0.1], [1.0, 1.0], "all-point"),
        ([0.5], [1.2], "all-point"),
        ([0.5], [np.nan], "all-point"),
        ([[0.5]], [[1.0]], "all-point"),
        ([0.5], [1.0], "12-point"),
        ([np.nan], [1.0], "12-point"),
    ],
)
def test_refuses(recall, precision, method):
    with pytest.raises(DataError):
        average_precision(recall, precision, method)
