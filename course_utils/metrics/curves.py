"""From hits and false alarms to precision, recall and average precision."""

import numpy as np

from course_utils.errors import DataError

HIT, FALSE_ALARM, IGNORED = 1, 0, -1  # what became of a detection
MIN_OBJECTS = 30  # mAP is the mean over classes with at least so many objects that are not ignored


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
    recall, precision = checked_curve(recall, precision, method)
    if np.isnan(recall).any():
        return float("nan")
    best = np.maximum.accumulate(precision[::-1])[::-1]
    if method == "all-point":
        return float(np.diff(recall, prepend=0.0) @ best)
    wanted = np.linspace(0, 1, 11) - 1e-9 if method == "11-point" else np.linspace(0, 1, 101)
    reached = np.searchsorted(recall, wanted)  # the first point with this recall; beyond the last, precision is 0
    return float(np.append(best, 0.0)[reached].mean())


def checked_curve(recall: np.ndarray, precision: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision as float arrays; raises what `average_precision` promises."""
    recall, precision = np.asarray(recall, float), np.asarray(precision, float)
    if method not in ("all-point", "11-point", "101-point"):
        raise DataError(f"There is no method {method!r}; choose all-point, 11-point or 101-point.")
    if recall.ndim != 1 or recall.shape != precision.shape:
        raise DataError(f"Recall {recall.shape} and precision {precision.shape} must be two equally long rows.")
    both = np.concatenate([recall, precision])
    inside = ((both >= 0) & (both <= 1)).all() and (np.diff(recall) >= 0).all()
    if not inside and not np.isnan(recall).any():
        raise DataError("Recall and precision must lie in 0..1, and recall must not fall; sort by falling score.")
    return recall, precision


def known_mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN if nothing is left."""
    values = np.asarray(values, float)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")
