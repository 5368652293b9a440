"""Metrics against pycocotools, scikit-learn, plain loops and tables worked by hand."""

import contextlib
import io
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import average_precision_score, precision_recall_curve

from course_utils.datasets.base import make_target
from course_utils.errors import DataError
from course_utils.metrics import (
    ERROR_TYPES,
    FALSE_ALARM,
    HIT,
    IGNORED,
    MeanAP,
    Overlaps,
    average_precision,
    coco_metrics,
    error_types,
    evaluate_boxes,
    gather,
    localization_errors,
    match,
    match_voc,
    paired_bootstrap,
    precision_recall,
    proposal_overlaps,
)

METHODS = ("all-point", "11-point", "101-point")
seeds = st.integers(0, 2**32 - 1)


def found(boxes=(), labels=None, scores=None):
    """Detections of one image: label 1 and falling scores unless told."""
    boxes = torch.tensor(np.asarray(boxes).astype(np.float32).reshape(-1, 4))
    n = len(boxes)
    return {
        "boxes": boxes,
        "labels": torch.as_tensor([1] * n if labels is None else labels, dtype=torch.int64),
        "scores": torch.tensor(np.linspace(0.9, 0.1, n) if scores is None else scores, dtype=torch.float32),
    }


def truth(boxes=(), labels=None, **flags):
    return make_target(boxes, [1] * len(boxes) if labels is None else labels, **flags)


def random_set(seed, n_images=8, n_classes=3, most=6, size=200, crowds=False, single=False):
    """Detections near objects and elsewhere: ties in score, copies, empty images, difficult objects, all sizes."""
    rng = np.random.default_rng(seed)
    detections, targets = [], []
    for _ in range(n_images):
        n = rng.integers(0, most)
        corner = rng.integers(0, size, (n, 2))
        extent = np.maximum(1, size * rng.choice([0.1, 0.3, 0.6], (n, 1)) * rng.uniform(0.5, 1.5, (n, 2)))
        boxes = np.concatenate([corner, corner + np.round(extent)], axis=1)
        labels = np.full(n, rng.integers(1, n_classes + 1)) if single else rng.integers(1, n_classes + 1, n)
        target = truth(boxes, labels, difficult=rng.random(n) < 0.2)
        if crowds:
            target["iscrowd"] = torch.tensor(rng.random(n) < 0.2)
        targets.append(target)
        wanted = rng.integers(0, n, rng.integers(0, 3 * most)) if n else np.zeros(0, int)
        near = boxes[wanted] + np.round(rng.normal(0, rng.choice([0, 2, 15]), (len(wanted), 4)))
        far = rng.integers(0, size, (rng.integers(0, most), 4)).astype(float)
        far[:, 2:] += far[:, :2]
        every = np.concatenate([near, far])
        every[:, 2:] = np.maximum(every[:, 2:], every[:, :2])  # some have no area
        which = np.concatenate([labels[wanted], rng.integers(1, n_classes + 1, len(far))])
        which = np.where(rng.random(len(every)) < 0.2, rng.integers(1, n_classes + 1, len(every)), which)
        detections.append(found(every, which, np.round(rng.random(len(every)), rng.choice([1, 6]))))
    return detections, targets


def plain_iou(a, b):
    across = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    down = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - across * down
    return across * down / union if union else 0.0


def rows(detections, label):
    """(score, image, row, box) of one class, highest score first."""
    every = [
        (score, i, k, box)
        for i, one in enumerate(detections)
        for k, (box, name, score) in enumerate(
            zip(one["boxes"].tolist(), one["labels"].tolist(), one["scores"].tolist())
        )
        if name == label
    ]
    return sorted(every, key=lambda row: -row[0])


def things(target, label):
    """(row, box, difficult) of one class in one image."""
    crowd = target.get("iscrowd", torch.zeros(len(target["labels"]))).tolist()
    every = zip(target["boxes"].tolist(), target["labels"].tolist(), target["difficult"].tolist(), crowd)
    return [(k, box, bool(hard or many)) for k, (box, name, hard, many) in enumerate(every) if name == label]


