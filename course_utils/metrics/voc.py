"""Matching by the rule of PASCAL VOC."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.errors import DataError
from course_utils.metrics.curves import FALSE_ALARM, HIT, IGNORED, average_precision, precision_recall
from course_utils.metrics.inputs import Boxes, Gathered, gather
from course_utils.metrics.overlaps import best_overlap


@dataclass(frozen=True)
class Matches:
    """Detections of one class, highest score first, and what became of each.

    Attributes
    ----------
    score, kind, image, row : ndarray
        ``(N,)``: score; `HIT`, `FALSE_ALARM` or `IGNORED`; image; row in that image's detections.
    iou, object : ndarray
        ``(N,)``: largest IoU with an object of the class, and that object's row in the target (-1: none overlaps).
    objects_per_image : ndarray
        int64 ``(n_images,)``: objects that have to be found.
    """

    score: np.ndarray
    kind: np.ndarray
    image: np.ndarray
    row: np.ndarray
    iou: np.ndarray
    object: np.ndarray
    objects_per_image: np.ndarray

    @property
    def n_objects(self) -> int:
        """Number of objects that have to be found: neither difficult nor a crowd."""
        return int(self.objects_per_image.sum())

    def average_precision(self, method: str = "all-point") -> float:
        """As the function `average_precision`; NaN if there is no object to be found."""
        if not self.n_objects:
            return float("nan")
        return average_precision(*precision_recall(self.kind, self.n_objects), method)


def match(detections: Sequence[Boxes], targets: Sequence[Boxes], label: int, threshold: float = 0.5) -> Matches:
    """Hits and false alarms of one class by the rule of PASCAL VOC; see `match_voc`."""
    return match_voc(gather(detections, targets), label, threshold)


def match_voc(data: Gathered, label: int, threshold: float = 0.5) -> Matches:
    """Hits and false alarms of the class ``label`` by the rule of PASCAL VOC.

    Detections of all images, highest score first (equal scores: in their given order), each take the object with
    the largest IoU. Below ``threshold``: false alarm. Otherwise, if the object is difficult: ignored; if nobody
    took it before: hit; else false alarm, even if another object would have been free.
    Everingham et al., IJCV 2010, section 4.2. Raises `DataError` for a label below 1 or a threshold not in (0, 1].
    """
    if label < 1 or not 0 < threshold <= 1:
        raise DataError(f"Wanted a label from 1 and a threshold in (0, 1]; got {label} and {threshold}.")
    found = np.flatnonzero(data.labels == label)
    found = found[np.argsort(-data.scores[found], kind="stable")]
    things = np.flatnonzero(data.object_labels == label)
    iou, best = best_overlap(data.boxes[found], data.image[found], data.object_boxes[things], data.object_image[things])

    kind = np.full(len(found), FALSE_ALARM)
    close = np.flatnonzero(iou >= threshold)
    first = np.unique(best[close], return_index=True)[1]  # of the detections that chose the same object
    kind[close[first]] = HIT
    kind[close[data.ignored[things][best[close]]]] = IGNORED

    wanted = data.object_image[things][~data.ignored[things]]
    row = np.append(data.object_row[things], -1)[best]  # best is -1 where there is no object
    objects_per_image = np.bincount(wanted, minlength=data.n_images)
    return Matches(data.scores[found], kind, data.image[found], data.row[found], iou, row, objects_per_image)
