"""ImageNet's localization error against plain loops and cases worked by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import found, plain_iou, random_set, seeds, truth

from course_utils.errors import DataError
from course_utils.metrics import localization_errors


def test_by_hand():
    target = truth([[0, 0, 10, 10], [50, 0, 60, 10]], [3, 3])
    miss, right, wrong = [20, 20, 30, 30], [50, 0, 60, 10], [0, 0, 10, 10]
    cases = [
        (found([right], [3]), 0, 0),  # any instance will do
        (found([right], [2]), 1, 1),  # right place, wrong class
        (found([miss], [3]), 1, 1),  # right class, wrong place
        (found([wrong, miss, right], [1, 3, 3]), 1, 0),  # the third guess is right
        (found([miss] * 5 + [right], [3] * 6), 1, 1),  # the sixth is too late
        (found([right] + [miss] * 5, [3] * 6, [0.1] + [0.2] * 5), 1, 1),  # scores decide, not order
        (found(), 1, 1),
    ]
    detections = [case[0] for case in cases]
    targets = [target] * len(cases)
    assert localization_errors(detections, targets, 1).tolist() == [case[1] for case in cases]
    assert localization_errors(detections, targets).tolist() == [case[2] for case in cases]
    classification = localization_errors(detections, targets, 1, threshold=0)
    assert classification.tolist() == [0, 1, 0, 1, 0, 0, 1]


@settings(max_examples=50, deadline=None)
@given(seeds, st.sampled_from([1, 2, 5]))
def test_equals_loops(seed, guesses):
    detections, targets = random_set(seed, single=True)
    for i, error in enumerate(localization_errors(detections, targets, guesses)):
        easy = [k for k, difficult in enumerate(targets[i]["difficult"]) if not difficult]
        if not easy:
            assert math.isnan(error)
            continue
        order = sorted(range(len(detections[i]["scores"])), key=lambda k: -detections[i]["scores"][k])
        worst = 1
        for k in order[:guesses]:
            wrong_class = detections[i]["labels"][k] != targets[i]["labels"][easy[0]]
            box = detections[i]["boxes"][k].tolist()
            wrong_place = min(plain_iou(box, targets[i]["boxes"][g].tolist()) < 0.5 for g in easy)
            worst = min(worst, max(int(wrong_class), int(wrong_place)))
        assert error == worst


def test_refuses():
    with pytest.raises(DataError, match="image 1 have objects of several classes"):
        localization_errors([found()] * 2, [truth(), truth([[0, 0, 1, 1]] * 2, [1, 2])])
    with pytest.raises(DataError, match="guesses"):
        localization_errors([found()], [truth()], 0)
