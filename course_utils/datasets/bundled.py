"""Data sets of what is installed with scikit-image: photographs with our boxes, and small crops of faces."""

from pathlib import Path

import numpy as np
import torch

from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.coco import CocoFile
from course_utils.errors import DataError
from course_utils.paths import repo_root
from course_utils.photographs import PLACES, folder_of, installed_file


class Photographs(CocoFile):
    """Bundled photographs with boxes and, for some, masks that we drew by hand.

    The annotations are ``data/photographs/annotations.json`` (CC BY 4.0, like the course's text). They are
    made for showing, not for measuring: few pictures, and not every object in them is annotated.
    """

    def __init__(self) -> None:
        annotations = repo_root() / "data" / "photographs" / "annotations.json"
        super().__init__(annotations, images=folder_of("skimage"))
        self.name, self.split = "photographs", "all"

    def _picture(self, file_name: str) -> Path:
        return installed_file(*PLACES[Path(file_name).stem])


class LfwFaces(Dataset):
    """scikit-image's ``lfw_subset``: 100 grey crops of faces, then 100 of background, 25 x 25 px.

    A face fills its whole crop, so its box is the frame; the others have no object. The crops come from the
    Labeled Faces in the Wild collection, shrunk: enough for training and testing a face template, but there
    is nothing in them to search.
    """

    def __init__(self) -> None:
        ids = [f"face_{i:03d}" for i in range(100)] + [f"background_{i:03d}" for i in range(100)]
        super().__init__("lfw_faces", "all", ("face",), ids)
        self._crops = np.load(installed_file("skimage", "lfw_subset.npy"))
        if self._crops.shape != (200, 25, 25):
            raise DataError(f"scikit-image's lfw_subset has shape {self._crops.shape}; wanted (200, 25, 25).")

    def image(self, i: int) -> np.ndarray:
        grey = np.round(self._crops[i] * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    def target(self, i: int) -> dict[str, torch.Tensor]:
        height, width = self.size(i)
        faces = 1 if i % len(self) < 100 else 0
        return make_target([(0, 0, width, height)] * faces, [1] * faces)

    def size(self, i: int) -> tuple[int, int]:
        return self._crops.shape[1:]


def open_bundled(name: str, split: str | None) -> Dataset:
    """The data set "photographs" or "lfw_faces"; neither has splits."""
    if split not in (None, "all"):
        raise DataError(f"The data set {name!r} has no splits; leave split out, instead of {split!r}.")
    return Photographs() if name == "photographs" else LfwFaces()
