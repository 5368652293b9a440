"""Views of a data set with one object per picture, for tasks that know of no more."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_area

from course_utils.datasets.base import Dataset
from course_utils.errors import DataError

CLOSEUP = (0.4, 0.9)  # longer side of the object in a close-up, in parts of the window's


def largest_object(target: dict[str, Tensor]) -> int | None:
    """Number of the largest object that is not difficult, the first of equally large ones; None if there is none."""
    area = box_area(target["boxes"]).masked_fill(target["difficult"], -1)
    return int(area.argmax()) if len(area) and area.max() > 0 else None


class LargestObject(Dataset):
    """A data set with one object per picture: the largest that is not difficult.

    Pictures without such an object are left out; of equally large objects the first counts.

    Parameters
    ----------
    dataset : Dataset
        Any. Raises `DataError` if none of its pictures has such an object.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._whole, self._picture, self._object = dataset, [], []
        with dataset.masks_left_out():
            for i in range(len(dataset)):
                largest = largest_object(dataset.target(i))
                if largest is not None:
                    self._picture.append(i)
                    self._object.append(largest)
        if not self._picture:
            raise DataError(f"{dataset!r} has no object that is not difficult, so there is nothing to localize.")
        ids = [dataset.ids[i] for i in self._picture]
        super().__init__(dataset.name, dataset.split, dataset.classes, ids)
        self.report = dataset.report

    def image(self, i: int) -> np.ndarray:
        return self._whole.image(self._picture[i])

    def target(self, i: int) -> dict[str, Tensor]:
        k = self._object[i]
        return {key: value[k : k + 1] for key, value in self._whole.target(self._picture[i]).items()}

    def size(self, i: int) -> tuple[int, int]:
        return self._whole.size(self._picture[i])

    def file_name(self, i: int) -> str:
        return self._whole.file_name(self._picture[i])

    def _content(self, i: int) -> Iterable[bytes]:
        return self._whole._content(self._picture[i])

    @contextmanager
    def masks_left_out(self) -> Iterator[None]:
        with self._whole.masks_left_out():
            yield


class Closeups(LargestObject):
    """The same seen from near: of each picture a square window around the largest object, which lies anywhere in it.

    The window holds the whole object, and may hold (parts of) others. It depends on the seed and on the picture's
    number among those that have an object, and is as large as the object's longer side divided by a random number
    from 0.4 to 0.9, as far as the picture goes.

    Parameters
    ----------
    dataset : Dataset
    seed : int
    """

    def __init__(self, dataset: Dataset, seed: int = 0) -> None:
        super().__init__(dataset)
        self.name = f"{dataset.name}-closeups"
        self._windows = [self._window(i, seed) for i in range(len(self))]

    def _window(self, i: int, seed: int) -> tuple[int, int, int]:
        """Left and upper edge and side, in pixels."""
        rng = np.random.default_rng([seed, i])
        height, width = super().size(i)
        with self.masks_left_out():
            x1, y1, x2, y2 = super().target(i)["boxes"][0].tolist()
        least = math.ceil(max(x2 - x1, y2 - y1))
        side = min(height, width, max(least, round(least / rng.uniform(*CLOSEUP))))
        if side < least:  # a long object in a long picture
            raise DataError(f"{self.name}: the object of {self.ids[i]} fits into no square window of its picture.")
        corner = (
            int(rng.integers(max(0, math.ceil(far) - side), min(whole - side, math.floor(near)) + 1))
            for near, far, whole in ((x1, x2, width), (y1, y2, height))
        )
        return *corner, side

    def image(self, i: int) -> np.ndarray:
        x, y, side = self._windows[i]
        return np.ascontiguousarray(super().image(i)[y : y + side, x : x + side])

    def target(self, i: int) -> dict[str, Tensor]:
        x, y, _ = self._windows[i]
        kept = {key: value for key, value in super().target(i).items() if key not in ("masks", "joints", "area")}
        return kept | {"boxes": kept["boxes"] - torch.tensor([x, y, x, y])}

    def size(self, i: int) -> tuple[int, int]:
        return self._windows[i][2], self._windows[i][2]

    def _content(self, i: int) -> Iterable[bytes]:
        return [self.image(i).tobytes()]
