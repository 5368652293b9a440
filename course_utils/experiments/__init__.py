"""The long comparisons whose results ship with the course; ``course experiment NAME`` repeats one of them.

Each is a function that evaluates some detectors and returns their rows. What it trains and measures is kept in the
store, so an interrupted experiment goes on where it stopped.
"""

import importlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.errors import CourseError
from course_utils.files import atomic_write, plain
from course_utils.paths import repo_root

if TYPE_CHECKING:
    from course_utils.results import Row


@dataclass(frozen=True)
class Experiment:
    """An experiment by name: ``"module:function"``, what it compares, and its minutes on two cores.

    ``details`` names a function of the rows, where there is more to keep of them than `summary` does: it gives one
    dictionary for each.
    """

    where: str
    about: str
    minutes: int
    details: str | None = None


EXPERIMENTS = {
    "hog_svm": Experiment("course_utils.experiments.hog_svm:run", "HoG + SVM on ToyVOC: seeds, rounds of mining", 10),
    "dpm": Experiment(
        "course_utils.experiments.dpm:run",
        "DPM on ToyVOC: root, mixture, parts, box prediction",
        40,
        details="course_utils.experiments.dpm:details",
    ),
    "dpm_backprop": Experiment(
        "course_utils.experiments.dpm_backprop:run",
        "DPM on ToyVOC: springs, or all weights, learn on by back-propagation",
        60,
        details="course_utils.experiments.dpm_backprop:details",
    ),
    "localization": Experiment(
        "course_utils.experiments.localization:run",
        "localization: stages, frozen or joint, pretrained or random",
        15,
        details="course_utils.experiments.localization:details",
    ),
    "localization_photographs": Experiment(
        "course_utils.experiments.localization_photographs:run",
        "localization on photographs of yours, with SqueezeNet's ImageNet weights: heads or all",
        30,
        details="course_utils.experiments.localization_photographs:details",
    ),
    "overfeat": Experiment(
        "course_utils.experiments.overfeat:run",
        "OverFeat on ToyVOC: seeds, random weights, offsets, sizes, merging",
        60,
        details="course_utils.experiments.overfeat:details",
    ),
    "pose": Experiment(
        "course_utils.experiments.pose:run",
        "pose on ToyVOC: stages, seeds, random beginnings",
        15,
        details="course_utils.experiments.pose:details",
    ),
}


def run(name: str) -> "list[Row]":
    """The rows of the experiment ``name``; raises `CourseError` that lists the names there are."""
    if name not in EXPERIMENTS:
        raise CourseError(f"there is no experiment {name!r}. Registered experiments: {', '.join(sorted(EXPERIMENTS))}.")
    return _function(EXPERIMENTS[name].where)()


def _function(where: str) -> Callable[..., Any]:
    module, function = where.split(":")
    return getattr(importlib.import_module(module), function)


def results_file(name: str) -> Path:
    """Where the summaries of an experiment's rows ship, wherever ``COURSE_DATA`` may lead: a JSON list of `summary`."""
    return repo_root() / "data" / "results" / f"{name}.json"


def summary(row: "Row") -> dict[str, Any]:
    """What the course keeps of a row: configuration, origin, figures and interval, without the raw detections."""
    from course_utils.results import Row  # not before it is needed: the table of experiments is read without torch

    kept = (
        "system",
        "label",
        "config",
        "trained_on",
        "learned_from_too",
        "data",
        "versions",
        "hardware",
        "key",
        "date",
        "command",
    )
    facts = {key: row.info[key] for key in kept}
    facts |= {"seconds_per_image": row.seconds_per_image, "metrics": row.metrics}
    if isinstance(row, Row):  # other tasks keep their intervals among their metrics
        facts |= {"n_images": len(row.targets), "interval": list(row.interval)}
    return facts


def write_results(name: str, rows: "Sequence[Row]") -> Path:
    """Write the summaries of the rows, each with its ``"details"`` if the experiment has some.

    NaN, where there was nothing to measure, becomes null.
    """
    # a row that came from the store notes the command that made it there
    summaries = [summary(row) | {"command": f"course experiment {name}"} for row in rows]
    if EXPERIMENTS[name].details:
        for one, more in zip(summaries, _function(EXPERIMENTS[name].details)(rows), strict=True):
            one["details"] = more
    text = json.dumps(plain(summaries), indent=1, allow_nan=False)
    atomic_write(results_file(name), (text + "\n").encode())
    return results_file(name)


def read_results(name: str) -> list[dict[str, Any]]:
    """The summaries that ship with the course; raises `CourseError` if there are none."""
    path = results_file(name)
    if not path.is_file():
        raise CourseError(f"{path} is missing. `course experiment {name}` makes it.")
    return json.loads(path.read_text())
