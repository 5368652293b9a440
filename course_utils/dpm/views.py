"""How training begins: groups of one shape, pictures brought to the root's size, and which of them face the other way.

Release 5 of the authors' code (voc-release5), with two simplifications: a group's shape is its median aspect ratio
instead of a smoothed histogram's mode, and the split into left and right has a closed form, see `left_right_split`.
"""

import numpy as np
from PIL import Image

from course_utils.fhog import CELL, fhog, flip_features

SMALLEST_ROOT, LARGEST_ROOT = 3000, 5000  # square pixels, as in release 5


def aspects_of(boxes: np.ndarray, n: int) -> np.ndarray:
    """Group 0 to n - 1 of each box ``(N, 4)``: equally many from the widest to the tallest; int64 ``(N,)``."""
    size = boxes[:, 2:] - boxes[:, :2]
    rank = np.argsort(np.argsort(size[:, 1] / size[:, 0], kind="stable"), kind="stable")
    return rank * n // max(len(boxes), 1)


def root_size(boxes: np.ndarray) -> tuple[int, int]:
    """Rows and columns of a root for these boxes ``(N, 4)``.

    It has their median aspect ratio, and an area that four of five boxes exceed, within limits: what is smaller than
    the root cannot be found, and a root with few cells says little.
    """
    size = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    aspect = np.median(size[:, 1] / size[:, 0])
    area = np.clip(np.quantile(size.prod(axis=1), 0.2), SMALLEST_ROOT, LARGEST_ROOT)
    return max(round((area * aspect) ** 0.5 / CELL), 3), max(round((area / aspect) ** 0.5 / CELL), 3)


def warped(image: np.ndarray, box: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Features ``(rows, columns, 32)`` of a box, brought to so many cells whatever its shape.

    One cell more on every side is cut out with it, for `fhog` gives none for the border; beyond the picture its
    outermost pixels are repeated.
    """
    rows, columns = cells
    step = (box[2:] - box[:2]) / (columns, rows)  # width and height of a cell in pixels of the picture
    x1, y1, x2, y2 = np.concatenate([box[:2] - step, box[2:] + step])
    height, width = image.shape[:2]
    beyond = int(np.ceil(max(0, -x1, -y1, x2 - width, y2 - height)))
    wide = Image.fromarray(np.pad(image, ((beyond, beyond), (beyond, beyond), (0, 0)), mode="edge"))
    size = (CELL * (columns + 2), CELL * (rows + 2))
    return fhog(np.asarray(wide.resize(size, Image.BILINEAR, box=(x1 + beyond, y1 + beyond, x2 + beyond, y2 + beyond))))


def left_right_split(examples: np.ndarray, rng: np.random.Generator, restarts: int = 25) -> np.ndarray:
    """Which examples to mirror so that all face the same way; bool ``(N,)``.

    Two means, under the constraint that an example and its mirror image belong to different clusters. Then one
    cluster is the mirror image of the other, and the sum of squared distances to the means is smallest where the mean
    of the examples, each as it is or mirrored, is longest. Half the difference between an example and its mirror image,
    d, is what mirroring changes the sign of, so we look for signs s that make ``|sum of s_i d_i|`` large. Changing one
    sign at a time, as long as it helps, ends in a local maximum; the best of several starts is kept.

    Parameters
    ----------
    examples : ndarray
        ``(N, rows, columns, 32)``.
    rng : numpy.random.Generator
        Chooses the starts.
    restarts : int
        How many.
    """
    halves = np.stack([(one - flip_features(one)).ravel() / 2 for one in examples]).astype(np.float64)
    products = halves @ halves.T
    np.fill_diagonal(products, 0)
    best, longest = np.ones(len(examples)), -np.inf
    for _ in range(restarts):
        signs = rng.choice([-1.0, 1.0], len(examples))
        pulls = products @ signs  # of all others on each
        while signs[worst := np.argmin(signs * pulls)] * pulls[worst] < -1e-9:
            signs[worst] *= -1
            pulls += 2 * signs[worst] * products[:, worst]
        if signs @ pulls > longest:
            best, longest = signs, signs @ pulls
    return best < 0