def plain_voc(detections, targets, label, threshold):
    """VOC's rule as loops: a list of (kind, image, row, object)."""
    taken, story = set(), []
    for _, i, k, box in rows(detections, label):
        best, chosen, hard = 0.0, -1, False
        for g, thing, difficult in things(targets[i], label):
            if plain_iou(box, thing) > best:
                best, chosen, hard = plain_iou(box, thing), g, difficult
        if best < threshold:
            kind = FALSE_ALARM
        elif hard:
            kind = IGNORED
        elif (i, chosen) in taken:
            kind = FALSE_ALARM
        else:
            kind = HIT
            taken.add((i, chosen))
        story.append((kind, i, k, chosen))
    return story


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


def pycoco(detections, targets, n_classes):
    """COCOeval's twelve numbers and its precision and recall; difficult objects get an area out of every range."""
    annotations = []
    for i, target in enumerate(targets):
        crowd = target.get("iscrowd", torch.zeros(len(target["labels"]))).tolist()
        every = zip(target["boxes"].tolist(), target["labels"].tolist(), target["difficult"].tolist(), crowd)
        for (x1, y1, x2, y2), label, difficult, many in every:
            box = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": label, "iscrowd": int(many)}
            area = 1e12 if difficult and not many else (x2 - x1) * (y2 - y1)
            annotations.append(box | {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": area})
    results = [
        {"image_id": i + 1, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
        for i, one in enumerate(detections)
        for (x1, y1, x2, y2), label, score in zip(one["boxes"].tolist(), one["labels"].tolist(), one["scores"].tolist())
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(targets))],
            "categories": [{"id": k + 1} for k in range(n_classes)],
            "annotations": annotations,
        }
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return np.where(judge.stats == -1, np.nan, judge.stats)


class TestMatching:
    @settings(max_examples=150, deadline=None)
    @given(seeds, st.sampled_from([0.3, 0.5, 0.75, 1.0]), st.booleans())
    def test_equals_the_rule_as_loops(self, seed, threshold, crowds):
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

    def test_second_hit_is_a_false_alarm_though_another_object_is_free(self):
        # both overlap the first object most; COCO gives the second object to the second detection
        target = truth([[0, 0, 10, 10], [0, 4, 10, 14]])
        detections = [found([[0, 0, 10, 10], [0, 1, 10, 11]])]
        assert match(detections, [target], 1).kind.tolist() == [HIT, FALSE_ALARM]
        assert coco_metrics(detections, [target], 1)["AP50"] == pytest.approx(1.0)

    def test_a_match_is_at_the_threshold_or_above(self):
        target = truth([[0, 0, 10, 10]])
        assert match([found([[0, 0, 10, 5]])], [target], 1, 0.5).kind.tolist() == [HIT]  # IoU = .5
        assert match([found([[0, 0, 10, 4.99]])], [target], 1, 0.5).kind.tolist() == [FALSE_ALARM]

    def test_difficult_objects_count_neither_way(self):
        target = truth([[0, 0, 10, 10], [50, 50, 60, 60]], difficult=[True, False])
        boxes = [[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [80, 80, 90, 90]]
        got = match([found(boxes)], [target], 1)
        assert got.kind.tolist() == [IGNORED, IGNORED, HIT, FALSE_ALARM]
        assert got.n_objects == 1
        assert got.average_precision() == 1

    def test_equal_scores_keep_their_order(self):
        target = truth([[0, 0, 10, 10]])
        got = match([found([[0, 0, 10, 9], [0, 0, 10, 10]], scores=[0.5, 0.5])], [target], 1)
        assert got.row.tolist() == [0, 1] and got.kind.tolist() == [HIT, FALSE_ALARM]

    def test_the_first_of_equally_good_objects_is_taken(self):
        target = truth([[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]], difficult=[False, True, False])
        got = match([found([[0, 0, 10, 10]] * 2)], [target], 1)
        assert got.object.tolist() == [0, 0] and got.kind.tolist() == [HIT, FALSE_ALARM]

    def test_highest_score_first_over_images(self):
        detections = [found([[0, 0, 10, 10]], scores=[0.2]), found([[0, 0, 10, 10]], scores=[0.7])]
        got = match(detections, [truth([[0, 0, 10, 10]])] * 2, 1)
        assert got.image.tolist() == [1, 0]
        assert got.objects_per_image.tolist() == [1, 1]


class TestAveragePrecision:
    def test_the_facts_table(self):
        recall, precision = precision_recall([1, 0, 1, 0, 0, 1, 0], 3)
        assert precision == pytest.approx([1, 1 / 2, 2 / 3, 2 / 4, 2 / 5, 3 / 6, 3 / 7])
        assert recall == pytest.approx(np.array([1, 1, 2, 2, 2, 3, 3]) / 3)
        assert average_precision(recall, precision) == pytest.approx((1 + 2 / 3 + 1 / 2) / 3)  # .7222
        assert average_precision(recall, precision, "11-point") == pytest.approx((4 + 3 * 2 / 3 + 4 / 2) / 11)  # .7273
        assert average_precision(recall, precision, "101-point") == pytest.approx((34 + 33 * 2 / 3 + 34 / 2) / 101)

    @pytest.mark.parametrize("method", METHODS)
    def test_golden_values(self, method):
        assert average_precision(*precision_recall([1, 1, 1], 3), method) == pytest.approx(1)
        assert average_precision(*precision_recall([0, 1], 1), method) == pytest.approx(0.5)
        assert average_precision(*precision_recall([0, 0], 1), method) == 0
        assert average_precision([], [], method) == 0
        assert math.isnan(average_precision(*precision_recall([0], 0), method))

    def test_recall_of_exactly_three_tenths_counts(self):
        # np.arange(0, 1.1, .1)[3] is .30000000000000004
        recall, precision = precision_recall([1, 1, 1] + [0] * 7, 10)
        assert average_precision(recall, precision, "11-point") == pytest.approx(4 / 11)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from([HIT, FALSE_ALARM, IGNORED]), max_size=30), st.integers(0, 20))
    def test_equals_the_definition(self, kind, missed):
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
                assert average_precision(recall, precision, method) == pytest.approx(
                    plain_ap(recall, precision, method)
                )

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.booleans(), min_size=1, max_size=40).filter(any))
    def test_points_are_scikit_learns(self, hits):
        recall, precision = precision_recall(np.array(hits, int), sum(hits))
        scores = -np.arange(len(hits))
        theirs, reach, _ = precision_recall_curve(hits, scores)
        assert set(zip(recall.round(9), precision.round(9))) >= set(zip(reach[:-1].round(9), theirs[:-1].round(9)))
        raw = np.diff(recall, prepend=0) @ precision  # without envelope this is their average precision
        assert raw == pytest.approx(average_precision_score(hits, scores))
        assert average_precision(recall, precision) >= raw - 1e-12

    @settings(max_examples=30, deadline=None)
    @given(seeds)
    def test_rescoring_that_keeps_the_order_changes_nothing(self, seed):
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
        ],
    )
    def test_refuses(self, recall, precision, method):
        with pytest.raises(DataError):
            average_precision(recall, precision, method)


