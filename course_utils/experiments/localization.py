"""Where may a box head be attached, and what do pretrained weights and joint training bring? On ToyVOC's close-ups.

Stages: linear heads, solved, at each stage of the stand-in, pretrained and with random weights of three seeds.
Training: heads alone, or everything, from pretrained or random weights, three seeds each; of the pretrained network
everything after the heads, and at once. Two processes, one thread each.
"""

from collections.abc import Sequence
from typing import Any

import torch
from joblib import Parallel, delayed
from torch import nn
from torch.nn import functional as F

from course_utils.datasets import open_dataset
from course_utils.detectors.base import fit_or_recall
from course_utils.detectors.localization import Localization
from course_utils.localization.data import Examples
from course_utils.localization.evaluation import evaluate
from course_utils.localization.judging import gains, judge, shares_of
from course_utils.localization.stages import closed_form
from course_utils.results import Row
from course_utils.timing import limited_threads

STAGES = ("conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7")
SEEDS = (0, 1, 2)
DATA = "toyvoc-closeups"


class SolvedLocalization(Localization):
    """Both heads linear, on the same frozen stage, solved instead of trained.

    Parameters
    ----------
    stage, random, seed
        As for `Localization`; the seed is that of random weights.
    guesses : int
        Set by `evaluate`.
    """

    system = "localization_solved"

    def __init__(self, *, stage: str = "conv5", random: bool = False, guesses: int = 1, seed: int = 0) -> None:
        super().__init__(stage=stage, random=random, hidden=0, guesses=guesses, seed=seed)

    def _top(self, stage: str) -> str:
        return stage

    def _train_heads(self, data: Examples) -> None:
        at, top = self.model.features(data.pixels)
        self._solve(self.model.box.layers[-1], at, data.boxes)
        self._solve(self.model.what, top, F.one_hot(data.labels - 1, len(self.classes)))

    def _solve(self, head: nn.Linear, features: torch.Tensor, targets: torch.Tensor) -> None:
        weight, bias = closed_form(features, targets)
        head.load_state_dict({"weight": weight, "bias": bias})


class AtOnce(Localization):
    """Everything is trained from the beginning, with new heads on a pretrained network."""

    system = "localization_at_once"

    def _train_heads(self, data: Examples) -> None:
        """Left out."""


def systems() -> list[Localization]:
    """All that is compared, untrained, in the order of the rows."""
    solved = [SolvedLocalization(stage=stage) for stage in STAGES]
    solved += [SolvedLocalization(stage=stage, random=True, seed=seed) for stage in STAGES for seed in SEEDS]
    trained = [Localization(seed=seed) for seed in SEEDS]
    trained += [Localization(joint=True, seed=seed) for seed in SEEDS]
    trained += [AtOnce(joint=True, seed=seed) for seed in SEEDS]
    trained += [Localization(random=True, joint=joint, seed=seed) for joint in (False, True) for seed in SEEDS]
    return solved + trained


def run() -> list[Row]:
    """One row on the test part for each of `systems`."""
    return Parallel(n_jobs=2)(delayed(measure)(system) for system in systems())


def measure(system: Localization) -> Row:
    """The row of one system; what it learned comes from the store if it is there."""
    with limited_threads(1):
        fit_or_recall(system, open_dataset(DATA, "train"))
        return evaluate(system, open_dataset(DATA, "test"), command="course experiment localization").row


def details(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """`shares_of` each row, and its `gains` over others: ``{"gain": {"random heads 0": {"box": ..., ...}, ...}}``.

    Linear heads are compared with the random networks at the same stage, and with the same network at conv5; whole
    systems with the heads alone, with training in two steps, and with the random beginning, of the same seed;
    pretrained heads also with the random networks of which all was trained.
    """
    judged = [judge(row.detections, row.targets) for row in rows]
    named = {_name(row): one for row, one in zip(rows, judged, strict=True)}
    found = []
    for row, own in zip(rows, judged, strict=True):
        others = {" ".join(map(str, name)): named[name] for name in _others(_name(row)) if name in named}
        found.append(shares_of(own) | {"gain": {name: gains(own, other) for name, other in others.items()}})
    return found


def _name(row: Row) -> tuple[str, str, int]:
    """Beginning, what was trained (or the stage of solved heads), seed."""
    config = row.info["config"]
    if row.info["system"] == SolvedLocalization.system:
        part = config["stage"]
    elif not config["joint"]:
        part = "heads"
    else:  # of a random network everything is trained at once
        part = "all at once" if config["random"] or row.info["system"] == AtOnce.system else "heads, then all"
    return "random" if config["random"] else "pretrained", part, config["seed"]


def _others(name: tuple[str, str, int]) -> list[tuple[str, str, int]]:
    """Names of the rows that `details` compares the row with."""
    begin, part, seed = name
    others = []
    if part in STAGES:
        if begin == "pretrained":
            others += [("random", part, other) for other in SEEDS]
        if part != "conv5":
            others += [(begin, "conv5", seed)]
        return others
    if part != "heads":
        others += [(begin, "heads", seed)]
    if part == "all at once":
        others += [(begin, "heads, then all", seed)]
    if begin == "pretrained":
        others += [("random", "heads" if part == "heads" else "all at once", seed)]
        if part == "heads":
            others += [("random", "all at once", other) for other in SEEDS]
    return others
