"""Deformable part models: for each class a mixture of roots with parts on springs, learned from boxes alone."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from threadpoolctl import threadpool_limits
from torch import Tensor

from course_utils.datasets.base import Dataset
from course_utils.detectors.base import Detector, name_and_digest
from course_utils.dpm.inference import detect_mixtures
from course_utils.dpm.model import Mixture
from course_utils.dpm.release5 import read_release5
from course_utils.dpm.training import (
    OVERLAP,
    Positive,
    cut_out,
    finished,
    large_enough,
    latent_training,
    rigid_roots,
    with_parts,
)
from course_utils.dpm.views import SMALLEST_ROOT
from course_utils.errors import DataError
from course_utils.progress import note, progress
from course_utils.store import Store, key_of

EVALUATED_ABOVE = -1.1
"""To this the authors, too, lower the threshold of a finished model before they evaluate it (`voc_config.m`)."""


class Dpm(Detector):
    """A mixture of star models per class (PAMI 2010, release 5), see `course_utils.dpm`.

    Parameters
    ----------
    aspects : int
        Groups of aspect ratios; each has a root of its own shape.
    mirrored : bool
        Whether each group gets two components, mirror images of each other, that share their weights.
    parts : int
        Of each component, at most; 0 for rigid templates.
    box_prediction : bool
        Whether boxes are predicted from where root and parts stand, or are the root's.
    only : sequence of str, optional
        Classes to learn; others are then neither learned nor reported. None: all.
    enlarged : float
        Pictures are made so much larger first, so that small objects fill a root.
    interval : int
        Levels per octave of the pyramid in detection.
    C : float
        Weight of the errors against the size of the weights.
    scanned : int
        Pictures without the class that negatives are taken from, drawn at random.
    seed : int
        Of all that is drawn.
    resume : bool
        Whether finished stages of training are kept in the store and taken from there, so that an interrupted training
        goes on, and trainings that differ in later stages share the earlier ones. What is learned is the same.
    """

    system = "dpm"

    def __init__(
        self,
        *,
        aspects: int = 2,
        mirrored: bool = True,
        parts: int = 8,
        box_prediction: bool = True,
        only: Sequence[str] | None = None,
        enlarged: float = 1.5,
        interval: int = 5,
        C: float = 0.002,
        scanned: int = 100,
        seed: int = 0,
        resume: bool = True,
    ) -> None:
        super().__init__(seed=seed)
        if min(aspects, interval, scanned) < 1 or parts < 0 or min(enlarged, C) <= 0:
            raise DataError(
                "dpm wants aspects, interval and scanned >= 1, parts >= 0, enlarged and C > 0; "
                f"got {aspects}, {interval}, {scanned}, {parts}, {enlarged} and {C}."
            )
        self.aspects, self.mirrored, self.parts, self.box_prediction = aspects, mirrored, parts, box_prediction
        self.only = None if only is None else list(only)
        self.enlarged, self.interval, self.C, self.scanned, self.resume = enlarged, interval, C, scanned, resume
        self._mixtures: dict[int, Mixture] = {}

    # ------------------------------------------------------------------------------------------------- training

    def _fit(self, dataset: Dataset) -> None:
        unknown = set(self.only or ()) - set(dataset.classes)
        if unknown or self.only == []:
            raise DataError(
                f"dpm is to learn {', '.join(sorted(unknown)) or 'nothing'}; {dataset!r} has "
                f"{', '.join(dataset.classes)}. Name some of these in only=, or leave it out."
            )
        self.classes = tuple(name for name in dataset.classes if self.only is None or name in self.only)
        with dataset.masks_left_out():
            targets = [dataset.target(i) for i in range(len(dataset))]
        # the optimizer's many small products are no faster on several threads
        with threadpool_limits(1, user_api="blas"):
            for name in self.classes:
                mixture = self._learn(dataset, targets, name)
                if mixture is not None and not self.box_prediction:
                    components = tuple(replace(one, box_predictor=None) for one in mixture.components)
                    mixture = replace(mixture, components=components)
                if mixture is not None:
                    self.parameters |= mixture.tensors(f"{name}.")
        if not self.parameters:
            raise DataError(f"dpm can learn none of {', '.join(self.classes)} from {dataset!r}: {self._wanted()}.")
        self._restored()

    def _learn(self, dataset: Dataset, targets: list[dict[str, Tensor]], name: str) -> Mixture | None:
        """The mixture of one class; None if there are too few objects to learn from."""
        label = dataset.classes.index(name) + 1
        positives, negatives = self._examples(dataset, targets, label)
        if len(positives) < 2 * self.aspects or not negatives:
            note(
                f"dpm leaves {name} out ({len(positives)} objects, {len(negatives)} pictures without): {self._wanted()}"
            )
            return None
        how = {"mirrored": self.mirrored, "C": self.C}

        def rng(stage: int) -> np.random.Generator:
            return np.random.default_rng([self.seed, label, stage])

        settings = {"class": name, "enlarged": self.enlarged, "scanned": self.scanned, "aspects": self.aspects, **how}
        stages: list[tuple[dict[str, Any], Callable[[Any], Mixture]]] = [
            ({}, lambda _: rigid_roots(positives, negatives, aspects=self.aspects, rng=rng(1), **how)),
            ({}, lambda m: latent_training(m, positives, negatives, relabellings=2, minings=8, what=name, **how)),
        ]
        if self.parts:
            own = {"parts": self.parts}
            stages += [
                (own, lambda m: with_parts(m, self.parts, self.mirrored, rng(2))),
                (
                    own,
                    lambda m: latent_training(
                        m, positives, negatives, relabellings=2, minings=8, what=f"{name} with parts", **how
                    ),
                ),
            ]
        stages += [({"interval": self.interval}, lambda m: finished(m, positives, interval=self.interval, what=name))]
        mixture = None
        for number, (more, make) in enumerate(stages):
            settings |= more | {"stage": number}
            mixture = self._kept(dataset, settings, lambda make=make, before=mixture: make(before))
        return mixture

    def _wanted(self) -> str:
        return (
            f"a class needs {2 * self.aspects} objects that are neither difficult nor truncated and have at least "
            f"{OVERLAP * SMALLEST_ROOT / self.enlarged**2:.0f} square pixels, and pictures without it"
        )

    def _kept(self, dataset: Dataset, settings: dict[str, Any], make: Callable[[], Mixture]) -> Mixture:
        """What ``make`` makes, or made before."""
        if not self.resume:
            return make()
        key = key_of(code=(Dpm,), config=settings, data=name_and_digest(dataset), seed=self.seed)
        return Mixture.from_tensors(Store().keep("dpm", key, lambda: (make().tensors(""), settings))[0], "")

    def _examples(
        self, dataset: Dataset, targets: list[dict[str, Tensor]], label: int
    ) -> tuple[list[Positive], list[np.ndarray]]:
        """Whole objects of the class that are large enough, and pictures without it, all enlarged."""
        positives, without = [], []
        for i, target in enumerate(progress(targets, f"{dataset.classes[label - 1]}, pictures")):
            own = target["labels"] == label
            sure = own & ~target["difficult"] & ~target["truncated"]
            if sure.any():
                image, factor = enlarge(dataset.image(i), self.enlarged)
                boxes = target["boxes"][sure].double().numpy() * factor.numpy()
                positives += [cut_out(image, box) for box in boxes[large_enough(boxes)]]
            elif not own.any():
                without.append(i)
        chosen = np.random.default_rng([self.seed, label, 0]).permutation(without)[: self.scanned]
        return positives, [enlarge(dataset.image(i), self.enlarged)[0] for i in np.sort(chosen).tolist()]

    @classmethod
    def from_models(cls, paths: Sequence[str | Path]) -> "ReleasedDpm":
        """The authors' own models, one file of release 5 per class; see `ReleasedDpm`."""
        return ReleasedDpm.of_files(paths)

    # ------------------------------------------------------------------------------------------------ detection

    def _restored(self) -> None:
        self._mixtures = {
            label: Mixture.from_tensors(self.parameters, f"{name}.")
            for label, name in enumerate(self.classes, 1)
            if f"{name}.threshold" in self.parameters
        }

    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        large, factor = enlarge(image, self.enlarged)
        found = detect_mixtures(self._mixtures, large, stages=self.stages)
        return found | {"boxes": found["boxes"] / factor.float()}