class TestCoco:
    @settings(max_examples=60, deadline=None)
    @given(seeds, st.booleans(), st.sampled_from([60, 200, 500]))
    def test_equals_pycocotools(self, seed, crowds, size):
        detections, targets = random_set(seed, crowds=crowds, size=size, n_images=12)
        if not sum(len(one["boxes"]) for one in detections):
            return  # pycocotools cannot load an empty list
        got = coco_metrics(detections, targets, 3)
        areas = ("_small", "_medium", "_large")
        ap, ar = [f"AP{area}" for area in areas], [f"AR{area}" for area in areas]
        assert list(got) == ["AP", "AP50", "AP75", *ap, "AR1", "AR10", "AR100", *ar]
        np.testing.assert_allclose(list(got.values()), pycoco(detections, targets, 3), atol=1e-9)

    def test_equals_pycocotools_beyond_100_detections(self):
        detections, targets = random_set(5, n_images=3, n_classes=1, most=80, crowds=True)
        assert max(len(one["boxes"]) for one in detections) > 100
        np.testing.assert_allclose(
            list(coco_metrics(detections, targets, 1).values()), pycoco(detections, targets, 1), atol=1e-9
        )

    def test_a_crowd_swallows_many_detections(self):
        target = truth([[0, 0, 100, 100], [200, 0, 210, 10]], iscrowd=[True, False])
        boxes = [[0, 0, 20, 20], [30, 30, 50, 50], [60, 60, 90, 90], [200, 0, 210, 10]]
        assert coco_metrics([found(boxes)], [target], 1)["AP"] == pytest.approx(1)

    def test_areas_can_be_stated(self):
        target = truth([[0, 0, 100, 100]]) | {"area": torch.tensor([500.0])}  # a thin thing in a large box
        got = coco_metrics([found([[0, 0, 100, 100]])], [target], 1)
        assert got["AP_small"] == pytest.approx(1) and math.isnan(got["AP_large"])


