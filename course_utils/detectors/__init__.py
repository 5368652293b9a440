"""All systems behind one face; `SYSTEMS` is the table that ``course train``, ``evaluate`` and ``detect`` know.

A notebook that brings a system adds one line here. Modules are imported when a system is asked for, so that the table
can be read without loading torch.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.errors import CourseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from course_utils.detectors.base import Learned


@dataclass(frozen=True)
class System:
    """A system by name.

    Attributes
    ----------
    where : str
        ``"module:Class"``; the class is a `course_utils.detectors.base.Learned`, a ``Detector`` if its task is
        detection.
    about : str
        Half a line for the help text.
    data : str
        The data set that it learns from if none is named.
    task : str
        A key of `TASKS`.
    """

    where: str
    about: str
    data: str = "toyvoc"
    task: str = "detection"


SYSTEMS = {
    "random_boxes": System("course_utils.detectors.trivial:RandomBoxes", "boxes anywhere, classes by frequency"),
    "mean_box": System("course_utils.detectors.trivial:MeanBox", "the training set's mean box of each class"),
    "hog_svm": System("course_utils.detectors.hog_svm:HogSvm", "one HoG template per class, linear SVM"),
    "dpm": System("course_utils.detectors.dpm:Dpm", "mixtures of deformable part models, latent SVM"),
    "overfeat": System("course_utils.detectors.overfeat:OverFeat", "windows of a network run densely, merged greedily"),
    "faces": System("course_utils.detectors.hog_svm:Faces", "hog_svm for faces", data="faces"),
    "standin": System(
        "course_utils.classification:Classifier", "small pretrained classifier", data="toynet", task="classification"
    ),
    "pose": System("course_utils.pose.cascade:DeepPose", "joints of persons in given boxes, refined", task="pose"),
    "localization": System(
        "course_utils.detectors.localization:Localization",
        "one box per picture, by regression",
        data="toyvoc-closeups",
        task="localization",
    ),
}

TASKS = {
    "detection": "course_utils.evaluation:evaluate",
    "classification": "course_utils.classification:evaluate",
    "localization": "course_utils.localization.evaluation:evaluate",
    "pose": "course_utils.pose.evaluation:evaluate",
}
"""For each task what measures: a function of system and data set, as `course_utils.evaluation.evaluate` is."""


def detector_class(name: str) -> "type[Learned]":
    """The class of the system ``name``; raises `CourseError` that lists the names there are."""
    if name not in SYSTEMS:
        raise CourseError(f"there is no system {name!r}. Registered systems: {', '.join(sorted(SYSTEMS))}.")
    return _imported(SYSTEMS[name].where)


def measure_of(name: str) -> "Callable[..., Any]":
    """The function that measures the system ``name`` at its task."""
    return _imported(TASKS[SYSTEMS[name].task])


def _imported(where: str) -> Any:
    module, attribute = where.split(":")
    return getattr(importlib.import_module(module), attribute)


def load_detector(path: str | Path, **how: Any) -> "Learned":
    """A system of whatever kind from the file that its ``save`` wrote; ``how`` as for its ``load``.

    Raises `DataError` for a file that is missing, damaged or not a detector's, `CourseError` for a system that this
    version of the course does not have.
    """
    from course_utils.detectors.base import read_detector_file

    _, info = read_detector_file(path)
    return detector_class(info["system"]).load(path, **how)
