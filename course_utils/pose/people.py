"""The persons of a data set whose joints are known."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from course_utils.datasets.base import Dataset
from course_utils.errors import DataError


@dataclass(frozen=True)
class People:
    """One entry per person.

    Attributes
    ----------
    pictures : list of ndarray
        uint8 ``(H, W, 3)``; two persons of one picture share it.
    boxes : Tensor
        float32 ``(N, 4)``.
    joints : Tensor
        float32 ``(N, 14, 3)``: x, y, v (v: 0 absent, 1 hidden, 2 visible).
    """

    pictures: list[np.ndarray]
    boxes: Tensor
    joints: Tensor

    @classmethod
    def of(cls, dataset: Dataset) -> Self:
        """All objects with joints that are not difficult; raises `DataError` if there are none."""
        pictures, boxes, joints = [], [], []
        with dataset.masks_left_out():
            for i in range(len(dataset)):
                target = dataset.target(i)
                if "joints" not in target:
                    break
                known = (target["joints"][..., 2] > 0).any(1) & ~target["difficult"]
                if known.any():
                    pictures += [dataset.image(i)] * int(known.sum())
                    boxes.append(target["boxes"][known])
                    joints.append(target["joints"][known])
        if not boxes:
            raise DataError(f"{dataset!r} has no persons with joints; wanted a data set such as toyvoc.")
        return cls(pictures, torch.cat(boxes), torch.cat(joints))

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: slice | Tensor) -> Self:
        """Some of them, by a slice, by numbers or by a mask ``(N,)``."""
        numbers = torch.arange(len(self))[index]
        return type(self)([self.pictures[i] for i in numbers.tolist()], self.boxes[numbers], self.joints[numbers])