class TestWholeSet:
    def test_table(self):
        here = [[0, 0, 50, 50], [60, 0, 110, 50]]
        targets = [truth(here, [1, 2])] * 30 + [truth(here[:1], [2], difficult=[True])] + [truth()]
        detections = [found(here[:1])] * 32  # always class 1 at the same place
        got = evaluate_boxes(detections, targets, ("cat", "dog", "cow"))
        assert got["n"] == {"cat": 30, "dog": 30, "cow": 0}
        assert got["mAP_classes"] == ["cat", "dog"]
        assert got["AP50"]["cat"] == 1 and got["AP50"]["dog"] == 0 and math.isnan(got["AP50"]["cow"])
        assert got["mAP"] == 0.5
        assert got["COCO"] == pytest.approx(coco_metrics(detections, targets, 3), nan_ok=True)

    def test_few_objects_leave_a_class_out_of_the_mean(self):
        targets = [truth([[0, 0, 9, 9]])] * 29
        detections = [found([[0, 0, 9, 9]])] * 29
        assert math.isnan(evaluate_boxes(detections, targets, ("cat",))["mAP"])
        assert evaluate_boxes(detections, targets, ("cat",), min_objects=29)["mAP"] == 1

    def test_the_rule_of_matching_can_be_changed(self):
        def strict(data, label, threshold):
            return match_voc(data, label, 0.99)

        detections, targets = [found([[0, 0, 10, 8]])], [truth([[0, 0, 10, 10]])]
        assert evaluate_boxes(detections, targets, ("cat",))["AP50"]["cat"] == 1
        assert evaluate_boxes(detections, targets, ("cat",), match=strict)["AP50"]["cat"] == 0

    def test_nothing_at_all(self):
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
    def test_inputs_stay_as_they_were(self, seed):
        detections, targets = random_set(seed, single=True)
        before = [{key: value.clone() for key, value in one.items()} for one in detections + targets]
        evaluate_boxes(detections, targets, ("a", "b", "c"))
        error_types(detections, targets, 1, [2])
        localization_errors(detections, targets)
        proposal_overlaps(detections, targets, one_to_one=True)
        paired_bootstrap(MeanAP(detections, targets, [1]), MeanAP(detections, targets, [1]), n=2)
        for old, new in zip(before, detections + targets):
            assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)

    def test_arrays_instead_of_tensors(self):
        detections, targets = random_set(3)
        as_arrays = [{key: value.numpy() for key, value in one.items()} for one in detections]
        first, second = (evaluate_boxes(which, targets, "abc", min_objects=1) for which in (detections, as_arrays))
        np.testing.assert_equal(first, second)


class TestProposals:
    @settings(max_examples=50, deadline=None)
    @given(seeds, st.sampled_from([None, 0, 1, 5]), st.booleans())
    def test_equals_loops(self, seed, n, include_difficult):
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

    def test_one_to_one(self):
        target = truth([[0, 0, 10, 10], [0, 2, 10, 12]])
        proposal = [[0, 0, 10, 10]]
        assert proposal_overlaps([proposal], [target]).iou == pytest.approx([1, 8 / 12])
        assert proposal_overlaps([proposal], [target], one_to_one=True).iou == pytest.approx([1, 0])
        both = proposal_overlaps([[[0, 0, 10, 9], *proposal]], [target], one_to_one=True)
        assert both.iou == pytest.approx([1, 7 / 12])  # the better proposal goes to the first object

    def test_average_recall_is_the_area_under_recall(self):
        overlaps = Overlaps(np.random.default_rng(0).random(200), np.ones(200, int), np.arange(200))
        grid = np.arange(0.5, 1.0001, 0.001)
        assert overlaps.average_recall() == pytest.approx(2 * np.trapezoid(overlaps.recall(grid), grid), abs=2e-3)

    def test_closed_forms(self):
        overlaps = Overlaps(np.array([0.4, 0.6, 1.0]), np.array([1, 1, 2]), np.arange(3))
        assert overlaps.average_recall() == pytest.approx(2 * (0.1 + 0.5) / 3)
        assert overlaps.abo() == pytest.approx({1: 0.5, 2: 1.0})
        assert overlaps.mabo() == pytest.approx(0.75)
        assert overlaps.recall([0.4, 0.5, 1]) == pytest.approx([1, 2 / 3, 1 / 3])

    def test_refuses(self):
        with pytest.raises(DataError, match="n is -1"):
            proposal_overlaps([[[0, 0, 1, 1]]], [truth()], -1)
        with pytest.raises(DataError, match="image 0"):
            proposal_overlaps([[[0, 0, 1]]], [truth()])


