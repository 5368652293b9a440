"""What do OverFeat's parts bring on ToyVOC: pretraining, offsets, several sizes, merging? And how much the seed?

A seed's settings share one training, but for the one that begins with random weights. Two processes work at the same
time, each on one thread.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed

from course_utils.datasets import open_dataset
from course_utils.detectors.base import fit_or_recall
from course_utils.detectors.overfeat import OverFeat
from course_utils.evaluation import evaluate
from course_utils.metrics import Boxes, MeanAP, paired_bootstrap
from course_utils.results import Row
from course_utils.timing import limited_threads

SEEDS = (0, 1, 2)
SETTINGS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "random weights": {"pretrained": False},
    "no offsets": {"offsets": False},
    "one size": {"windows": (91,)},
    "two sizes": {"windows": (91, 181)},
    "NMS": {"merging": "nms"},
    "best window": {"merging": "best"},
}
THRESHOLDS = (0.5, 0.75)
FIRST = 60  # pictures


def run() -> list[Row]:
    """One row on ToyVOC's test part for each seed and setting; a seed's settings follow each other."""
    workers = Parallel(n_jobs=2)
    workers(delayed(learn)(setting, seed) for setting in ("as it is", "random weights") for seed in SEEDS)
    return workers(delayed(measure)(setting, seed) for seed in SEEDS for setting in SETTINGS)


def learn(setting: str, seed: int) -> OverFeat:
    """The detector; what was trained comes from the store if it is there."""
    with limited_threads(1):
        return fit_or_recall(OverFeat(seed=seed, **SETTINGS[setting]), open_dataset("toyvoc", "train"))


def measure(setting: str, seed: int) -> Row:
    """The row of one setting and seed."""
    with limited_threads(1):
        return evaluate(learn(setting, seed), open_dataset("toyvoc", "test"), command="course experiment overfeat")


def details(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each row its setting, mAP, and what is gained over the same seed's detector as it is.

    ``mAP[threshold]``; ``gain[threshold]`` is the difference and its 95 % interval, resampling the pictures with both
    detectors on the same ones; None for the detector as it is. ``"AP50 of the first"`` is the mean over all classes on
    the first `FIRST` pictures, for whoever wants to check a detector in less time.
    """
    found = []
    for i, row in enumerate(rows):
        setting, usual = list(SETTINGS)[i % len(SETTINGS)], rows[i - i % len(SETTINGS)]
        one: dict[str, Any] = {"setting": setting, "seed": row.info["config"]["seed"], "mAP": {}, "gain": {}}
        for threshold in THRESHOLDS:
            gained = paired_bootstrap(
                *(MeanAP(each.detections, each.targets, threshold=threshold) for each in (row, usual))
            )
            one["mAP"][str(threshold)] = gained.first
            one["gain"][str(threshold)] = None if row is usual else [gained.difference, gained.low, gained.high]
        one["AP50 of the first"] = ap50_of(row.detections[:FIRST], row.targets[:FIRST])
        found.append(one)
    return found


def ap50_of(detections: Sequence[Boxes], targets: Sequence[Boxes]) -> float:
    """Mean AP50 over all classes that occur."""
    return MeanAP(detections, targets, min_objects=1)(np.ones(len(targets), np.int64))
