"""Which real photograph, and which part of it, stands behind which split of ToyVOC."""

import functools
from dataclasses import dataclass

import numpy as np

from course_utils.photographs import photograph

PARTS = {"train": (0, 3), "val": (1,), "test": (2,)}


@dataclass(frozen=True)
class Source:
    """A rectangle (fractions x1 y1 x2 y2) of a bundled photograph and what it may serve as.

    The rectangle is cut into four quarters; a split sees only its own quarters (``PARTS``), so that no pixel of a
    photograph is behind both a training and a test scene. *grey* photographs get a tint. *shows* names the classes of
    ToyNet that are to be seen in it: scenes of a set that has such a class do without this photograph.
    """

    photo: str
    rectangle: tuple[float, float, float, float]
    ground: bool
    backdrop: bool
    grey: bool = False
    shows: tuple[str, ...] = ()


# astronaut, camera (persons) and chelsea (a cat) contain a class of ToyVOC and are not used at all.
SOURCES = (
    Source("grass", (0, 0, 1, 1), True, False, grey=True),
    Source("gravel", (0, 0, 1, 1), True, False, grey=True),
    Source("brick", (0, 0, 1, 1), True, True, grey=True),
    Source("moon", (0, 0, 1, 1), True, False, grey=True),
    Source("ihc", (0, 0, 1, 1), True, True),
    Source("retina", (0.2, 0.2, 0.8, 0.8), True, True),
    Source("flower", (0, 0, 1, 1), True, True, shows=("flower",)),
    Source("china", (0, 0, 1, 1), True, True, shows=("house",)),
    Source("coffee", (0, 0, 1, 1), True, True, shows=("mug", "table")),
    Source("rocket", (0, 0, 1, 1), False, True, shows=("rocket",)),
    Source("hubble_deep_field", (0, 0, 1, 1), False, True),
    Source("motorcycle_left", (0.42, 0, 1, 0.42), False, True),  # without the bench at the left, nearly a chair
    Source("text", (0, 0, 1, 1), True, False, grey=True),
)


@functools.cache
def quarter(source: Source, part: int) -> np.ndarray:
    """One quarter of the source's rectangle, float32 (h, w, 3) in 0-1; *part* 0 to 3, row by row."""
    image = photograph(source.photo)
    height, width = image.shape[:2]
    x1, y1, x2, y2 = (np.array(source.rectangle) * [width, height, width, height]).round().astype(int)
    xm, ym = (x1 + x2) // 2, (y1 + y2) // 2
    rows, columns = ((y1, ym), (ym, y2))[part // 2], ((x1, xm), (xm, x2))[part % 2]
    return image[slice(*rows), slice(*columns)].astype(np.float32) / 255


def pick_quarter(
    rng: np.random.Generator, split: str, rotation: int, ground: bool, classes: tuple[str, ...] = ()
) -> np.ndarray:
    """A random quarter that *split* may see, tinted if grey.

    Photographs that show one of *classes* are passed over. *rotation* (0 to 3) moves the quarters on by so many
    places: four ways to divide the photographs give error bars.
    """
    sources = [s for s in SOURCES if (s.ground if ground else s.backdrop) and not set(s.shows) & set(classes)]
    source = sources[rng.integers(len(sources))]
    part = (PARTS[split][rng.integers(len(PARTS[split]))] + rotation) % 4
    picture = quarter(source, part)
    if source.grey:
        tint = rng.uniform(0.8, 1.2) * rng.uniform(0.75, 1.1, 3)
        if source.photo == "grass" and rng.uniform() < 0.7:
            tint = np.array([rng.uniform(0.5, 0.9), rng.uniform(0.85, 1.15), rng.uniform(0.3, 0.6)])
        picture = np.clip(picture * tint.astype(np.float32), 0, 1)
    return picture