class ReleasedDpm(Dpm):
    """The authors' own models, trained on PASCAL VOC 2007 or INRIA; see `course_utils.dpm.release5`."""

    def __init__(self, *, enlarged: float = 1.0) -> None:
        super().__init__(enlarged=enlarged)

    @classmethod
    def of_files(cls, paths: Sequence[str | Path]) -> Self:
        """A detector of one file per class, which reports down to `EVALUATED_ABOVE`.

        Raises `DataError` for no file, a file that is no such model, and two of the same class.
        """
        mixtures: dict[str, Mixture] = {}
        for path in paths:
            name, mixture = read_release5(path)
            if name in mixtures:
                raise DataError(f"{path} is a second model of {name}; give one file per class.")
            mixtures[name] = replace(mixture, threshold=min(mixture.threshold, EVALUATED_ABOVE))
        if not mixtures:
            raise DataError("There is no model to read; give at least one file of voc-release5.")
        detector = cls()
        detector.classes = tuple(mixtures)
        for name, mixture in mixtures.items():
            detector.parameters |= mixture.tensors(f"{name}.")
        detector.trained_on = {"data": "voc-release5", "split": None, "n_images": None, "digest": None, "images": []}
        detector._restored()
        return detector


def enlarge(image: np.ndarray, factor: float) -> tuple[np.ndarray, Tensor]:
    """The picture, so much larger, and how much larger each of x1, y1, x2, y2 became: whole pixels cost a little."""
    height, width = image.shape[:2]
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    large = image if size == (width, height) else np.asarray(Image.fromarray(image).resize(size, Image.BILINEAR))
    return large, torch.tensor([size[0] / width, size[1] / height]).repeat(2)
