"""Localization as regression: one object per picture, its box in four numbers that a network gives."""

from course_utils.localization.data import (
    Examples,
    examples,
    mirrored_boxes,
    proper,
    to_pixels,
    to_unit,
    varied,
)
from course_utils.localization.heads import LOSSES, BoxHead, Localizer, box_of_class, pooled, pooled_features
from course_utils.localization.judging import NAMES, Judged, judge
from course_utils.localization.stages import at_every_stage, closed_form
from course_utils.localization.training import train_jointly
from course_utils.localization.twins import two_cats

__all__ = [
    "LOSSES",
    "NAMES",
    "BoxHead",
    "Examples",
    "Judged",
    "Localizer",
    "at_every_stage",
    "box_of_class",
    "closed_form",
    "examples",
    "judge",
    "mirrored_boxes",
    "pooled",
    "pooled_features",
    "proper",
    "to_pixels",
    "to_unit",
    "train_jointly",
    "two_cats",
    "varied",
]
