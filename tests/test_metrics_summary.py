"""The table of a whole set."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from metric_cases import found, random_set, seeds, truth

from course_utils.metrics import (
    MIN_OBJECTS,
    MeanAP,
    coco_metrics,
    error_types,
    evaluate_boxes,
    localization_errors,
    match,
    paired_bootstrap,
    proposal_overlaps,
)


def test_table():
    here = [[0, 0, 50, 50], [60, 0, 110, 50]]
    targets = [truth(here, [1, 2])] * 30 + [truth(here[:1], [2], difficult=[True])] + [truth()]
    detections = [found(here[:1])] * 32  # always class 1 at the same place
    got = evaluate_boxes(detections, targets, ("cat", "dog", "cow"))
    assert got["n"] == {"cat": 30, "dog": 30, "cow": 0}
    assert got["mAP_classes"] == ["cat", "dog"]
    assert got["AP50"]["cat"] == 1 and got["AP50"]["dog"] == 0 and math.isnan(got["AP50"]["cow"])
    assert got["mAP"] == 0.5
    assert got["COCO"] == pytest.approx(coco_metrics(detections, targets, 3), nan_ok=True)


def test_few_objects_leave_a_class_out_of_the_mean():
    assert MIN_OBJECTS == 30
    targets = [truth([[0, 0, 9, 9]])] * 29
    detections = [found([[0, 0, 9, 9]])] * 29
    assert math.isnan(evaluate_boxes(detections, targets, ("cat",))["mAP"])
    assert evaluate_boxes(detections, targets, ("cat",), min_objects=29)["mAP"] == 1
    assert MeanAP(detections, targets).labels == []
    assert MeanAP(detections, targets, min_objects=29).labels == [1]
    assert MeanAP(detections + detections[:1], targets + targets[:1]).labels == [1]


def test_nothing_at_all():
    for detections, targets in (([], []), ([found()], [truth()])):
        got = evaluate_boxes(detections, targets, ("cat",))
        assert got["n"] == {"cat": 0} and math.isnan(got["mAP"]) and math.isnan(got["COCO"]["AP"])
        assert match(detections, targets, 1).score.shape == (0,)
        assert proposal_overlaps([one["boxes"] for one in detections], targets).iou.shape == (0,)
        assert np.isnan(localization_errors(detections, targets)).all()
        assert error_types(detections, targets, 1).missed.shape == (0, 2)
    assert match([found()], [truth([[0, 0, 1, 1]])], 1).average_precision() == 0
    assert evaluate_boxes([found()], [truth([[0, 0, 1, 1]])], ("cat",))["COCO"]["AP"] == 0


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_inputs_stay_as_they_were(seed):
    detections, targets = random_set(seed, single=True)
    before = [{key: value.clone() for key, value in one.items()} for one in detections + targets]
    evaluate_boxes(detections, targets, ("a", "b", "c"))
    error_types(detections, targets, 1, [2])
    localization_errors(detections, targets)
    proposal_overlaps(detections, targets, one_to_one=True)
    paired_bootstrap(MeanAP(detections, targets, [1]), MeanAP(detections, targets, [1]), n=2)
    for old, new in zip(before, detections + targets):
        assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)


def test_arrays_instead_of_tensors():
    detections, targets = random_set(3)
    as_arrays = [{key: value.numpy() for key, value in one.items()} for one in detections]
    first, second = (evaluate_boxes(which, targets, "abc", min_objects=1) for which in (detections, as_arrays))
    np.testing.assert_equal(first, second)
