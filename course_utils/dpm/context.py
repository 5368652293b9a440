"""Context rescoring: what else is in a picture, and where in it a box lies, changes how likely the box is right.

Felzenszwalb, Girshick, McAllester, Ramanan, PAMI 2010, section 7.3, with the constants of release 5.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from sklearn.svm import SVC
from torch import Tensor

from course_utils.errors import DataError
from course_utils.metrics.curves import FALSE_ALARM
from course_utils.metrics.voc import match

STEEPNESS = 1.5  # of the function that squashes scores
ABSENT = -1.1  # best score of a class without detections
DEGREE = 3
POSITIVE_WEIGHT = 2.0  # of a right detection, against a wrong one


def context_features(found: Mapping[str, Tensor], size: tuple[int, int], n_classes: int) -> np.ndarray:
    """What the classifier sees of each detection of one image.

    Parameters
    ----------
    found : mapping
        Detections ``{"boxes", "labels", "scores"}``.
    size : (int, int)
        Height and width of the image.
    n_classes : int
        Labels are 1 to ``n_classes``.

    Returns
    -------
    ndarray
        float64 ``(N, 5 + n_classes)``: squashed score; x1, x2 over the width, y1, y2 over the height, in the box's
        order; squashed best score of each class in the image.
    """
    height, width = size
    scores, labels = found["scores"].double().numpy(), found["labels"].numpy()
    best = np.full(n_classes, ABSENT)
    np.maximum.at(best, labels - 1, scores)
    boxes = found["boxes"].double().numpy() / [width, height, width, height]
    everywhere = np.broadcast_to(squash(best), (len(scores), n_classes))
    return np.concatenate([squash(scores)[:, None], boxes, everywhere], axis=1)


def squash(scores: np.ndarray) -> np.ndarray:
    """Scores of any size as numbers from 0 to 1."""
    return 1 / (1 + np.exp(-STEEPNESS * scores))


@dataclass(frozen=True)
class Machine:
    """A support vector machine with the kernel ``(1 + x . y) ** 3``, as arrays.

    Attributes
    ----------
    support : ndarray
        float64 ``(n, features)``.
    coefficients : ndarray
        float64 ``(n,)``: signed.
    intercept : float
    """

    support: np.ndarray
    coefficients: np.ndarray
    intercept: float

    @classmethod
    def fitted(cls, features: np.ndarray, right: np.ndarray) -> Self:
        """Learned from features ``(N, features)`` and whether each detection is right, bool ``(N,)``."""
        svm = SVC(kernel="poly", degree=DEGREE, gamma=1.0, coef0=1.0, C=1.0, class_weight={True: POSITIVE_WEIGHT})
        svm.fit(features, right)
        return cls(svm.support_vectors_, svm.dual_coef_[0], float(svm.intercept_[0]))

    def decide(self, features: np.ndarray) -> np.ndarray:
        """Scores ``(N,)``, above 0 for what rather is right."""
        return (1 + features @ self.support.T) ** DEGREE @ self.coefficients + self.intercept


@dataclass(frozen=True)
class Context:
    """New scores from context, by one `Machine` per class.

    Attributes
    ----------
    machines : dict
        By label; a class without one keeps its scores.
    n_classes : int
    """

    machines: dict[int, Machine]
    n_classes: int

    @classmethod
    def fitted(
        cls,
        detections: Sequence[Mapping[str, Tensor]],
        targets: Sequence[Mapping[str, Tensor]],
        sizes: Sequence[tuple[int, int]],
        n_classes: int,
    ) -> Self:
        """Learned from detections and targets of images with these heights and widths.

        A detection is right if it is no false alarm by VOC's rule at IoU 0.5; as in the authors' code one of a
        difficult object is right too. A class needs both right and wrong ones to have a machine. The images should not
        be those that the detector has learned from: there its scores are too good. Raises `DataError` if lengths
        differ.
        """
        if not len(detections) == len(targets) == len(sizes):
            raise DataError(
                "Context wants as many detections, targets and sizes; "
                f"got {len(detections)}, {len(targets)} and {len(sizes)}."
            )
        features = [context_features(found, size, n_classes) for found, size in zip(detections, sizes)]
        machines = {}
        for label in range(1, n_classes + 1):
            matches = match(detections, targets, label)
            right = matches.kind != FALSE_ALARM
            if right.any() and not right.all():
                own = np.stack([features[image][row] for image, row in zip(matches.image, matches.row)])
                machines[label] = Machine.fitted(own, right)
        return cls(machines, n_classes)

    def rescored(self, found: Mapping[str, Tensor], size: tuple[int, int]) -> dict[str, Tensor]:
        """The detections of one image with their new scores, the highest first."""
        features = context_features(found, size, self.n_classes)
        scores = found["scores"].double().numpy().copy()
        for label, machine in self.machines.items():
            own = found["labels"].numpy() == label
            scores[own] = machine.decide(features[own])
        new = torch.from_numpy(scores).float()
        order = new.argsort(descending=True, stable=True)
        return {"boxes": found["boxes"][order], "labels": found["labels"][order], "scores": new[order]}

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """All of it as named tensors, for a file; `from_tensors` takes it back."""
        out = {f"{prefix}n_classes": torch.tensor(self.n_classes)}
        for label, machine in self.machines.items():
            for name, value in vars(machine).items():
                out[f"{prefix}{label}.{name}"] = torch.tensor(np.asarray(value))
        return out

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> Self:
        """What `tensors` wrote under this prefix."""
        n_classes, machines = int(tensors[f"{prefix}n_classes"]), {}
        for label in range(1, n_classes + 1):
            start = f"{prefix}{label}."
            if f"{start}support" in tensors:
                arrays = [tensors[start + name].numpy() for name in ("support", "coefficients")]
                machines[label] = Machine(*arrays, tensors[f"{start}intercept"].item())
        return cls(machines, n_classes)
