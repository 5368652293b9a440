"""The real photographs of the course: those that are installed with scikit-image and scikit-learn.

Only files inside the installed packages are read; nothing is ever downloaded.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from course_utils.errors import DataError
from course_utils.images import read_image

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
PLACES = {Path(file).stem: (package, file) for package, files in _FILES.items() for file in files}
PHOTOGRAPHS = tuple(PLACES)


def photograph(name: str) -> np.ndarray:
    """One of `PHOTOGRAPHS` as uint8 ``(H, W, 3)`` RGB; grey ones have three equal channels.

    "motorcycle_left" and "motorcycle_right" are a stereo pair. Raises `DataError` for a name that is not
    there.
    """
    if name not in PLACES:
        raise DataError(f"There is no photograph {name!r}; there are {', '.join(PHOTOGRAPHS)}.")
    return read_image(installed_file(*PLACES[name]))


def folder_of(package: str) -> Path:
    """Where an installed package keeps its pictures, found without importing it."""
    return Path(find_spec(package).origin).parent / _FOLDERS[package]


def installed_file(package: str, file: str) -> Path:
    """A data file of an installed package; `DataError` if it is missing."""
    path = folder_of(package) / file
    if not path.is_file():
        raise DataError(
            f"{path} is missing: the installed {package} is damaged, or of a version that does not bring it. "
            "Install the version that constraints.txt names."
        )
    return path
