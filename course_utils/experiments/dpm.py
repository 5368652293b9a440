"""What does each step of a deformable part model bring on ToyVOC: a mixture, parts, predicted boxes?

The same pictures, seeds and classes for all rows; what two rows share of their training is done once. Two processes
work at the same time, each on one thread.
"""

from collections.abc import Sequence
from typing import Any

import torch
from joblib import Parallel, delayed

from course_utils.datasets import open_dataset
from course_utils.detectors.base import fit_or_recall
from course_utils.detectors.dpm import Dpm
from course_utils.evaluation import evaluate
from course_utils.metrics import MeanAP, match, paired_bootstrap
from course_utils.results import Row
from course_utils.timing import limited_threads

CLASSES = ("person", "dog", "cat")
SEEDS = (0, 1, 2)
STEPS: dict[str, dict[str, Any]] = {
    "root": {"aspects": 1, "mirrored": False, "parts": 0, "box_prediction": False},
    "+ mixture": {"parts": 0, "box_prediction": False},
    "+ parts": {"box_prediction": False},
    "+ box prediction": {},
}
LARGE_FROM = 64  # pixels: the longer side of the objects for which parts are claimed to help
THRESHOLDS = (0.5, 0.75)


def run() -> list[Row]:
    """One row on ToyVOC's test part for each seed and step; a seed's steps follow each other."""
    workers = Parallel(n_jobs=2)
    last, first = list(STEPS)[-1], next(iter(STEPS))
    workers(delayed(learn)(step, seed, (name,)) for step in (last, first) for seed in SEEDS for name in CLASSES)
    return workers(delayed(measure)(step, seed) for seed in SEEDS for step in STEPS)


def learn(step: str, seed: int, classes: Sequence[str]) -> Dpm:
    """A detector of these classes; its stages of training come from the store if they are there."""
    with limited_threads(1):
        return fit_or_recall(Dpm(only=classes, seed=seed, **STEPS[step]), open_dataset("toyvoc", "train"))


def measure(step: str, seed: int) -> Row:
    """The row of one step and seed."""
    with limited_threads(1):
        return evaluate(learn(step, seed, CLASSES), open_dataset("toyvoc", "test"), command="course experiment dpm")


def details(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each row its step, AP by class and object size, and what the step gained over the row before.

    ``AP[threshold][size][class]``; ``gain[threshold][size]`` is the difference of the mean over the classes and its
    95 % interval, resampling the pictures with both detectors on the same ones; None for a seed's first step.
    """
    found = []
    for i, row in enumerate(rows):
        step = list(STEPS)[i % len(STEPS)]
        before = rows[i - 1] if i % len(STEPS) else None
        one: dict[str, Any] = {"step": step, "seed": row.info["config"]["seed"], "AP": {}, "gain": {}}
        for threshold in THRESHOLDS:
            ap, gain = one["AP"].setdefault(str(threshold), {}), one["gain"].setdefault(str(threshold), {})
            for size in ("all", "small", "large"):
                targets = [only_size(target, size) for target in row.targets]
                ap[size] = {
                    name: match(row.detections, targets, label, threshold).average_precision()
                    for label, name in enumerate(row.classes, 1)
                }
                gain[size] = None
                if before is not None:
                    labels = range(1, len(row.classes) + 1)
                    now, then = (MeanAP(r.detections, targets, labels, threshold=threshold) for r in (row, before))
                    gained = paired_bootstrap(now, then)
                    gain[size] = [gained.difference, gained.low, gained.high]
        found.append(one)
    return found


def only_size(target: dict[str, torch.Tensor], size: str) -> dict[str, torch.Tensor]:
    """The target with objects of another size ignored, as difficult ones are; "all", "small" or "large"."""
    longer = (target["boxes"][:, 2:] - target["boxes"][:, :2]).amax(dim=1)
    other = {"all": longer < 0, "small": longer >= LARGE_FROM, "large": longer < LARGE_FROM}[size]
    return target | {"difficult": target["difficult"] | other}
