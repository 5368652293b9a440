"""Localization on real photographs: what do a classifier of photographs, and training all of it, bring?

Needs what the course does not bring, in the data folder: a folder of photographs in VOC layout with the lists ``fit``
and ``holdout``, and SqueezeNet's ImageNet weights. The rows that ship were made on 368 and 185 photographs of VOC 2012
that show animals; neither the choice nor the two lists are the official ones.
"""

from collections.abc import Sequence
from typing import Any

from joblib import Parallel, delayed

from course_utils.datasets import open_dataset
from course_utils.detectors.base import fit_or_recall
from course_utils.detectors.localization import Localization
from course_utils.errors import CourseError
from course_utils.localization.evaluation import Localized, evaluate
from course_utils.localization.judging import gains, judge, shares_of
from course_utils.paths import data_dir
from course_utils.results import Row
from course_utils.timing import limited_threads

FOLDER, WEIGHTS = "voc2012_animals_train", "squeezenet1_0_torchvision_keys.npz"
SEEDS = (0, 1, 2)
PRETRAINED = {"backbone": "squeezenet1_0", "weights": WEIGHTS}
JOINT_RATE = 0.002  # not tuned: a fifth of the heads', for SqueezeNet has no normalization that bounds its steps
SETTINGS: dict[str, dict[str, Any]] = {
    "heads": PRETRAINED,
    "heads, then all": PRETRAINED | {"joint": True, "joint_rate": JOINT_RATE, "epochs": 8},
    "random weights, heads": {"backbone": "squeezenet1_0", "random": True},
    "toys' stand-in, heads": {},
}
COMMAND = "course experiment localization_photographs"


def run() -> list[Row]:
    """The mean box's row on the holdout part, then one for each of `SETTINGS` and seed."""
    for path in (data_dir() / FOLDER, data_dir() / WEIGHTS):
        if not path.exists():
            raise CourseError(
                f"{COMMAND} needs {path}, which does not come with the course. Wanted in {data_dir()}: {FOLDER}, "
                f"photographs in VOC layout with the lists fit and holdout, and {WEIGHTS}, the ImageNet weights of "
                "squeezenet1_0 under torchvision's names."
            )
    found = Parallel(n_jobs=2)(delayed(measure)(setting, seed) for setting in SETTINGS for seed in SEEDS)
    return [found[0].mean_box, *(one.row for one in found)]


def measure(setting: str, seed: int) -> Localized:
    """What one setting and seed found, beside the mean box."""
    with limited_threads(1):
        fit, holdout = (open_dataset(data_dir() / FOLDER, part) for part in ("fit", "holdout"))
        system = fit_or_recall(Localization(seed=seed, **SETTINGS[setting]), fit)
        return evaluate(system, holdout, command=COMMAND)


def details(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each row its setting, `shares_of` it, and its `gains` over others.

    ``gain[other]``: over the mean box, and over the heads of SqueezeNet with the same seed.
    """
    judged = {(setting_of(row), row.info["config"]["seed"]): judge(row.detections, row.targets) for row in rows}
    (mean_box,) = (one for (setting, _), one in judged.items() if setting == "mean box")
    found = []
    for (setting, seed), own in judged.items():
        others = {} if setting == "mean box" else {"mean box": mean_box}
        if setting not in ("mean box", "heads"):
            others["heads"] = judged["heads", seed]
        gain = {name: gains(own, other) for name, other in others.items()}
        found.append({"setting": setting} | shares_of(own) | {"gain": gain})
    return found


def setting_of(row: Row) -> str:
    """Which of `SETTINGS` the row has, or "mean box"."""
    if row.info["system"] == "mean_box":
        return "mean box"
    usual = Localization().config
    for setting, changed in SETTINGS.items():
        wanted = usual | changed | {name: row.info["config"][name] for name in ("seed", "guesses")}
        if wanted == row.info["config"]:
            return setting
    raise CourseError(f"No setting of this experiment has the configuration {row.info['config']}.")
