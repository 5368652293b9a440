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

from course_utils.metrics import coco_metrics


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


@settings(max_examples=60, deadline=None)
@given(seeds, st.booleans(), st.sampled_from([60, 200, 500]))
def test_equals_pycocotools(seed, crowds, size):
    detections, targets = random_set(seed, crowds=crowds, size=size, n_images=12)
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
