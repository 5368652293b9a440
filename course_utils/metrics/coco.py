"""Matching by the rule of COCO, and its twelve numbers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from course_utils.errors import DataError
from course_utils.metrics.curves import HIT, average_precision, known_mean, precision_recall
from course_utils.metrics.inputs import Boxes, Gathered, gather, rank_in_image

AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # square pixels
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True)
class CocoMatches:
    """Detections of one class, highest score first, for each of A ranges of area and T thresholds.

    Attributes
    ----------
    score, rank : ndarray
        ``(N,)``: score, and place among the detections of the same image, from 0.
    kind : ndarray
        int8 ``(A, T, N)``: `HIT`, `FALSE_ALARM` or `IGNORED`.
    n_objects : ndarray
        ``(A,)``: objects to be found in each range.
    """

    score: np.ndarray
    rank: np.ndarray
    kind: np.ndarray
    n_objects: np.ndarray


def match_coco(data: Gathered, label: int, thresholds: Sequence[float] = COCO_THRESHOLDS) -> CocoMatches:
    """Hits and false alarms of the class ``label`` by the rule of COCO, within all of `AREAS`.

    In each image the best 100 detections, highest score first, each take the object with the largest IoU among
    those not yet taken (equally good: the last). Only if there is none with IoU >= threshold, they look at objects
    that are ignored (difficult, crowd, area out of range) and are then ignored themselves; so are detections
    without an object whose own area is out of range. Difficult objects and crowds may be taken any number of times.
    Lin et al., ECCV 2014; without difficult objects, which it does not know, equals pycocotools' ``COCOeval``.
    Raises `DataError` for a label below 1 or a threshold not in (0, 1].
    """
    if label < 1 or not all(0 < threshold <= 1 for threshold in thresholds):
        raise DataError(f"Wanted a label from 1 and thresholds in (0, 1]; got {label} and {thresholds}.")
    found = np.flatnonzero(data.labels == label)
    found = found[np.lexsort((-data.scores[found], data.image[found]))]  # stable: image, then falling score
    rank = rank_in_image(data.image[found])
    found, rank = found[rank < 100], rank[rank < 100]
    image = data.image[found]
    things = np.flatnonzero(data.object_labels == label)
    area = data.object_area[things]
    neutral = np.array([data.ignored[things] | (area < low) | (area > high) for low, high in AREAS.values()])

    images, first = np.unique(image, return_index=True)
    kind = _match_coco(
        data.boxes[found],
        np.append(first, len(found)),
        data.object_boxes[things],
        np.searchsorted(data.object_image[things], images, side="left"),
        np.searchsorted(data.object_image[things], images, side="right"),
        data.crowd[things],
        data.ignored[things],
        neutral,
        np.minimum(thresholds, 1 - 1e-10),
        np.array(list(AREAS.values()), dtype=np.float64),
    )
    order = np.argsort(-data.scores[found], kind="stable")
    return CocoMatches(data.scores[found][order], rank[order], kind[:, :, order], (~neutral).sum(axis=1))


@njit(cache=True)
def _match_coco(boxes, first, objects, object_first, object_last, crowd, endless, neutral, thresholds, areas):
    """The kinds (A, T, N) of boxes (N, 4) sorted by image and score; group k of them is first[k]:first[k + 1].

    The M objects: ``crowd`` says which overlap as crowds do, ``endless`` which may be taken again and again (both
    (M,)), ``neutral`` (A, M) which are ignored.
    """
    kind = np.zeros((len(areas), len(thresholds), len(boxes)), np.int8)
    for group in range(len(first) - 1):
        begin, end = object_first[group], object_last[group]
        iou = np.zeros((first[group + 1] - first[group], end - begin))
        for d in range(len(iou)):
            x1, y1, x2, y2 = boxes[first[group] + d]
            for g in range(end - begin):
                u1, v1, u2, v2 = objects[begin + g]
                across, down = min(x2, u2) - max(x1, u1), min(y2, v2) - max(y1, v1)
                if across > 0 and down > 0:
                    shared = across * down
                    own = (x2 - x1) * (y2 - y1)
                    union = own if crowd[begin + g] else own + (u2 - u1) * (v2 - v1) - shared
                    iou[d, g] = shared / union
        for a in range(len(areas)):
            for t in range(len(thresholds)):
                taken = np.zeros(end - begin, np.bool_)
                for d in range(len(iou)):
                    chosen, passes = -1, 0
                    while chosen < 0 and passes < 2:  # first the objects that count, then the ignored ones
                        best = thresholds[t]
                        for g in range(end - begin):
                            free = not taken[g] or endless[begin + g]
                            if free and neutral[a, begin + g] == (passes == 1) and iou[d, g] >= best:
                                chosen, best = g, iou[d, g]
                        passes += 1
                    x1, y1, x2, y2 = boxes[first[group] + d]
                    own = (x2 - x1) * (y2 - y1)
                    if chosen >= 0:
                        taken[chosen] = True
                        kind[a, t, first[group] + d] = -1 if neutral[a, begin + chosen] else 1
                    elif own < areas[a, 0] or own > areas[a, 1]:
                        kind[a, t, first[group] + d] = -1
    return kind


def coco_metrics(detections: Sequence[Boxes], targets: Sequence[Boxes], n_classes: int) -> dict[str, float]:
    """COCO's twelve numbers: AP, AP50, AP75, AP_small/_medium/_large, AR1, AR10, AR100, AR_small/_medium/_large.

    AP is the mean of 101-point average precision over IoU .5, .55, ..., .95 and all classes that have objects; AR1
    is the mean recall of the best detection of each image and class, AR10 and AR100 of the best 10 and 100 (ignored
    detections are among them).
    Where pycocotools says -1 (no object), this says NaN. Errors as in `gather`.
    """
    return coco_metrics_of(gather(detections, targets, n_classes), n_classes)


def coco_metrics_of(data: Gathered, n_classes: int) -> dict[str, float]:
    """As `coco_metrics`, of what `gather` has checked already."""
    ap = np.full((n_classes, len(AREAS), len(COCO_THRESHOLDS)), np.nan)
    ar = {most: ap.copy() for most in (1, 10, 100)}
    for label in range(1, n_classes + 1):
        matches = match_coco(data, label)
        for a in np.flatnonzero(matches.n_objects):
            n_objects = matches.n_objects[a]
            for t, kind in enumerate(matches.kind[a]):
                ap[label - 1, a, t] = average_precision(*precision_recall(kind, n_objects), "101-point")
                for most, recall in ar.items():
                    recall[label - 1, a, t] = np.count_nonzero(kind[matches.rank < most] == HIT) / n_objects
    metrics = {"AP": ap[:, 0], "AP50": ap[:, 0, 0], "AP75": ap[:, 0, 5]}
    metrics |= {f"AP_{name}": ap[:, a] for a, name in enumerate(AREAS) if a}
    metrics |= {f"AR{most}": recall[:, 0] for most, recall in ar.items()}
    metrics |= {f"AR_{name}": ar[100][:, a] for a, name in enumerate(AREAS) if a}
    return {name: known_mean(values) for name, values in metrics.items()}