class TestLocalization:
    def test_by_hand(self):
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
    def test_equals_loops(self, seed, guesses):
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

    def test_refuses(self):
        with pytest.raises(DataError, match="image 1 have objects of several classes"):
            localization_errors([found()] * 2, [truth(), truth([[0, 0, 1, 1]] * 2, [1, 2])])
        with pytest.raises(DataError, match="guesses"):
            localization_errors([found()], [truth()], 0)


class TestErrorTypes:
    def test_by_hand(self):
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
    def test_equals_loops_and_adds_up(self, seed):
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

    def test_refuses(self):
        with pytest.raises(DataError, match="low"):
            error_types([found()], [truth()], 1, threshold=0.5, low=0.6)


class TestBootstrap:
    @settings(max_examples=40, deadline=None)
    @given(seeds)
    def test_weights_are_copies_of_images(self, seed):
        detections, targets = random_set(seed, crowds=True)
        rng = np.random.default_rng(seed)
        scores = iter(rng.permutation(1000))  # all different: copies of an image are the only ties
        detections = [
            one | {"scores": torch.tensor([float(next(scores)) for _ in one["scores"]])} for one in detections
        ]
        weights = rng.integers(0, 4, len(targets))
        copies = np.repeat(np.arange(len(targets)), weights)
        ap = [
            match([detections[i] for i in copies], [targets[i] for i in copies], label).average_precision()
            for label in (1, 2, 3)
        ]
        ap = [value for value in ap if not math.isnan(value)]
        want = np.mean(ap) if ap else np.nan
        assert MeanAP(detections, targets, [1, 2, 3])(weights) == pytest.approx(want, nan_ok=True)

    def test_resamples_are_the_same_images_for_both(self):
        # hard and easy images differ a lot, the two detectors by a constant: no doubt about the difference
        values = np.random.default_rng(0).random(50)
        got = paired_bootstrap(values, values - 0.01)
        assert got.low == pytest.approx(0.01) and got.high == pytest.approx(0.01)
        assert got.share == 1
        detections, targets = random_set(1, n_images=30)
        itself = paired_bootstrap(*[MeanAP(detections, targets, [1, 2, 3])] * 2, n=50)
        assert itself.low == itself.high == itself.difference == 0 and itself.share == 0.5

    def test_spread_is_that_of_the_mean(self):
        rng = np.random.default_rng(0)
        first, second = rng.normal(0.3, 1, 400), rng.normal(0, 1, 400)
        got = paired_bootstrap(first, second, n=4000)
        error = np.std(first - second) / np.sqrt(400)
        assert got.differences.std() == pytest.approx(error, rel=0.05)
        assert got.difference == pytest.approx(first.mean() - second.mean())
        assert got.low == pytest.approx(got.difference - 1.96 * error, abs=0.15 * error)
        assert got.high == pytest.approx(got.difference + 1.96 * error, abs=0.15 * error)

    def test_draws_with_replacement(self):
        one = np.zeros(10)
        one[0] = 10.0  # its mean is how often image 0 was drawn: binomial
        drawn = paired_bootstrap(one, np.zeros(10), n=5000).differences
        assert drawn.mean() == pytest.approx(1, abs=0.05)
        assert (drawn == 0).mean() == pytest.approx(0.9**10, abs=0.02)

    def test_same_seed_same_result(self):
        first, second = np.random.default_rng(2).random((2, 30))
        one, again, other = (paired_bootstrap(first, second, 50, seed) for seed in (7, 7, 8))
        assert (one.differences == again.differences).all()
        assert (one.differences != other.differences).any()
        assert "95% interval" in str(one)

    def test_better_detector_is_seen(self):
        _, targets = random_set(4, n_images=60)
        perfect = [found(t["boxes"], t["labels"], np.full(len(t["labels"]), 0.5)) for t in targets]
        half = [{key: value[::2] for key, value in one.items()} for one in perfect]
        got = paired_bootstrap(MeanAP(perfect, targets), MeanAP(half, targets), n=200)
        assert got.first == 1
        assert 0 < got.low < got.difference < got.high < 1
        full = evaluate_boxes(half, targets, "abc")
        assert got.second == pytest.approx(full["mAP"])  # the same classes and the same number

    def test_images_without_value_are_left_out(self):
        got = paired_bootstrap(np.array([1.0, np.nan, 0.0]), np.array([0.0, np.nan, 0.0]), n=100)
        assert got.first == 0.5 and got.second == 0
        nothing = paired_bootstrap(np.full(3, np.nan), np.full(3, np.nan), n=5)
        assert math.isnan(nothing.low)

    def test_refuses(self):
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
        for other in (MeanAP([found()], [truth([[0, 0, 1, 1]])], [2]), MeanAP([found()], [truth()], [1])):
            with pytest.raises(DataError, match="same targets"):
                paired_bootstrap(one, other)


