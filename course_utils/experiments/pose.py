"""What does each stage of the cascade bring on ToyVOC's persons, how much does the seed matter, and pretraining?"""

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

from joblib import Parallel, delayed

from course_utils.datasets import open_dataset
from course_utils.detectors.base import fit_or_recall
from course_utils.pose.cascade import DeepPose
from course_utils.pose.evaluation import Poses, evaluate, gained
from course_utils.timing import limited_threads

SEEDS = (0, 1, 2)
SETTINGS = tuple({"seed": seed} for seed in SEEDS) + tuple(
    {"seed": seed, "pretrained": False, "stages": 1} for seed in SEEDS
)


def run() -> list[Poses]:
    """One result on ToyVOC's test part for each of `SETTINGS`: cascades, then first stages with random beginnings."""
    return Parallel(n_jobs=2)(delayed(measure)(**setting) for setting in SETTINGS)


def details(rows: Sequence[Poses]) -> list[dict[str, Any]]:
    """For each row that begins with random convolutions what pretrained ones gain in the first stage, the seed alike.

    ``{"pretrained less random": {"PCP": [difference, low, high], "PCK": ...}}``; nothing for the others.
    """
    pretrained = {row.info["config"]["seed"]: row for row in rows if row.info["config"]["pretrained"]}
    found: list[dict[str, Any]] = []
    for row in rows:
        other = pretrained[row.info["config"]["seed"]]
        if row is other:
            found.append({})
            continue
        gain = gained(other.found[0], row.found[0], row.joints)
        found.append({"pretrained less random": {name: list(astuple(one)) for name, one in gain.items()}})
    return found


def measure(**setting: int | bool) -> Poses:
    """Train, on one thread, and measure every stage."""
    with limited_threads(1):
        pose = fit_or_recall(DeepPose(**setting), open_dataset("toyvoc", "train"))
        return evaluate(pose, open_dataset("toyvoc", "test"), command="course experiment pose")
