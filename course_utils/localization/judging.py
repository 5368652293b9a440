"""Right or wrong, and why: class, box, both, and both in one of five guesses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torchvision.ops import box_iou

from course_utils.errors import DataError
from course_utils.metrics import Boxes, localization_errors, paired_bootstrap

THRESHOLD = 0.5


@dataclass(frozen=True)
class Judged:
    """For each picture 1 where something is right, else 0; float ``(n_images,)`` each.

    Attributes
    ----------
    label : ndarray
        The first guess has the true class.
    box : ndarray
        The guess *with the true class* has IoU >= .5 with the object: localization, the class given.
    both : ndarray
        The first guess has class and box.
    five : ndarray
        One of the first five has both.
    iou : ndarray
        Not 0 or 1: the IoU that decides ``box``.

    A picture without an object (of the classes that count) is NaN in all of them.
    """

    label: np.ndarray
    box: np.ndarray
    both: np.ndarray
    five: np.ndarray
    iou: np.ndarray


NAMES = {"label": "class", "box": "box, the class given", "both": "class and box", "five": "both in five guesses"}


def judge(detections: Sequence[Boxes], targets: Sequence[Boxes]) -> Judged:
    """Judge the guesses of every picture against its one object.

    Parameters
    ----------
    detections : sequence of dict
        As in `course_utils.metrics`; the best score is the first guess. There is one for each class: without a guess
        of the true class the box is wrong.
    targets : sequence of dict
        At most one object in each picture.

    Returns
    -------
    Judged
        Raises `DataError` for a picture with several objects, or several guesses of its class.
    """
    iou = np.full(len(targets), np.nan)
    for i, (found, target) in enumerate(zip(detections, targets, strict=True)):
        given = found["boxes"][found["labels"] == target["labels"]] if len(target["labels"]) == 1 else []
        if max(len(target["boxes"]), len(given)) > 1:
            raise DataError(
                f"Picture {i} has {len(target['boxes'])} objects and {len(given)} guesses of their class; wanted at "
                "most one of each: LargestObject gives such pictures, Localization such guesses."
            )
        if len(target["boxes"]):
            iou[i] = box_iou(given, target["boxes"]).item() if len(given) else 0
    right = {
        "label": 1 - localization_errors(detections, targets, guesses=1, threshold=0),
        "both": 1 - localization_errors(detections, targets, guesses=1, threshold=THRESHOLD),
        "five": 1 - localization_errors(detections, targets, guesses=5, threshold=THRESHOLD),
    }
    return Judged(box=np.where(np.isnan(iou), np.nan, iou >= THRESHOLD), iou=iou, **right)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean of one value per picture, under resampling of the pictures."""
    compared = paired_bootstrap(values, np.zeros_like(values))
    return compared.low, compared.high


def shares_of(judged: Judged) -> dict[str, list[float]]:
    """Right classes, boxes (the class given), both, and both in five guesses: ``{"box": [share, low, high], ...}``.

    The 95 % intervals are those under resampling of the pictures.
    """
    return {name: [float(np.nanmean(values)), *mean_interval(values)] for name, values in _by_name(judged)}


def gains(ours: Judged, theirs: Judged) -> dict[str, list[float]]:
    """For each of `NAMES` the difference of the shares and its 95 % interval, the pictures resampled for both alike."""
    found = {}
    for (name, values), (_, others) in zip(_by_name(ours), _by_name(theirs)):
        gained = paired_bootstrap(values, others)
        found[name] = [gained.difference, gained.low, gained.high]
    return found


def _by_name(judged: Judged) -> list[tuple[str, np.ndarray]]:
    return [(name, getattr(judged, name)) for name in NAMES]
