"""Real pictures that are installed with scikit-image and scikit-learn: photographs, and small crops of faces.

Only files inside the installed packages are read; nothing is ever downloaded.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.coco import CocoFile
from course_utils.datasets.images import read_image
from course_utils.errors import DataError
from course_utils.paths import repo_root

_FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
_FILES = {
    "skimage": (
        "astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png",
        "motorcycle_left.png", "motorcycle_right.png", "rocket.jpg",
        "brick.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "moon.png", "retina.jpg",
        "ihc.png", "text.png",
    ),
    "sklearn": ("china.jpg", "flower.jpg"),
}  # fmt: skip
# name of a photograph: (package, file)
_PLACES = {Path(file).stem: (package, file) for package, files in _FILES.items() for file in files}
PHOTOGRAPHS = tuple(_PLACES)


def photograph(name: str) -> np.ndarray:
    """One of `PHOTOGRAPHS` as uint8 ``(H, W, 3)`` RGB; grey ones have three equal channels.

    "motorcycle_left" and "motorcycle_right" are a stereo pair. Raises `DataError` for a name that is not
    there.
    """
    if name not in _PLACES:
        raise DataError(f"There is no photograph {name!r}; there are {', '.join(PHOTOGRAPHS)}.")
    return read_image(_installed(*_PLACES[name]))


def _folder(package: str) -> Path:
    """Where an installed package keeps its pictures, found without importing it."""
    return Path(find_spec(package).origin).parent / _FOLDERS[package]


def _installed(package: str, file: str) -> Path:
    """A data file of an installed package; `DataError` if it is missing."""
    path = _folder(package) / file
    if not path.is_file():
        raise DataError(
            f"{path} is missing: the installed {package} is damaged, or of a version that does not bring it. "
            "Install the version that constraints.txt names."
        )
    return path


class Photographs(CocoFile):
    """Bundled photographs with boxes and, for some, masks that we drew by hand.

    The annotations are ``data/photographs/annotations.json`` (CC BY 4.0, like the course's text). They are
    made for showing, not for measuring: few pictures, and not every object in them is annotated.
    """

    def __init__(self) -> None:
        annotations = repo_root() / "data" / "photographs" / "annotations.json"
        super().__init__(annotations, images=_folder("skimage"))
        self.name, self.split = "photographs", "all"

    def _picture(self, file_name: str) -> Path:
        return _installed(*_PLACES[Path(file_name).stem])


class LfwFaces(Dataset):
    """scikit-image's ``lfw_subset``: 100 grey crops of faces, then 100 of background, 25 x 25 px.

    A face fills its whole crop, so its box is the frame; the others have no object. The crops come from the
    Labeled Faces in the Wild collection, shrunk: enough for training and testing a face template, but there
    is nothing in them to search.
    """

    def __init__(self) -> None:
        ids = [f"face_{i:03d}" for i in range(100)] + [f"background_{i:03d}" for i in range(100)]
        super().__init__("lfw_faces", "all", ("face",), ids)
        self._crops = np.load(_installed("skimage", "lfw_subset.npy"))
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
