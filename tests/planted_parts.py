"""A tiny data set whose only object is made of three shapes that move about; used by the tests of DPM's training."""

import numpy as np

from course_utils.datasets.base import Dataset, make_target

SIDE, SHAPE, BOX = 136, 24, (88, 56)  # pixels: picture, shape, width and height of the object's box
PLACES = ((4, 4), (32, 28), (60, 4))  # x, y of the shapes in the box
CONTRAST = 90


def shape(which: int) -> np.ndarray:
    """A ring, a cross or a triangle drawn with a thick line: 0 or 1, ``(SHAPE, SHAPE)``."""
    y, x = np.mgrid[:SHAPE, :SHAPE] - (SHAPE - 1) / 2
    edge = (
        np.hypot(x, y) - 0.4 * SHAPE,
        np.minimum(abs(x), abs(y)),
        np.maximum(-y, abs(x) * 0.87 + y / 2) - 0.3 * SHAPE,
    )[which]
    return (abs(edge) < 2.5).astype(float)


class Planted(Dataset):
    """``n`` pictures of noise, every other one with the object, the others with its shapes in other places.

    Attributes
    ----------
    moved : list of ndarray
        For each picture how far (x, y) the three shapes are from their usual places, float ``(3, 2)``.
    """

    def __init__(self, n: int, jitter: float, seed: int, split: str = "train", noise: float = 60) -> None:
        super().__init__("planted", split, ("thing",), [f"{split}_{i}" for i in range(n)])
        self.pictures, self.targets, self.moved = [], [], []
        for i in range(n):
            rng = np.random.default_rng([seed, i])
            picture = rng.normal(100, noise, (SIDE, SIDE))
            moved, boxes = rng.uniform(-jitter, jitter, (3, 2)).round(), []
            places = rng.integers(0, SIDE - SHAPE, (3, 2))
            if i % 2 == 0:
                corner = np.array([rng.integers(jitter, SIDE - side - jitter) for side in BOX])
                places = corner + PLACES + moved
                boxes = [(*corner, *(corner + BOX))]
            for which, (x, y) in enumerate(places.astype(int)):
                x, y = np.clip((x, y), 0, SIDE - SHAPE)
                picture[y : y + SHAPE, x : x + SHAPE] += CONTRAST * shape(which)
            self.pictures.append(np.repeat(np.clip(picture, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2))
            self.targets.append(make_target(boxes, [1] * len(boxes)))
            self.moved.append(moved)

    def image(self, i):
        return self.pictures[i]

    def target(self, i):
        return self.targets[i]
