"""Does a trained DPM still gain on ToyVOC if its springs, or all of it, learn on by back-propagation?

Class by class, for every class the same pictures and seeds. Two processes work at the same time, each on one thread.
"""

from collections.abc import Sequence
from typing import Any

from joblib import Parallel, delayed
from torch import Tensor

from course_utils.datasets import open_dataset
from course_utils.datasets.base import Dataset
from course_utils.detectors.base import fit_or_recall, name_and_digest
from course_utils.detectors.dpm import Dpm
from course_utils.dpm.layers import fine_tune
from course_utils.dpm.model import Mixture
from course_utils.dpm.training import finished, latent_training, mirror_image
from course_utils.evaluation import evaluate
from course_utils.experiments.dpm import SEEDS
from course_utils.metrics import MeanAP, paired_bootstrap
from course_utils.results import Row
from course_utils.store import Store, key_of
from course_utils.timing import limited_threads

CLASSES = ("person", "cat")
LEARN = ("nothing", "springs", "all", "svm")
RATE = {"springs": 0.005, "all": 0.002}  # see `fine_tune`
THRESHOLDS = (0.5, 0.75)


class TunedDpm(Dpm):
    """`Dpm` that learns on, after its own training and from the same pictures, by `fine_tune`.

    Parameters
    ----------
    learn : {"nothing", "springs", "all", "svm"}
        "springs": and biases; "all": root and parts as well; "svm": all, but by more of what `Dpm` does itself, to tell
        what back-propagation brings from what going on brings.
    only, seed, resume
        As in `Dpm`.
    """

    system = "dpm_backprop"

    def __init__(
        self, *, learn: str = "springs", only: Sequence[str] | None = None, seed: int = 0, resume: bool = True
    ) -> None:
        super().__init__(only=only, seed=seed, resume=resume)
        self.learn = learn

    def _learn(self, dataset: Dataset, targets: list[dict[str, Tensor]], name: str) -> Mixture | None:
        mixture = super()._learn(dataset, targets, name)
        if mixture is None or self.learn == "nothing":
            return mixture
        settings = {"class": name, "learn": self.learn}
        key = key_of(code=(TunedDpm,), config=settings, data=name_and_digest(dataset), seed=self.seed)

        def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
            positives, negatives = self._examples(dataset, targets, dataset.classes.index(name) + 1)
            if self.learn == "svm":
                how = {"mirrored": self.mirrored, "C": self.C, "what": name}
                tuned = latent_training(mixture, positives, negatives, relabellings=2, minings=8, **how)
            else:
                both = [*positives, *map(mirror_image, positives)]
                tuned = fine_tune(mixture, both, negatives, filters=self.learn == "all", rate=RATE[self.learn])
            return finished(tuned, positives, interval=self.interval, what=name).tensors(""), settings

        return Mixture.from_tensors(Store().keep("dpm", key, make)[0], "")


def run() -> list[Row]:
    """One row on ToyVOC's test part for each class, seed and entry of `LEARN`; those of a seed follow each other."""
    jobs = [(name, seed, learn) for name in CLASSES for seed in SEEDS for learn in LEARN]
    workers = Parallel(n_jobs=2)
    workers(delayed(measure)(*job) for job in jobs if job[2] == "nothing")  # the others begin with what this one learns
    return workers(delayed(measure)(*job) for job in jobs)


def measure(name: str, seed: int, learn: str) -> Row:
    """The row of one class and seed; stages of training come from the store if they are there."""
    with limited_threads(1):
        detector = TunedDpm(learn=learn, only=[name], seed=seed)
        fit_or_recall(detector, open_dataset("toyvoc", "train"))
        return evaluate(detector, open_dataset("toyvoc", "test"), command="course experiment dpm_backprop")


def details(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """For each row who learned what, its AP, and what that gained over the first row of the same seed.

    ``gain[threshold]`` is the difference and its 95 % interval, resampling the pictures with both detectors on the same
    ones; None for a first row.
    """
    found = []
    for i, row in enumerate(rows):
        config, first = row.info["config"], rows[i - i % len(LEARN)]
        ap, gain = {}, {}
        for threshold in THRESHOLDS:
            now, then = (MeanAP(one.detections, one.targets, [1], threshold=threshold) for one in (row, first))
            gained = paired_bootstrap(now, then)
            ap[str(threshold)] = gained.first
            gain[str(threshold)] = None if row is first else [gained.difference, gained.low, gained.high]
        (name,) = config["only"]
        found.append({"class": name, "seed": config["seed"], "learn": config["learn"], "AP": ap, "gain": gain})
    return found
