"""Proposals' recall against plain loops and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import plain_iou, random_set, seeds, truth

from course_utils.errors import DataError
from course_utils.metrics import Overlaps, proposal_overlaps


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from([None, 0, 1, 5]), st.booleans())
def test_equals_loops(seed, n, include_difficult):
    detections, targets = random_set(seed, crowds=True)
    proposals = [one["boxes"] for one in detections]
    got = proposal_overlaps(proposals, targets, n, include_difficult=include_difficult)
    best = []
    for boxes, target in zip(proposals, targets):
        for k, thing in enumerate(target["boxes"].tolist()):
            if target["iscrowd"][k] or (target["difficult"][k] and not include_difficult):
                continue
            best.append(max((plain_iou(box, thing) for box in boxes[:n].tolist()), default=0))
    assert got.iou == pytest.approx(best, abs=1e-12)
    for threshold in (0.5, 0.7):
        share = np.mean([iou >= threshold for iou in best]) if best else np.nan
        assert got.recall(threshold) == pytest.approx(share, nan_ok=True)
    abo = {label: np.mean(got.iou[got.labels == label]) for label in set(got.labels.tolist())}
    assert got.abo() == pytest.approx(abo)
    assert got.mabo() == pytest.approx(np.mean(list(abo.values())) if abo else np.nan, nan_ok=True)


def test_one_to_one():
    target = truth([[0, 0, 10, 10], [0, 2, 10, 12]])
    proposal = [[0, 0, 10, 10]]
    assert proposal_overlaps([proposal], [target]).iou == pytest.approx([1, 8 / 12])
    assert proposal_overlaps([proposal], [target], one_to_one=True).iou == pytest.approx([1, 0])
    both = proposal_overlaps([[[0, 0, 10, 9], *proposal]], [target], one_to_one=True)
    assert both.iou == pytest.approx([1, 7 / 12])  # the better proposal goes to the first object


def test_average_recall_is_the_area_under_recall():
    overlaps = Overlaps(np.random.default_rng(0).random(200), np.ones(200, int), np.arange(200))
    grid = np.arange(0.5, 1.0001, 0.001)
    assert overlaps.average_recall() == pytest.approx(2 * np.trapezoid(overlaps.recall(grid), grid), abs=2e-3)


def test_closed_forms():
    overlaps = Overlaps(np.array([0.4, 0.6, 1.0]), np.array([1, 1, 2]), np.arange(3))
    assert overlaps.average_recall() == pytest.approx(2 * (0.1 + 0.5) / 3)
    assert overlaps.abo() == pytest.approx({1: 0.5, 2: 1.0})
    assert overlaps.mabo() == pytest.approx(0.75)
    assert overlaps.recall([0.4, 0.5, 1]) == pytest.approx([1, 2 / 3, 1 / 3])


def test_refuses():
    with pytest.raises(DataError, match="n is -1"):
        proposal_overlaps([[[0, 0, 1, 1]]], [truth()], -1)
    with pytest.raises(DataError, match="image 0"):
        proposal_overlaps([[[0, 0, 1]]], [truth()])
