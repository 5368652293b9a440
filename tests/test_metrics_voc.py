"""Matching by VOC's rule against plain loops and cases worked by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import found, plain_iou, plain_voc, random_set, rows, seeds, things, truth

from course_utils.metrics import FALSE_ALARM, HIT, IGNORED, coco_metrics, match


@settings(max_examples=150, deadline=None)
@given(seeds, st.sampled_from([0.3, 0.5, 0.75, 1.0]), st.booleans())
def test_equals_the_rule_as_loops(seed, threshold, crowds):
    detections, targets = random_set(seed, crowds=crowds)
    for label in (1, 2, 3, 4):
        got = match(detections, targets, label, threshold)
        story = list(zip(got.kind.tolist(), got.image.tolist(), got.row.tolist(), got.object.tolist()))
        assert story == plain_voc(detections, targets, label, threshold)
        assert got.score.tolist() == [score for score, *_ in rows(detections, label)]
        for (_, i, _, box), iou in zip(rows(detections, label), got.iou):
            best = max((plain_iou(box, thing) for _, thing, _ in things(targets[i], label)), default=0)
            assert iou == pytest.approx(best, abs=1e-12)
        assert got.n_objects == sum(not hard for target in targets for *_, hard in things(target, label))


def test_second_hit_is_a_false_alarm_though_another_object_is_free():
    # both overlap the first object most; COCO gives the second object to the second detection
    target = truth([[0, 0, 10, 10], [0, 4, 10, 14]])
    detections = [found([[0, 0, 10, 10], [0, 1, 10, 11]])]
    assert match(detections, [target], 1).kind.tolist() == [HIT, FALSE_ALARM]
    assert coco_metrics(detections, [target], 1)["AP50"] == pytest.approx(1.0)


def test_a_match_is_at_the_threshold_or_above():
    target = truth([[0, 0, 10, 10]])
    assert match([found([[0, 0, 10, 5]])], [target], 1, 0.5).kind.tolist() == [HIT]  # IoU = .5
    assert match([found([[0, 0, 10, 4.99]])], [target], 1, 0.5).kind.tolist() == [FALSE_ALARM]


def test_difficult_objects_count_neither_way():
    target = truth([[0, 0, 10, 10], [50, 50, 60, 60]], difficult=[True, False])
    boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [80, 80, 90, 90]]
    got = match([found(boxes)], [target], 1)
    assert got.kind.tolist() == [IGNORED, IGNORED, HIT, FALSE_ALARM]
    assert got.n_objects == 1
    assert got.average_precision() == 1


def test_equal_scores_keep_their_order():
    target = truth([[0, 0, 10, 10]])
    got = match([found([[0, 0, 10, 9], [0, 0, 10, 10]], scores=[0.5, 0.5])], [target], 1)
    assert got.row.tolist() == [0, 1] and got.kind.tolist() == [HIT, FALSE_ALARM]


def test_the_first_of_equally_good_objects_is_taken():
    target = truth([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], difficult=[False, True, False])
    got = match([found([[0, 0, 10, 10]] * 2)], [target], 1)
    assert got.object.tolist() == [0, 0] and got.kind.tolist() == [HIT, FALSE_ALARM]


def test_highest_score_first_over_images():
    detections = [found([[0, 0, 10, 10]], scores=[0.2]), found([[0, 0, 10, 10]], scores=[0.7])]
    got = match(detections, [truth([[0, 0, 10, 10]])] * 2, 1)
    assert got.image.tolist() == [1, 0]
    assert got.objects_per_image.tolist() == [1, 1]
