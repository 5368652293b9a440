"""The error of ImageNet's localization task."""

from collections.abc import Sequence

import numpy as np

from course_utils.errors import DataError
from course_utils.metrics.inputs import Boxes, gather, rank_in_image, refuse
from course_utils.metrics.overlaps import best_overlap


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
    refuse(several, data.object_image[things], "targets", "objects of several classes; wanted one class per image")

    order = np.lexsort((-data.scores, data.image))
    found = order[rank_in_image(data.image[order]) < guesses]
    found = found[data.labels[found] == label[data.image[found]]]
    iou, _ = best_overlap(data.boxes[found], data.image[found], data.object_boxes[things], data.object_image[things])
    errors = np.where(label > 0, 1.0, np.nan)
    errors[data.image[found[iou >= threshold]]] = 0
    return errors