class TestWrongInputs:
    GOOD = found([[0, 0, 1, 1], [2, 2, 3, 3]])

    @pytest.mark.parametrize(
        "changes, message",
        [
            ({"boxes": torch.zeros(2, 5)}, r"boxes of shape \(2, 5\)"),
            ({"boxes": torch.zeros(3, 4)}, "3 boxes but labels"),
            ({"labels": torch.ones(3, dtype=torch.int64)}, "2 boxes but labels"),
            ({"scores": torch.zeros(1)}, "2 boxes but scores"),
            ({"scores": torch.tensor([0.5, torch.nan])}, "score that is NaN"),
            ({"labels": torch.tensor([1, 0])}, "out of range"),
            ({"labels": torch.tensor([1, 4])}, "out of range; wanted 1 to 3"),
            ({"labels": torch.tensor([1.0, 2.0])}, "integers"),
            ({"boxes": torch.tensor([[0, 0, 1, 1], [3, 0, 2, 1.0]])}, "inverted"),
            ({"boxes": torch.tensor([[0, 0, 1, 1], [0, 1, 1, 0.0]])}, "inverted"),
            ({"boxes": torch.tensor([[0, 0, 1, 1], [0, 0, torch.nan, 1]])}, "not finite"),
            ({"boxes": torch.tensor([[0, 0, 1, 1], [0, 0, torch.inf, 1]])}, "not finite"),
        ],
    )
    def test_detections(self, changes, message):
        with pytest.raises(DataError, match=message):
            gather([found(), self.GOOD | changes], [truth(), truth()], 3)

    def test_the_image_is_named(self):
        bad = self.GOOD | {"scores": torch.tensor([0.5, torch.nan])}
        with pytest.raises(DataError, match="detections of image 1 "):
            gather([self.GOOD, bad, self.GOOD], [truth()] * 3)

    def test_targets(self):
        for bad, message in [
            (truth([[5, 0, 1, 1]]), "targets of image 0 have an inverted"),
            (truth([[0, 0, 1, 1]], [9]), "targets of image 0 have a label"),
            (truth([[0, 0, 1, 1]]) | {"difficult": torch.zeros(3)}, "difficult of shape"),
        ]:
            with pytest.raises(DataError, match=message):
                evaluate_boxes([found()], [bad], ("cat",))

    @pytest.mark.parametrize("key", ["boxes", "labels", "scores"])
    def test_missing_key(self, key):
        with pytest.raises(DataError, match=key):
            gather([{name: value for name, value in self.GOOD.items() if name != key}], [truth()])

    def test_one_dictionary_per_image(self):
        for call in (gather, coco_metrics, localization_errors, proposal_overlaps):
            with pytest.raises(DataError, match="one per image"):
                call([found()], [truth(), truth()], *([1] if call is coco_metrics else []))

    def test_labels_and_thresholds_asked_for(self):
        for wrong in ({"label": 0}, {"label": 1, "threshold": 0}, {"label": 1, "threshold": 1.5}):
            with pytest.raises(DataError):
                match([found()], [truth()], **wrong)
