"""Error types against plain loops and a case worked by hand."""

import pytest
from hypothesis import given, settings
from metric_cases import found, plain_iou, plain_voc, random_set, seeds, things, truth

from course_utils.errors import DataError
from course_utils.metrics import ERROR_TYPES, HIT, IGNORED, error_types


def test_by_hand():
    target = truth(
        [[0, 0, 10, 10], [50, 0, 60, 10], [0, 50, 10, 60], [50, 50, 60, 60], [80, 80, 90, 90]],
        [1, 2, 3, 1, 1],
        difficult=[False, False, False, False, True],
    )
    story = [
        ([0, 0, 10, 10], "correct"),
        ([0, 0, 10, 9], "localization"),  # again the same object
        ([0, 0, 10, 3], "localization"),  # IoU .3
        ([50, 0, 60, 10], "similar"),
        ([0, 50, 10, 60], "other"),
        ([80, 80, 90, 90], "ignored"),  # difficult
        ([0, 9.5, 10, 19.5], "background"),  # IoU 1 / 39
        ([30, 30, 40, 40], "background"),
    ]
    got = error_types([found([box for box, _ in story])], [target], 1, similar=[2])
    assert got.kind.tolist() == [kind for _, kind in story]
    assert got.missed.tolist() == [[0, 3]]
    every = {"correct": 1, "localization": 2, "similar": 1, "other": 1, "background": 2}
    assert got.counts(100) == every
    assert got.counts() == {"correct": 1, "localization": 1, "similar": 0, "other": 0, "background": 0}
    assert error_types([found([[50, 0, 60, 10]])], [target], 1).kind.tolist() == ["other"]


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_equals_loops_and_adds_up(seed):
    detections, targets = random_set(seed, n_classes=4)
    got = error_types(detections, targets, 1, similar=[2, 3])
    hit = set()
    for (what, i, k, chosen), kind in zip(plain_voc(detections, targets, 1, 0.5), got.kind):
        box = detections[i]["boxes"][k].tolist()
        near = {
            label
            for thing, label in zip(targets[i]["boxes"].tolist(), targets[i]["labels"].tolist())
            if plain_iou(box, thing) >= 0.1
        }
        if what == HIT:
            wanted = "correct"
            hit.add((i, chosen))
        elif what == IGNORED:
            wanted = "ignored"
        elif 1 in near:
            wanted = "localization"
        elif near & {2, 3}:
            wanted = "similar"
        else:
            wanted = "other" if near else "background"
        assert kind == wanted
    easy = {(i, g) for i, target in enumerate(targets) for g, _, hard in things(target, 1) if not hard}
    assert {tuple(place) for place in got.missed.tolist()} == easy - hit
    counts = got.counts(len(got.kind))
    assert tuple(counts) == ERROR_TYPES
    assert sum(counts.values()) == (got.kind != "ignored").sum()


def test_refuses():
    with pytest.raises(DataError, match="low"):
        error_types([found()], [truth()], 1, threshold=0.5, low=0.6)
