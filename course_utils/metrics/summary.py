"""Everything that a table of results needs, in one call."""

from collections.abc import Sequence

from course_utils.metrics.coco import coco_metrics_of
from course_utils.metrics.curves import MIN_OBJECTS, known_mean
from course_utils.metrics.inputs import Boxes, gather
from course_utils.metrics.voc import match_voc


def evaluate_boxes(
    detections: Sequence[Boxes],
    targets: Sequence[Boxes],
    classes: Sequence[str],
    *,
    min_objects: int = MIN_OBJECTS,
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

    Returns
    -------
    dict
        ``AP50`` (class: all-point average precision at IoU .5 by VOC's rule), ``n`` (class: objects that are not
        ignored), ``mAP``, ``mAP_classes`` (the classes in it) and ``COCO`` (see `coco_metrics`). NaN where there is
        nothing to find. Errors as in `gather`.
    """
    data = gather(detections, targets, len(classes))
    matches = {name: match_voc(data, label) for label, name in enumerate(classes, 1)}
    ap = {name: one.average_precision() for name, one in matches.items()}
    n = {name: one.n_objects for name, one in matches.items()}
    counted = [name for name in classes if n[name] >= max(min_objects, 1)]
    mean = known_mean([ap[name] for name in counted])
    return {"AP50": ap, "n": n, "mAP": mean, "mAP_classes": counted, "COCO": coco_metrics_of(data, len(classes))}
