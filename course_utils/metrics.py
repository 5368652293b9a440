"""Detections against the truth: matching, average precision, proposals' recall, error types, intervals.

Detections are one dictionary ``{"boxes", "labels", "scores"}`` per image, targets those of
`course_utils.datasets.base.make_target`: boxes ``(N, 4)`` as x1 y1 x2 y2 on continuous pixel edges, labels from 1.
A detection matches at IoU >= threshold. All results lie between 0 and 1; what is undefined (a class without
objects) is NaN and left out of every mean. Difficult objects and crowds count neither for nor against a detector.
Inputs are never changed; inputs that are not as said above raise one `DataError` that names the image.

Two rules of matching stand here, because two are in use:

|                 | VOC (`match_voc`)                   | COCO (`match_coco`)                                   |
|-----------------|-------------------------------------|-------------------------------------------------------|
| a detection     | takes the object with the largest   | takes the object with the largest IoU among those     |
|                 | IoU; if taken before: a false alarm | still free                                            |
| ignored objects | compete like all others             | only if no other object is free and overlaps enough   |
| crowds          | are like difficult objects          | overlap = intersection / detection's area; many hits  |
| detections      | all                                 | the best 100 of an image and class                    |
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit

from course_utils.errors import DataError

HIT, FALSE_ALARM, IGNORED = 1, 0, -1
AREAS = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}  # square pixels
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)
ERROR_TYPES = ("correct", "localization", "similar", "other", "background")

Boxes = dict[str, torch.Tensor]  # the detections or the target of one image


@dataclass(frozen=True)
class Gathered:
    """Detections and objects of all images, one after the other; made and checked by `gather`.

    Attributes
    ----------
    n_images : int
    boxes, labels, scores : ndarray
        ``(N, 4)`` float64, ``(N,)`` int64, ``(N,)`` float64: the detections.
    image, row : ndarray
        ``(N,)``: image of a detection, and its row in the dictionary of that image.
    object_boxes, object_labels, object_image, object_row, object_area : ndarray
        The same for ``M`` objects; the area in square pixels is the target's ``area``, or else that of the box.
    ignored, crowd : ndarray
        bool ``(M,)``: difficult or crowd; crowd.
    """

    n_images: int
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    image: np.ndarray
    row: np.ndarray
    object_boxes: np.ndarray
    object_labels: np.ndarray
    object_image: np.ndarray
    object_row: np.ndarray
    object_area: np.ndarray
    ignored: np.ndarray
    crowd: np.ndarray


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


# ---------------------------------------------------------------------------------------------------------- input


def gather(detections: Sequence[Boxes], targets: Sequence[Boxes], n_classes: int | None = None) -> Gathered:
    """Check detections and targets and lay them out in flat arrays, which are copies.

    Raises `DataError` if the two lists differ in length, a key is missing, lengths within an image differ, a box is
    not finite or inverted (x2 < x1 or y2 < y1), a score is NaN, or a label is not an integer in 1..``n_classes``
    (None: no upper limit).
    """
    _same_length(detections, targets)
    boxes, image, row = _boxes(detections, "detections")
    labels = _labels(detections, "detections", image, n_classes)
    scores = _column(detections, "scores", "detections", image).astype(np.float64)
    _refuse(np.isnan(scores), image, "detections", "a score that is NaN; wanted numbers")

    object_boxes, object_image, object_row = _boxes(targets, "targets")
    object_labels = _labels(targets, "targets", object_image, n_classes)
    difficult = _column(targets, "difficult", "targets", object_image, 0).astype(bool)
    crowd = _column(targets, "iscrowd", "targets", object_image, 0).astype(bool)
    area = _column(targets, "area", "targets", object_image, np.nan).astype(np.float64)
    area = np.where(np.isnan(area), _area(object_boxes), area)
    return Gathered(
        len(targets), boxes, labels, scores, image, row,
        object_boxes, object_labels, object_image, object_row, area, difficult | crowd, crowd,
    )  # fmt: skip


def _same_length(first: Sequence, targets: Sequence) -> None:
    if len(first) != len(targets):
        raise DataError(f"There are {len(first)} entries for {len(targets)} targets; wanted one per image.")


def _array(value: object) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def _refuse(bad: np.ndarray, image: np.ndarray, what: str, why: str) -> None:
    if bad.any():
        raise DataError(f"The {what} of image {image[np.argmax(bad)]} have {why}.")


def _boxes(images: Sequence[Boxes], what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All boxes ``(N, 4)``, their image ``(N,)`` and row ``(N,)``."""
    parts = []
    for i, one in enumerate(images):
        if not isinstance(one, dict) or "boxes" not in one:
            raise DataError(f"The {what} of image {i} have no 'boxes'; wanted a dictionary of tensors.")
        part = _array(one["boxes"])
        if part.size and (part.ndim != 2 or part.shape[1] != 4):
            raise DataError(f"The {what} of image {i} have boxes of shape {part.shape}; wanted (N, 4).")
        parts.append(part.reshape(-1, 4))
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    boxes = np.concatenate([np.zeros((0, 4)), *parts]).astype(np.float64)
    image = np.repeat(np.arange(len(parts)), lengths)
    row = np.arange(len(boxes)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    _refuse(~np.isfinite(boxes).all(axis=1), image, what, "a box that is not finite")
    _refuse((boxes[:, 2:] < boxes[:, :2]).any(axis=1), image, what, "an inverted box; wanted x1 <= x2, y1 <= y2")
    return boxes, image, row


def _column(
    images: Sequence[Boxes], key: str, what: str, image: np.ndarray, default: float | None = None
) -> np.ndarray:
    """One number per box; ``default`` stands where an image lacks the key (None: it must not)."""
    lengths = np.bincount(image, minlength=len(images))
    parts = []
    for i, one in enumerate(images):
        if key not in one and default is None:
            raise DataError(f"The {what} of image {i} have no {key!r}; wanted one per box.")
        part = _array(one[key]) if key in one else np.full(lengths[i], default)
        if part.shape != (lengths[i],):
            raise DataError(f"The {what} of image {i} have {lengths[i]} boxes but {key} of shape {part.shape}.")
        if part.size:
            parts.append(part)
    return np.concatenate(parts) if parts else np.zeros(0)


def _labels(images: Sequence[Boxes], what: str, image: np.ndarray, n_classes: int | None) -> np.ndarray:
    labels = _column(images, "labels", what, image)
    if labels.size and labels.dtype.kind not in "iu":
        raise DataError(f"The {what} have labels of type {labels.dtype}; wanted integers.")
    labels = labels.astype(np.int64)
    highest = np.iinfo(np.int64).max if n_classes is None else n_classes
    span = "from 1 (0 is background)" if n_classes is None else f"1 to {n_classes}"
    _refuse((labels < 1) | (labels > highest), image, what, f"a label out of range; wanted {span}")
    return labels


# ------------------------------------------------------------------------------------------------------- overlaps


def _area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes ``(..., 4)`` that broadcast; 0 where the union is empty."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(size, 0, None).prod(axis=-1)
    union = _area(a) + _area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def best_overlap(
    boxes: np.ndarray, image: np.ndarray, object_boxes: np.ndarray, object_image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of N boxes: largest IoU with an object of its image ``(N,)``, and which object ``(N,)``.

    The first of equally good objects; -1 if none overlaps. ``object_image`` must be in rising order.
    """
    start = np.searchsorted(object_image, image, side="left")
    count = np.searchsorted(object_image, image, side="right") - start
    box = np.repeat(np.arange(len(boxes)), count)  # all pairs within an image
    thing = np.arange(len(box)) + np.repeat(start - np.cumsum(count) + count, count)
    iou = _iou(boxes[box], object_boxes[thing])
    best = np.zeros(len(boxes))
    np.maximum.at(best, box, iou)
    which = np.full(len(boxes), -1)
    winners = np.flatnonzero((iou > 0) & (iou == best[box]))[::-1]  # backwards: the first is written last
    which[box[winners]] = thing[winners]
    return best, which


# ------------------------------------------------------------------------------------ matching by the rule of VOC


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


def precision_recall(kind: np.ndarray, n_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection that is not ignored, two arrays ``(N,)``.

    ``kind`` holds `HIT`, `FALSE_ALARM` or `IGNORED`, highest score first. Recall = hits / ``n_objects`` (NaN if that
    is 0), precision = hits / (hits + false alarms).
    """
    kind = np.asarray(kind)
    hits = np.cumsum(kind[kind != IGNORED] == HIT)
    recall = hits / n_objects if n_objects else np.full(len(hits), np.nan)
    return recall, hits / np.arange(1, len(hits) + 1)


def average_precision(recall: np.ndarray, precision: np.ndarray, method: str = "all-point") -> float:
    """Area under the curve of precision over recall, whose points are ``(N,)`` and ``(N,)``, highest score first.

    All three methods first give each recall the best precision at this recall *or a higher one*:

    - ``"all-point"``: area under the steps (VOC from 2010 on);
    - ``"11-point"``: mean at recall 0, .1, ..., 1 (VOC up to 2009); reached means within 1e-9;
    - ``"101-point"``: mean at recall 0, .01, ..., 1 (COCO); compared without tolerance, as pycocotools does.

    No points give 0, recall that is NaN gives NaN. Raises `DataError` for other methods, differing lengths, recall
    that falls, or values outside 0..1.
    """
    recall, precision = np.asarray(recall, float), np.asarray(precision, float)
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise DataError(f"Recall {recall.shape} and precision {precision.shape} must be two equally long rows.")
    if np.isnan(recall).any():
        return float("nan")
    both = np.concatenate([recall, precision])
    if not ((both >= 0) & (both <= 1)).all() or (np.diff(recall) < 0).any():
        raise DataError("Recall and precision must lie in 0..1, and recall must not fall; sort by falling score.")
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if method == "all-point":
        return float(np.diff(recall, prepend=0.0) @ best)
    if method == "11-point":
        reached = np.searchsorted(recall, np.linspace(0, 1, 11) - 1e-9)
    elif method == "101-point":
        reached = np.searchsorted(recall, np.linspace(0, 1, 101))
    else:
        raise DataError(f"There is no method {method!r}; choose all-point, 11-point or 101-point.")
    return float(np.append(best, 0.0)[reached].mean())


# ----------------------------------------------------------------------------------- matching by the rule of COCO


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
    without an object whose own area is out of range. Lin et al., ECCV 2014; equals pycocotools' ``COCOeval``.
    Raises `DataError` for a label below 1 or a threshold not in (0, 1].
    """
    if label < 1 or not all(0 < threshold <= 1 for threshold in thresholds):
        raise DataError(f"Wanted a label from 1 and thresholds in (0, 1]; got {label} and {thresholds}.")
    found = np.flatnonzero(data.labels == label)
    found = found[np.lexsort((-data.scores[found], data.image[found]))]  # stable: image, then falling score
    rank = np.arange(len(found)) - np.searchsorted(data.image[found], data.image[found])
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
        neutral,
        np.minimum(thresholds, 1 - 1e-10),
        np.array(list(AREAS.values()), dtype=np.float64),
    )
    order = np.argsort(-data.scores[found], kind="stable")
    return CocoMatches(data.scores[found][order], rank[order], kind[:, :, order], (~neutral).sum(axis=1))


@njit(cache=True)
def _match_coco(boxes, first, objects, object_first, object_last, crowd, neutral, thresholds, areas):
    """The kinds (A, T, N) of boxes (N, 4) sorted by image and score; group k of them is first[k]:first[k + 1]."""
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
                            free = not taken[g] or crowd[begin + g]
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
    is the mean recall of the best detection of each image and class, AR10 and AR100 of the best 10 and 100.
    Where pycocotools says -1 (no object), this says NaN. Errors as in `gather`.
    """
    return _coco_metrics(gather(detections, targets, n_classes), n_classes)


def _coco_metrics(data: Gathered, n_classes: int) -> dict[str, float]:
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
    return {name: _mean(values) for name, values in metrics.items()}


def _mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is left."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


# -------------------------------------------------------------------------------------------------- the whole set


def evaluate_boxes(
    detections: Sequence[Boxes],
    targets: Sequence[Boxes],
    classes: Sequence[str],
    *,
    min_objects: int = 30,
    match: Callable[[Gathered, int, float], Matches] = match_voc,
) -> dict:
    """Everything that a table of results needs.

    Parameters
    ----------
    detections, targets : sequence of dict
        One per image, as the module says.
    classes : sequence of str
        Label k means ``classes[k - 1]``.
    min_objects : int
        mAP is the mean over classes with at least so many objects that are not ignored.
    match : callable
        The rule of matching at IoU .5; `match_voc` or one's own.

    Returns
    -------
    dict
        ``AP50`` (class: all-point average precision at IoU .5), ``n`` (class: objects that are not ignored), ``mAP``,
        ``mAP_classes`` (the classes in it) and ``COCO`` (see `coco_metrics`). NaN where there is nothing to find.
        Errors as in `gather`.
    """
    data = gather(detections, targets, len(classes))
    matches = {name: match(data, label, 0.5) for label, name in enumerate(classes, 1)}
    ap = {name: one.average_precision() for name, one in matches.items()}
    n = {name: one.n_objects for name, one in matches.items()}
    counted = [name for name in classes if n[name] >= max(min_objects, 1)]
    mean = _mean([ap[name] for name in counted])
    return {"AP50": ap, "n": n, "mAP": mean, "mAP_classes": counted, "COCO": _coco_metrics(data, len(classes))}


# ------------------------------------------------------------------------------------------------------ proposals


@dataclass(frozen=True)
class Overlaps:
    """How well proposals cover each of M objects: ``iou``, ``labels`` and ``image``, each ``(M,)``."""

    iou: np.ndarray
    labels: np.ndarray
    image: np.ndarray

    def recall(self, thresholds: float | Sequence[float]) -> np.ndarray:
        """Share of objects covered with IoU >= each threshold; NaN if there is no object."""
        reached = self.iou[:, None] >= np.atleast_1d(thresholds)
        recall = reached.mean(axis=0) if len(self.iou) else np.full(reached.shape[1], np.nan)
        return recall.reshape(np.shape(thresholds))

    def average_recall(self) -> float:
        """Twice the area under recall between IoU .5 and 1, which is 2 mean max(IoU - .5, 0).

        Hosang et al., PAMI 2016, section 5 (they match one to one and count difficult objects too).
        """
        return _mean(2 * np.maximum(self.iou - 0.5, 0))

    def abo(self) -> dict[int, float]:
        """Average best overlap of each label. Uijlings et al., IJCV 2013, section 5."""
        return {int(label): _mean(self.iou[self.labels == label]) for label in np.unique(self.labels)}

    def mabo(self) -> float:
        """Mean of `abo` over the labels."""
        return _mean(list(self.abo().values()))


def proposal_overlaps(
    proposals: Sequence,
    targets: Sequence[Boxes],
    n: int | None = None,
    *,
    one_to_one: bool = False,
    include_difficult: bool = False,
) -> Overlaps:
    """The IoU of each object with the best of the first ``n`` proposals of its image.

    Parameters
    ----------
    proposals : sequence
        One per image: boxes ``(N, 4)`` or a dictionary with ``boxes``, the best first.
    n : int, optional
        Proposals taken of each image; None takes all.
    one_to_one : bool
        A proposal serves one object only: the pair with the largest IoU is taken out, then the next (Hosang et al.).
    include_difficult : bool
        Count difficult objects too. Crowds never count.

    Errors as in `gather`, and a negative ``n``.
    """
    _same_length(proposals, targets)
    if n is not None and n < 0:
        raise DataError(f"n is {n}; wanted a number of proposals, or None for all.")
    wrapped = [one if isinstance(one, dict) else {"boxes": one} for one in proposals]
    boxes, image, row = _boxes(wrapped, "proposals")
    data = gather(
        [{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)}] * len(targets), targets
    )
    things = np.flatnonzero(~(data.crowd if include_difficult else data.ignored))
    if n is not None:
        boxes, image = boxes[row < n], image[row < n]

    object_image = data.object_image[things]
    best = np.zeros(len(things))
    for i in np.unique(object_image):
        own = np.arange(*np.searchsorted(object_image, [i, i + 1]))
        near = boxes[slice(*np.searchsorted(image, [i, i + 1]))]
        if not len(near):
            continue
        iou = _iou(data.object_boxes[things[own], None], near[None])  # (objects, proposals)
        if not one_to_one:
            best[own] = iou.max(axis=1)
            continue
        for _ in range(min(iou.shape)):
            thing, box = np.unravel_index(np.argmax(iou), iou.shape)
            best[own[thing]] = max(iou[thing, box], 0)
            iou[thing], iou[:, box] = -1, -1
    return Overlaps(best, data.object_labels[things], object_image)


# ---------------------------------------------------------------------------------------------------- localization


def localization_errors(
    detections: Sequence[Boxes], targets: Sequence[Boxes], guesses: int = 5, threshold: float = 0.5
) -> np.ndarray:
    """Error of each image in ImageNet's localization task, float ``(n_images,)``; its mean is the error.

    0 if one of the ``guesses`` detections with the highest scores has the image's class and IoU >= ``threshold``
    with any of its objects, else 1. ``guesses=1`` is top-1; ``threshold=0`` is the classification error, where boxes
    do not matter. The image's class is that of its objects; difficult ones do not count, and an image without
    objects is NaN. Russakovsky et al., IJCV 2015, section 4.2.

    Raises `DataError` as `gather` does, for objects of several classes in one image, fewer than one guess, or a
    threshold outside 0..1.
    """
    data = gather(detections, targets)
    if guesses < 1 or not 0 <= threshold <= 1:
        raise DataError(f"Wanted guesses >= 1 and threshold in 0..1; got {guesses} and {threshold}.")
    things = np.flatnonzero(~data.ignored)
    label = np.zeros(data.n_images, np.int64)  # 0: no object
    label[data.object_image[things]] = data.object_labels[things]
    several = data.object_labels[things] != label[data.object_image[things]]
    _refuse(several, data.object_image[things], "targets", "objects of several classes; wanted one class per image")

    order = np.lexsort((-data.scores, data.image))
    image = data.image[order]
    found = order[np.arange(len(order)) - np.searchsorted(image, image) < guesses]
    found = found[data.labels[found] == label[data.image[found]]]
    iou, _ = best_overlap(data.boxes[found], data.image[found], data.object_boxes[things], data.object_image[things])
    errors = np.where(label > 0, 1.0, np.nan)
    errors[data.image[found[iou >= threshold]]] = 0
    return errors


# ----------------------------------------------------------------------------------------------------- error types


@dataclass(frozen=True)
class ErrorTypes:
    """What kind of mistake each detection of one class is, and which objects were missed.

    Attributes
    ----------
    matches : Matches
        The detections, highest score first.
    kind : ndarray of str
        ``(N,)``: one of `ERROR_TYPES`, or ``"ignored"``.
    missed : ndarray
        int64 ``(K, 2)``: image and row in its target of every object that no detection hit.
    """

    matches: Matches
    kind: np.ndarray
    missed: np.ndarray

    def counts(self, n: int | None = None) -> dict[str, int]:
        """How many of each type are among the ``n`` best detections that are not ignored.

        None takes as many as there are objects to be found, as Redmon et al. (CVPR 2016, section 4.2) do.
        """
        kind = self.kind[self.kind != "ignored"][: self.matches.n_objects if n is None else n]
        return {name: int((kind == name).sum()) for name in ERROR_TYPES}


def error_types(
    detections: Sequence[Boxes],
    targets: Sequence[Boxes],
    label: int,
    similar: Sequence[int] = (),
    threshold: float = 0.5,
    low: float = 0.1,
) -> ErrorTypes:
    """Sort the false alarms of the class ``label`` by their cause; ``similar`` are the labels easily confused with it.

    The first that holds: *localization*, IoU >= ``low`` with an object of the class (also a second detection of an
    object found before); *similar* or *other*, IoU >= ``low`` with an object of a similar or of any other class;
    *background*. Difficult objects count here as what they are. Hoiem et al., ECCV 2012, section 3.1.
    Errors as in `gather`, and thresholds not 0 < ``low`` <= ``threshold`` <= 1.
    """
    data = gather(detections, targets)
    if not 0 < low <= threshold:
        raise DataError(f"Wanted 0 < low <= threshold; got low {low} and threshold {threshold}.")
    matches = match_voc(data, label, threshold)
    start = np.searchsorted(data.image, matches.image)  # first detection of the image
    boxes = data.boxes[start + matches.row]

    def near(wanted: np.ndarray) -> np.ndarray:
        """Which detections overlap an object of those wanted (M,) by ``low``."""
        return best_overlap(boxes, matches.image, data.object_boxes[wanted], data.object_image[wanted])[0] >= low

    own, alike = data.object_labels == label, np.isin(data.object_labels, list(similar))
    kind = np.select(
        [matches.kind == IGNORED, matches.kind == HIT, near(own), near(alike & ~own), near(~alike & ~own)],
        ["ignored", "correct", "localization", "similar", "other"],
        "background",
    )
    hits = matches.kind == HIT
    found = set(zip(matches.image[hits].tolist(), matches.object[hits].tolist()))
    wanted = own & ~data.ignored
    places = zip(data.object_image[wanted].tolist(), data.object_row[wanted].tolist())
    missed = np.array([place for place in places if place not in found], np.int64).reshape(-1, 2)
    return ErrorTypes(matches, kind, missed)


# ------------------------------------------------------------------------------------------------------- intervals


@dataclass(frozen=True)
class Comparison:
    """Two detectors on the same images.

    Attributes
    ----------
    first, second, difference : float
        Their values on all images, and first - second.
    low, high : float
        The interval of the difference.
    share : float
        Share of the resamples in which the first is better (equal: half).
    level : float
        What share of the resamples the interval holds.
    differences : ndarray
        ``(n,)``: the difference in each resample.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    share: float
    level: float
    differences: np.ndarray

    def __str__(self) -> str:
        return (
            f"{self.first:.3f} - {self.second:.3f} = {self.difference:+.3f}, "
            f"{self.level:.0%} interval {self.low:+.3f} to {self.high:+.3f}"
        )


class MeanAP:
    """Mean all-point AP as a function of how often each image counts: what `paired_bootstrap` resamples.

    Parameters
    ----------
    detections, targets : sequence of dict
        As the module says.
    labels : sequence of int, optional
        Classes in the mean; None takes those with at least ``min_objects`` objects that are not ignored.
    threshold : float
        A detection matches at IoU >= threshold.

    Notes
    -----
    Images do not influence each other's matching, so one matching serves all resamples. An image that counts twice
    is the same as a copy of it, but for scores that are equal within or across images.
    """

    def __init__(
        self,
        detections: Sequence[Boxes],
        targets: Sequence[Boxes],
        labels: Sequence[int] | None = None,
        *,
        threshold: float = 0.5,
        min_objects: int = 30,
    ) -> None:
        data = gather(detections, targets)
        if labels is None:
            found, counts = np.unique(data.object_labels[~data.ignored], return_counts=True)
            labels = found[counts >= min_objects]
        self.labels = [int(label) for label in labels]
        self.n_images = data.n_images
        self.matches = [match_voc(data, label, threshold) for label in self.labels]
        self._kept = [one.kind != IGNORED for one in self.matches]
        self._image = [one.image[kept] for one, kept in zip(self.matches, self._kept)]
        self._hit = [one.kind[kept] == HIT for one, kept in zip(self.matches, self._kept)]

    def __len__(self) -> int:
        return self.n_images

    def __call__(self, weights: np.ndarray) -> float:
        """Mean AP if image i counts ``weights[i]`` times, integers ``(n_images,)``; NaN if there is no object."""
        ap = []
        for matches, image, hit in zip(self.matches, self._image, self._hit):
            n_objects = weights @ matches.objects_per_image
            if n_objects:
                weight = weights[image]
                hits = np.cumsum(weight * hit)
                precision = hits / np.maximum(np.cumsum(weight), 1)
                ap.append(average_precision(hits / n_objects, precision))
        return _mean(ap)


def paired_bootstrap(
    first: "MeanAP | np.ndarray",
    second: "MeanAP | np.ndarray",
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Is the first detector better than the second, or were it the images?

    Draws as many images as there are, with replacement, ``n`` times; both detectors are measured on the same draw,
    so that what makes an image hard for both cancels out. The interval holds the middle ``level`` of the
    differences. Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Parameters
    ----------
    first, second : MeanAP, or array (n_images,)
        The two detectors on the same images: as `MeanAP`, or as one value per image whose mean is compared (such as
        `localization_errors`); NaN leaves an image out.
    n, seed : int
        Number of draws, and where the random numbers start; the same seed gives the same result.
    level : float
        Between 0 and 1.

    Raises `DataError` if the two do not have the same number of images, or the same classes and objects.
    """
    one, other = (what if isinstance(what, MeanAP) else _MeanOfImages(what) for what in (first, second))
    if len(one) != len(other) or not len(one):
        raise DataError(f"One detector saw {len(one)} images, the other {len(other)}; wanted the same, at least 1.")
    if n < 1 or not 0 < level < 1:
        raise DataError(f"Wanted n >= 1 and level between 0 and 1; got {n} and {level}.")
    if isinstance(one, MeanAP) and isinstance(other, MeanAP):
        same = one.labels == other.labels and all(
            np.array_equal(a.objects_per_image, b.objects_per_image) for a, b in zip(one.matches, other.matches)
        )
        if not same:
            raise DataError("The two detectors were measured on other classes or objects; wanted the same targets.")
    rng = np.random.default_rng(seed)
    differences = np.empty(n)
    for k in range(n):
        weights = np.bincount(rng.integers(len(one), size=len(one)), minlength=len(one))
        differences[k] = one(weights) - other(weights)
    once = np.ones(len(one), np.int64)
    known = differences[~np.isnan(differences)]
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (np.nan, np.nan)
    share = _mean((known > 0) + 0.5 * (known == 0))
    a, b = one(once), other(once)
    return Comparison(a, b, a - b, float(low), float(high), share, level, differences)


class _MeanOfImages:
    """The mean of one value per image, as a function of how often each image counts."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = _array(values).astype(np.float64)
        if self.values.ndim != 1:
            raise DataError(f"Wanted one value per image; got an array of shape {self.values.shape}.")
        self.known = ~np.isnan(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __call__(self, weights: np.ndarray) -> float:
        weights = weights[self.known]
        return float(weights @ self.values[self.known] / weights.sum()) if weights.any() else float("nan")
