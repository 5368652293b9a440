"""What kind of mistake each false alarm is, and which objects were missed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.errors import DataError
from course_utils.metrics.curves import HIT, IGNORED
from course_utils.metrics.inputs import Boxes, gather
from course_utils.metrics.overlaps import best_overlap
from course_utils.metrics.voc import Matches, match_voc

ERROR_TYPES = ("correct", "localization", "similar", "other", "background")


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
