"""COCO's twelve numbers against pycocotools."""

import contextlib
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_cases import found, random_set, seeds, truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from course_utils.metrics import HIT, IGNORED, coco_metrics, gather, match_coco, match_voc


def pycoco(detections, targets, n_classes):
    """COCOeval's twelve numbers.

    It ignores objects for their area or as crowds only, and what is ignored for its area it lets be found once. So a
    difficult object becomes as many copies, with an area out of every range, as the image has detections.
    """
    annotations = []
    for i, target in enumerate(targets):
        crowd = target.get("iscrowd", torch.zeros(len(target["labels"]))).tolist()
        every = zip(target["boxes"].tolist(), target["labels"].tolist(), target["difficult"].tolist(), crowd)
        for (x1, y1, x2, y2), label, difficult, many in every:
            box = {"id": len(annotations) + 1, "image_id": i + 1, "category_id": label, "iscrowd": int(many)}
            box |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            if difficult and not many:
                copies = len(detections[i]["boxes"])
                annotations += [box | {"id": box["id"] + k, "area": 1e12} for k in range(copies)]
            else:
                annotations.append(box)
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


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans(), st.sampled_from([60, 200, 500]), st.sampled_from([0, 0.2]))
def test_equals_pycocotools(seed, crowds, size, difficult):
    detections, targets = random_set(seed, crowds=crowds, size=size, n_images=12, difficult=difficult)
    if not sum(len(one["boxes"]) for one in detections):
        return  # pycocotools cannot load an empty list
    got = coco_metrics(detections, targets, 3)
    areas = ("_small", "_medium", "_large")
    ap, ar = [f"AP{area}" for area in areas], [f"AR{area}" for area in areas]
    assert list(got) == ["AP", "AP50", "AP75", *ap, "AR1", "AR10", "AR100", *ar]
    np.testing.assert_allclose(list(got.values()), pycoco(detections, targets, 3), atol=1e-9)


def test_equals_pycocotools_beyond_100_detections():
    detections, targets = random_set(5, n_images=3, n_classes=1, most=80, crowds=True)
    assert max(len(one["boxes"]) for one in detections) > 100
    np.testing.assert_allclose(
        list(coco_metrics(detections, targets, 1).values()), pycoco(detections, targets, 1), atol=1e-9
    )


def test_a_crowd_swallows_many_detections():
    target = truth([[0, 0, 100, 100], [200, 0, 210, 10]], iscrowd=[True, False])
    boxes = [[0, 0, 20, 20], [30, 30, 50, 50], [60, 60, 90, 90], [200, 0, 210, 10]]
    assert coco_metrics([found(boxes)], [target], 1)["AP"] == pytest.approx(1)


def test_areas_can_be_stated():
    target = truth([[0, 0, 100, 100]]) | {"area": torch.tensor([500.0])}  # a thin thing in a large box
    got = coco_metrics([found([[0, 0, 100, 100]])], [target], 1)
    assert got["AP_small"] == pytest.approx(1) and math.isnan(got["AP_large"])


def test_a_difficult_object_swallows_many_detections():
    target = truth([[0, 0, 10, 10], [50, 50, 60, 60]], difficult=[True, False])
    detections = [found([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])]
    data = gather(detections, [target])
    assert match_coco(data, 1, [0.5]).kind[0, 0].tolist() == [IGNORED, IGNORED, HIT]
    assert match_voc(data, 1).kind.tolist() == [IGNORED, IGNORED, HIT]
    assert coco_metrics(detections, [target], 1)["AP50"] == pytest.approx(1)


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_another_detection_of_a_difficult_object_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    detections, targets = random_set(seed, difficult=0.5)
    scores = iter(rng.permutation(np.arange(1, 1000)))  # all different: the score tells which detection it is
    detections = [one | {"scores": torch.tensor([float(next(scores)) for _ in one["scores"]])} for one in detections]
    data = gather(detections, targets)
    ignored = set()
    for label in (1, 2, 3):
        got = match_coco(data, label, [0.5])
        ignored |= set(got.score[got.kind[0, 0] == IGNORED].tolist())  # of all areas: only difficult objects do that
    more = []
    for one in detections:
        again = [k for k, score in enumerate(one["scores"].tolist()) if score in ignored for _ in range(2)]
        copies = {key: value[again] for key, value in one.items()}
        copies["scores"] = copies["scores"] * torch.tensor(rng.random(len(again)), dtype=torch.float32)  # lower
        more.append({key: torch.cat([value, copies[key]]) for key, value in one.items()})
    assert sum(len(one["scores"]) for one in more) == len(data.scores) + 2 * len(ignored)
    np.testing.assert_equal(coco_metrics(more, targets, 3)["AP50"], coco_metrics(detections, targets, 3)["AP50"])
