"""Detections against the truth: matching, average precision, proposals' recall, error types, intervals.

Detections are one dictionary ``{"boxes", "labels", "scores"}`` per image, targets those of
`course_utils.datasets.base.make_target`: boxes ``(N, 4)`` as x1 y1 x2 y2 on continuous pixel edges, labels from 1.
A detection matches at IoU >= threshold. All results lie between 0 and 1; what is undefined (a class without
objects) is NaN and left out of every mean. Difficult objects and crowds need not be found, and however many
detections match one of them, all are ignored: they count neither for nor against a detector.
Inputs are never changed; inputs that are not as said above raise one `DataError` that names the image.

Two rules of matching stand here, because two are in use:

|                   | VOC (`match_voc`)                   | COCO (`match_coco`)                                 |
|-------------------|-------------------------------------|-----------------------------------------------------|
| a detection       | takes the object with the largest   | takes the object with the largest IoU among those   |
|                   | IoU; if taken before: a false alarm | still free                                          |
| difficult objects | compete like all others             | only if no other object is free and overlaps enough |
| crowds            | are like difficult objects          | the same, and overlap = intersection / detection's  |
|                   |                                     | area                                                |
| objects of a size | (all sizes count)                   | like difficult objects, but each holds only one     |
| out of range      |                                     | detection                                           |
| detections        | all                                 | the best 100 of an image and class                  |

pycocotools knows no difficult objects; without them, COCO's numbers here are its numbers.
"""

from course_utils.metrics.coco import AREAS, COCO_THRESHOLDS, CocoMatches, coco_metrics, match_coco
from course_utils.metrics.comparison import Comparison, MeanAP, interval, paired_bootstrap
from course_utils.metrics.curves import FALSE_ALARM, HIT, IGNORED, MIN_OBJECTS, average_precision, precision_recall
from course_utils.metrics.diagnosis import ERROR_TYPES, ErrorTypes, error_types
from course_utils.metrics.inputs import Boxes, Gathered, gather
from course_utils.metrics.localization import localization_errors
from course_utils.metrics.overlaps import best_overlap
from course_utils.metrics.proposals import Overlaps, proposal_overlaps
from course_utils.metrics.summary import evaluate_boxes
from course_utils.metrics.voc import Matches, match, match_voc

__all__ = [
    "AREAS",
    "COCO_THRESHOLDS",
    "ERROR_TYPES",
    "FALSE_ALARM",
    "HIT",
    "IGNORED",
    "MIN_OBJECTS",
    "Boxes",
    "CocoMatches",
    "Comparison",
    "ErrorTypes",
    "Gathered",
    "Matches",
    "MeanAP",
    "Overlaps",
    "average_precision",
    "best_overlap",
    "coco_metrics",
    "error_types",
    "evaluate_boxes",
    "gather",
    "interval",
    "localization_errors",
    "match",
    "match_coco",
    "match_voc",
    "paired_bootstrap",
    "precision_recall",
    "proposal_overlaps",
]
