"""Detections and targets of a whole set, checked and laid out in flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from course_utils.errors import DataError
from course_utils.metrics.overlaps import box_area

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


def gather(detections: Sequence[Boxes], targets: Sequence[Boxes], n_classes: int | None = None) -> Gathered:
    """Check detections and targets and lay them out in flat arrays, which are copies.

    Raises `DataError` if the two lists differ in length, a key is missing, lengths within an image differ, a box is
    not finite or inverted (x2 < x1 or y2 < y1), a score is NaN, or a label is not an integer in 1..``n_classes``
    (None: no upper limit).
    """
    same_length(detections, targets)
    boxes, image, row = flat_boxes(detections, "detections")
    labels = _labels(detections, "detections", image, n_classes)
    scores = _column(detections, "scores", "detections", image).astype(np.float64)
    refuse(np.isnan(scores), image, "detections", "a score that is NaN; wanted numbers")

    object_boxes, object_image, object_row = flat_boxes(targets, "targets")
    object_labels = _labels(targets, "targets", object_image, n_classes)
    difficult = _column(targets, "difficult", "targets", object_image, 0).astype(bool)
    crowd = _column(targets, "iscrowd", "targets", object_image, 0).astype(bool)
    area = _column(targets, "area", "targets", object_image, np.nan).astype(np.float64)
    area = np.where(np.isnan(area), box_area(object_boxes), area)
    return Gathered(
        len(targets), boxes, labels, scores, image, row,
        object_boxes, object_labels, object_image, object_row, area, difficult | crowd, crowd,
    )  # fmt: skip


def same_length(first: Sequence, targets: Sequence) -> None:
    """Raise `DataError` unless there is one entry per image."""
    if len(first) != len(targets):
        raise DataError(f"There are {len(first)} entries for {len(targets)} targets; wanted one per image.")


def as_array(value: object) -> np.ndarray:
    """A tensor or a sequence as an array."""
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def refuse(bad: np.ndarray, image: np.ndarray, what: str, why: str) -> None:
    """Raise `DataError` that names the image of the first entry that is ``bad``; both arrays are ``(N,)``."""
    if bad.any():
        raise DataError(f"The {what} of image {image[np.argmax(bad)]} have {why}.")


def flat_boxes(images: Sequence[Boxes], what: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All boxes ``(N, 4)``, their image ``(N,)`` and row ``(N,)``."""
    parts = []
    for i, one in enumerate(images):
        if not isinstance(one, dict) or "boxes" not in one:
            raise DataError(f"The {what} of image {i} have no 'boxes'; wanted a dictionary of tensors.")
        part = as_array(one["boxes"])
        if part.size and (part.ndim != 2 or part.shape[1] != 4):
            raise DataError(f"The {what} of image {i} have boxes of shape {part.shape}; wanted (N, 4).")
        parts.append(part.reshape(-1, 4))
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    boxes = np.concatenate([np.zeros((0, 4)), *parts]).astype(np.float64)
    image = np.repeat(np.arange(len(parts)), lengths)
    refuse(~np.isfinite(boxes).all(axis=1), image, what, "a box that is not finite")
    refuse((boxes[:, 2:] < boxes[:, :2]).any(axis=1), image, what, "an inverted box; wanted x1 <= x2, y1 <= y2")
    return boxes, image, rank_in_image(image)


def rank_in_image(image: np.ndarray) -> np.ndarray:
    """How many entries of the same image stand before each; ``image`` ``(N,)`` must be in rising order."""
    return np.arange(len(image)) - np.searchsorted(image, image)


def _column(
    images: Sequence[Boxes], key: str, what: str, image: np.ndarray, default: float | None = None
) -> np.ndarray:
    """One number per box; ``default`` stands where an image lacks the key (None: it must not)."""
    lengths = np.bincount(image, minlength=len(images))
    parts = []
    for i, one in enumerate(images):
        if key not in one and default is None:
            raise DataError(f"The {what} of image {i} have no {key!r}; wanted one per box.")
        part = as_array(one[key]) if key in one else np.full(lengths[i], default)
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
    refuse((labels < 1) | (labels > highest), image, what, f"a label out of range; wanted {span}")
    return labels
