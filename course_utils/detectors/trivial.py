"""Two detectors that do not look at the picture: what any system has to beat."""

import zlib

import numpy as np
import torch
from torch import Tensor

from course_utils.datasets.base import Dataset
from course_utils.detectors.base import Detector
from course_utils.errors import DataError


class RandomBoxes(Detector):
    """Boxes with corners anywhere, labels as frequent as in training, scores without meaning.

    Parameters
    ----------
    n : int
        Boxes per image.
    seed : int
        The same seed and the same picture give the same boxes.
    """

    system = "random_boxes"

    def __init__(self, *, n: int = 100, seed: int = 0) -> None:
        super().__init__(seed=seed)
        if n < 1:
            raise DataError(f"n is {n}; wanted at least one box per image.")
        self.n = n

    def _fit(self, dataset: Dataset) -> None:
        labels = torch.cat([target["labels"] for target in _sure_targets(dataset)])
        counts = torch.bincount(labels, minlength=len(self.classes) + 1)[1:]
        self.parameters = {"frequency": counts / counts.sum()}

    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        # seeded by the picture too, so that the result does not depend on which pictures came before
        rng = np.random.default_rng([self.seed, zlib.crc32(image.tobytes())])
        height, width = image.shape[:2]
        corners = rng.random((self.n, 2, 2)) * (width - 1, height - 1)  # (n, corner, x and y)
        boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1) + 1], axis=1)  # a pixel wide at least
        frequency = self.parameters["frequency"].double().numpy()
        labels = 1 + rng.choice(len(frequency), size=self.n, p=frequency / frequency.sum())
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(rng.random(self.n), dtype=torch.float32),
        }


class MeanBox(Detector):
    """In every picture the same: the mean box of each class, its score the share of pictures that hold the class.

    Boxes are averaged in units of the picture's width and height. Difficult objects are left out, and so are
    classes that the training data do not have. As all pictures would tie, and AP then be a matter of their order, a
    random part of at most one hundredth is taken off each score; it depends on the seed and the picture.
    """

    system = "mean_box"

    def _fit(self, dataset: Dataset) -> None:
        boxes, labels, pictures = [], [], torch.zeros(len(self.classes))
        for i, target in enumerate(_sure_targets(dataset)):
            height, width = dataset.size(i)
            boxes.append(target["boxes"] / torch.tensor([width, height, width, height]))
            labels.append(target["labels"])
            pictures[target["labels"].unique() - 1] += 1
        of_class = torch.cat(labels) == torch.arange(1, len(self.classes) + 1)[:, None]  # (classes, objects)
        mean = of_class.float() @ torch.cat(boxes) / of_class.sum(dim=1, keepdim=True).clamp(min=1)
        self.parameters = {"boxes": mean, "share": pictures / len(dataset)}

    def _detect(self, image: np.ndarray) -> dict[str, Tensor]:
        height, width = image.shape[:2]
        known = self.parameters["share"] > 0
        rng = np.random.default_rng([self.seed, zlib.crc32(image.tobytes())])
        share = self.parameters["share"] * (1 - 0.01 * torch.from_numpy(rng.random(len(known))).float())
        return {
            "boxes": self.parameters["boxes"][known] * torch.tensor([width, height, width, height]),
            "labels": known.nonzero()[:, 0] + 1,
            "scores": share[known],
        }


def _sure_targets(dataset: Dataset) -> list[dict[str, Tensor]]:
    """Boxes and labels ``{"boxes", "labels"}`` of each image without its difficult objects; `DataError` if none."""
    with dataset.masks_left_out():
        targets = [dataset.target(i) for i in range(len(dataset))]
    sure = [{key: target[key][~target["difficult"]] for key in ("boxes", "labels")} for target in targets]
    if not any(len(target["labels"]) for target in sure):
        raise DataError(f"{dataset!r} has no object that is not difficult, so there is nothing to learn from.")
    return sure
