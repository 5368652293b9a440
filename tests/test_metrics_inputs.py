"""What the metrics refuse, and how they say so."""

import pytest
import torch
from metric_cases import found, truth

from course_utils.errors import DataError
from course_utils.metrics import coco_metrics, evaluate_boxes, gather, localization_errors, match, proposal_overlaps

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
def test_detections(changes, message):
    with pytest.raises(DataError, match=message):
        gather([found(), GOOD | changes], [truth(), truth()], 3)


def test_the_image_is_named():
    bad = GOOD | {"scores": torch.tensor([0.5, torch.nan])}
    with pytest.raises(DataError, match="detections of image 1 "):
        gather([GOOD, bad, GOOD], [truth()] * 3)


def test_targets():
    for bad, message in [
        (truth([[5, 0, 1, 1]]), "targets of image 0 have an inverted"),
        (truth([[0, 0, 1, 1]], [9]), "targets of image 0 have a label"),
        (truth([[0, 0, 1, 1]]) | {"difficult": torch.zeros(3)}, "difficult of shape"),
    ]:
        with pytest.raises(DataError, match=message):
            evaluate_boxes([found()], [bad], ("cat",))


@pytest.mark.parametrize("key", ["boxes", "labels", "scores"])
def test_missing_key(key):
    with pytest.raises(DataError, match=key):
        gather([{name: value for name, value in GOOD.items() if name != key}], [truth()])


def test_one_dictionary_per_image():
    for call in (gather, coco_metrics, localization_errors, proposal_overlaps):
        with pytest.raises(DataError, match="one per image"):
            call([found()], [truth(), truth()], *([1] if call is coco_metrics else []))


def test_labels_and_thresholds_asked_for():
    for wrong in ({"label": 0}, {"label": 1, "threshold": 0}, {"label": 1, "threshold": 1.5}):
        with pytest.raises(DataError):
            match([found()], [truth()], **wrong)
