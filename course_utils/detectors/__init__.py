"""All detectors behind one face; `SYSTEMS` is the table that ``course train``, ``evaluate`` and ``detect`` know.

A notebook that brings a system adds one line here. Modules are imported when a system is asked for, so that the table
can be read without loading torch.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.errors import CourseError

if TYPE_CHECKING:
    from course_utils.detectors.base import Detector


@dataclass(frozen=True)
class System:
    """A detector by name.

    Attributes
    ----------
    where : str
        ``"module:Class"``; the class is a `course_utils.detectors.base.Detector`.
    about : str
        Half a line for the help text.
    data : str
        The data set that it learns from if none is named.
    """

    where: str
    about: str
    data: str = "toyvoc"


SYSTEMS = {
    "random_boxes": System("course_utils.detectors.trivial:RandomBoxes", "boxes anywhere, classes by frequency"),
    "mean_box": System("course_utils.detectors.trivial:MeanBox", "the training set's mean box of each class"),
    "hog_svm": System("course_utils.detectors.hog_svm:HogSvm", "one HoG template per class, linear SVM"),
    "dpm": System("course_utils.detectors.dpm:Dpm", "mixtures of deformable part models, latent SVM"),
    "faces": System("course_utils.detectors.hog_svm:Faces", "the same for faces", data="faces"),
}


def detector_class(name: str) -> "type[Detector]":
    """The class of the system ``name``; raises `CourseError` that lists the names there are."""
    if name not in SYSTEMS:
        raise CourseError(f"there is no system {name!r}. Registered systems: {', '.join(sorted(SYSTEMS))}.")
    module, attribute = SYSTEMS[name].where.split(":")
    return getattr(importlib.import_module(module), attribute)


def load_detector(path: str | Path) -> "Detector":
    """A detector of whatever system from the file that its ``save`` wrote.

    Raises `DataError` for a file that is missing, damaged or not a detector's, `CourseError` for a system that this
    version of the course does not have.
    """
    from course_utils.detectors.base import read_detector_file

    _, info = read_detector_file(path)
    return detector_class(info["system"]).load(path)
