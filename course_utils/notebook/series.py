"""The sixteen notebooks in order: the one place where number, file, title and minutes are written down."""

from dataclasses import dataclass

from course_utils.errors import CourseError


@dataclass(frozen=True)
class Notebook:
    """A notebook of the series; ``minutes`` is what it may take on one core of a laptop."""

    name: str
    title: str
    minutes: int

    @property
    def number(self) -> int:
        return int(self.name[:2])

    @property
    def filename(self) -> str:
        return f"{self.name}.ipynb"

    @property
    def heading(self) -> str:
        """First line of the notebook."""
        return f"# {self.name[:2]} · {self.title}"


SERIES = (
    Notebook("00_start_here", "Start here", 1),
    Notebook("01_boxes_and_metrics", "Boxes and metrics", 1),
    Notebook("02_hog_linear_svm", "Sliding windows: HoG and a linear SVM", 3),
    Notebook("03_deformable_parts", "Deformable parts", 3),
    Notebook("04_localization_as_regression", "Localization as regression", 3),
    Notebook("05_pose_as_regression", "Pose as regression", 3),
    Notebook("06_overfeat", "OverFeat", 3),
    Notebook("07_dpms_are_cnns", "Deformable part models are CNNs", 2),
    Notebook("08_region_proposals", "Region proposals", 2),
    Notebook("09_rcnn", "R-CNN", 4),
    Notebook("10_rcnn_ablations", "What makes R-CNN work", 2),
    Notebook("11_fast_rcnn", "Fast R-CNN", 3),
    Notebook("12_faster_rcnn", "Faster R-CNN", 3),
    Notebook("13_deeper_and_better", "Deeper and better", 2),
    Notebook("14_yolo", "YOLO", 3),
    Notebook("15_scoreboard", "The scoreboard", 2),
)


def notebook(name: str) -> Notebook:
    """The notebook with this file stem, e.g. ``"00_start_here"``."""
    for entry in SERIES:
        if entry.name == name:
            return entry
    raise CourseError(f"There is no notebook {name!r} in the series; it has {SERIES[0].name} to {SERIES[-1].name}.")


def following(entry: Notebook) -> Notebook | None:
    """The notebook after ``entry``; None after the last."""
    return SERIES[entry.number + 1] if entry.number + 1 < len(SERIES) else None
