"""Histograms of oriented gradients (HoG) of a whole picture, its pyramid, and the score of every window.

Dalal and Triggs, "Histograms of Oriented Gradients for Human Detection", CVPR 2005. Three steps make `hog`:
`gradients`, `block_histograms`, `l2_hys`. A block is 2 x 2 cells of 8 x 8 px; blocks start every 8 px from the top left
corner, so that a picture of H x W px has ``(H // 8 - 1, W // 8 - 1)`` of them, and up to 7 px at the right and at the
bottom belong to none. Features are float32 ``(rows, columns, 36)``, where 36 is (cell row, cell column, bin).

A template of ``(r, c, 36)`` sees a window of ``8 (r + 1) x 8 (c + 1)`` px; its window at (row, column) of a pyramid's
level starts at pixel (8 row, 8 column) of that level.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from torch.nn.functional import interpolate

from course_utils.errors import CourseError, DataError

CELL, BINS, CLIP = 8, 9, 0.2

# The differences of 8-bit pixels are whole numbers from -255 to 255, so all angles that can occur stand in one table.
ANGLES = np.degrees(np.arctan2(np.arange(256)[:, None], np.arange(-255, 256))).astype(np.float32)
"""Orientation in degrees, 0 to 180, of the gradient (dx, dy): ``ANGLES[dy, dx + 255]``, dy from 0 to 255."""


class Level(NamedTuple):
    """One size of a picture.

    Attributes
    ----------
    features : ndarray
        float32 ``(rows, columns, 36)``, see `hog`.
    scale : (float, float)
        Width and height of the picture divided by those of this level: factors that bring x and y back.
    """

    features: np.ndarray
    scale: tuple[float, float]


# ------------------------------------------------------------------------------------------------------- features


def hog(image: np.ndarray, *, sigma: float = 8.0) -> np.ndarray:
    """All blocks of a picture.

    Parameters
    ----------
    image : ndarray
        uint8 ``(H, W, 3)``.
    sigma : float
        Standard deviation, in pixels, of the Gaussian that weights the pixels of a block. The paper takes half the
        block, 8; OpenCV takes 4 unless told (``winSigma``).

    Returns
    -------
    ndarray
        float32 ``(H // 8 - 1, W // 8 - 1, 36)``; below 16 px there is no block, and rows or columns are 0.

    Raises `DataError` if the image is of another kind. The paper leaves open how borders and ties are treated and how
    large the epsilons are; here they are OpenCV's, see `gradients`, `block_histograms` and `l2_hys`. The same numbers
    come from ``cv2.HOGDescriptor`` with the square root switched off (``gammaCorrection``), in another order.
    """
    magnitude, orientation = gradients(image)
    return l2_hys(block_histograms(magnitude, orientation, cell_profiles(sigma)))


def gradients(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude and orientation of the gradient, each float32 ``(H, W)``.

    Centred differences [-1, 0, 1] without smoothing, of the channel in which they are longest. Orientations are degrees
    from 0 to 180 where 0 and 180 are the same: x to the right, y down, a vertical edge has 0. Beyond the border the
    picture is mirrored about its outermost pixel, so that the difference across the border is 0.
    """
    check_image(image)
    planes = np.pad(image.transpose(2, 0, 1), ((0, 0), (1, 1), (1, 1)), mode="reflect")
    return polar(*strongest_differences(planes), ANGLES)


@njit(cache=True, nogil=True)
def strongest_differences(planes):
    """Differences dx, dy, int16 ``(H, W)``, of the channel where they are longest; ``planes``: ``(3, H + 2, W + 2)``.

    Of equally long ones the first channel's. A gradient and its opposite count as the same, and dy >= 0 is returned.
    """
    height, width = planes.shape[1] - 2, planes.shape[2] - 2
    strongest_dx = np.empty((height, width), np.int16)
    strongest_dy = np.empty((height, width), np.int16)
    for y in range(height):
        for x in range(width):
            longest, strongest_x, strongest_y = np.int32(-1), np.int32(0), np.int32(0)
            for channel in range(3):
                dx = np.int32(planes[channel, y + 1, x + 2]) - np.int32(planes[channel, y + 1, x])
                dy = np.int32(planes[channel, y + 2, x + 1]) - np.int32(planes[channel, y, x + 1])
                if dx * dx + dy * dy > longest:
                    longest, strongest_x, strongest_y = dx * dx + dy * dy, dx, dy
            if strongest_y < 0:
                strongest_x, strongest_y = -strongest_x, -strongest_y
            strongest_dx[y, x], strongest_dy[y, x] = strongest_x, strongest_y
    return strongest_dx, strongest_dy


@njit(cache=True, nogil=True)
def polar(dx, dy, angles):
    """Length of (dx, dy), and its angle from the table `ANGLES`; each float32 ``(H, W)``."""
    magnitude = np.empty(dx.shape, np.float32)
    orientation = np.empty(dx.shape, np.float32)
    for y in range(dx.shape[0]):
        for x in range(dx.shape[1]):
            a, b = np.float32(dx[y, x]), np.float32(dy[y, x])
            magnitude[y, x] = math.sqrt(a * a + b * b)
        for x in range(dx.shape[1]):
            orientation[y, x] = angles[dy[y, x], dx[y, x] + 255]
    return magnitude, orientation


def cell_profiles(sigma: float) -> np.ndarray:
    """How much a pixel counts for the first and the second cell of its block, by its place; float32 ``(2, 16)``.

    The product of the linear interpolation between cell centres (at 4 and 12 px) and the block's Gaussian. As both
    are separable, the weight of pixel (y, x) for cell (row, column) is ``profiles[row, y] * profiles[column, x]``.
    OpenCV's Gaussian is centred on pixel 8, half a pixel right of the middle, and so is this one; therefore features of
    a mirrored picture are close to, but not quite, the mirrored features.
    """
    pixel = np.arange(2 * CELL)
    centre = np.array([[CELL / 2], [3 * CELL / 2]])
    linear = np.maximum(0, 1 - np.abs(pixel + 0.5 - centre) / CELL)
    return (linear * np.exp(-((pixel - CELL) ** 2) / (2 * sigma**2))).astype(np.float32)


@njit(cache=True, nogil=True)
def block_histograms(magnitude, orientation, profiles):
    """Histograms of the four cells of every block, float32 ``(rows, columns, 2, 2, 9)``, not normalised.

    Each pixel gives its magnitude to the two nearest of 9 bins (centres 10, 30, ..., 170 degrees; the last and the
    first are neighbours) and to the cells of each block it lies in, weighted by `cell_profiles`.
    First every column of pixels of a row of blocks is summed from top to bottom, then from left to right.
    """
    rows, columns = max(magnitude.shape[0] // CELL - 1, 0), max(magnitude.shape[1] // CELL - 1, 0)
    blocks = np.zeros((rows, columns, 2, 2, BINS), np.float32)
    strip = np.zeros((CELL * (columns + 1), 2, BINS), np.float32)  # of one row of blocks: pixel column, cell row, bin
    for row in range(rows):
        strip[:] = 0
        for p in range(2 * CELL):
            y = CELL * row + p
            for x in range(len(strip)):
                place = orientation[y, x] * np.float32(BINS / 180) + np.float32(0.5)  # 1 is the centre of bin 0
                after = int(place)
                vote_after = magnitude[y, x] * (place - np.float32(after))
                vote_before = magnitude[y, x] - vote_after
                before = after - 1 if after > 0 else BINS - 1
                after = after if after < BINS else 0
                for cell in range(2):
                    strip[x, cell, before] += profiles[cell, p] * vote_before
                    strip[x, cell, after] += profiles[cell, p] * vote_after
        for column in range(columns):
            for p in range(2 * CELL):
                x = CELL * column + p
                for cell_row in range(2):
                    for cell in range(2):
                        for k in range(BINS):
                            blocks[row, column, cell_row, cell, k] += profiles[cell, p] * strip[x, cell_row, k]
    return blocks


def l2_hys(blocks: np.ndarray) -> np.ndarray:
    """Blocks ``(rows, columns, 2, 2, 9)`` of length 1, no entry above 0.2, again of length 1: ``(rows, columns, 36)``.

    The epsilons are OpenCV's: 3.6 (0.1 per entry) added to the first length, 0.001 to the second.
    """
    v = blocks.reshape(*blocks.shape[:2], 4 * BINS)
    v = v / (np.linalg.norm(v, axis=2, keepdims=True) + np.float32(3.6))
    v = np.minimum(v, np.float32(CLIP))
    return v / (np.linalg.norm(v, axis=2, keepdims=True) + np.float32(1e-3))


def check_image(image: np.ndarray) -> None:
    """Raise `DataError` unless ``image`` is a uint8 array ``(H, W, 3)`` with at least one pixel."""
    if not isinstance(image, np.ndarray):
        raise DataError(f"An image must be a uint8 array (H, W, 3), RGB; got {type(image).__name__}.")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(f"An image must be a uint8 array (H, W, 3), RGB; got {image.dtype} {image.shape}.")


# --------------------------------------------------------------------------------------------- pyramid and windows


def pyramid(
    image: np.ndarray, window: tuple[int, int], *, step: float = 1.05, upsample: float = 1.0, sigma: float = 8.0
) -> list[Level]:
    """Features of a picture at all sizes, the largest first, down to the smallest that still holds the window.

    Every level is made from the picture itself: resizing the level before would blur more each time. Torch resizes,
    with a filter that widens as the picture shrinks, so that nothing finer than the new pixels turns into false edges;
    it differs from Pillow's ``BILINEAR`` by one grey level at most and is several times faster.
    Levels are shared out to as many threads as torch may use.

    Parameters
    ----------
    image : ndarray
        uint8 ``(H, W, 3)``.
    window : (int, int)
        Height and width in pixels of the smallest window that will be looked at.
    step : float
        Ratio of one level's size to the next, above 1.
    upsample : float
        Size of the first level in units of the picture's; 2 finds objects of half the window's size.
    sigma : float
        As in `hog`.

    Returns
    -------
    list of Level
        Empty if the window is larger than the first level. Raises `DataError` for a wrong image, `CourseError` for a
        wrong step, window or upsample.
    """
    check_image(image)
    if not (step > 1 and upsample > 0 and min(window) > 0):
        raise CourseError(
            "pyramid() wants step > 1, upsample > 0 and a window of (height, width) in pixels; "
            f"got step={step}, upsample={upsample}, window={window}."
        )
    pixels = torch.from_numpy(np.array(image, order="C")).permute(2, 0, 1)[None]  # (1, 3, H, W)

    def level(size: tuple[int, int]) -> Level:
        resized = interpolate(pixels, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()
        return Level(hog(resized, sigma=sigma), (image.shape[1] / size[1], image.shape[0] / size[0]))

    sizes = level_sizes(image.shape[:2], window, step, upsample)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        return list(pool.map(level, sizes))


def level_sizes(
    size: tuple[int, int], window: tuple[int, int], step: float, upsample: float = 1.0
) -> list[tuple[int, int]]:
    """Heights and widths of a pyramid's levels, each the picture's ``upsample / step**i``, rounded to whole pixels."""
    sizes = []
    while True:
        factor = upsample / step ** len(sizes)
        height, width = round(size[0] * factor), round(size[1] * factor)
        if height < window[0] or width < window[1]:
            return sizes
        sizes.append((height, width))


def score(features: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Dot product of the template with every window, the last row and column of windows included.

    Parameters
    ----------
    features : ndarray
        float32 ``(R, C, D)``.
    template : ndarray
        ``(r, c, D)``.

    Returns
    -------
    ndarray
        float32 ``(R - r + 1, C - c + 1)``, or 0 rows or columns where the template does not fit. Raises `DataError` if
        the arrays do not have three axes or disagree in D.
    """
    if features.ndim != 3 or template.ndim != 3 or features.shape[2] != template.shape[2] or not template.size:
        raise DataError(
            "score() wants features (R, C, D) and a template (r, c, D) with the same D; "
            f"got {features.shape} and {template.shape}."
        )
    return correlate(*(np.ascontiguousarray(array, np.float32) for array in (features, template)))


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})  # sums may be taken in any order, so several at once
def correlate(features, template):
    """The loops of `score`. A row of a window is one piece of memory, and so is a row of the template."""
    rows = max(features.shape[0] - template.shape[0] + 1, 0)
    columns = max(features.shape[1] - template.shape[1] + 1, 0)
    depth = features.shape[2]
    width = template.shape[1] * depth
    scores = np.zeros((rows, columns), np.float32)
    for row in range(rows):
        for i in range(template.shape[0]):
            line, weights = features[row + i].ravel(), template[i].ravel()
            for column in range(columns):
                window = line[column * depth : column * depth + width]
                total = np.float32(0)
                for n in range(width):
                    total += window[n] * weights[n]
                scores[row, column] += total
    return scores


def window_boxes(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], scale: tuple[float, float]
) -> torch.Tensor:
    """Boxes float32 ``(N, 4)``, in pixels of the picture, of the windows at ``rows`` and ``columns`` of a level.

    ``shape`` is the template's ``(r, c)`` in blocks, ``scale`` that of the `Level`; rows and columns, ``(N,)`` each,
    are places in the scores, for example ``np.nonzero(scores > 0)``.
    """
    (r, c), (sx, sy) = shape, scale
    x, y = CELL * np.asarray(columns, np.float64), CELL * np.asarray(rows, np.float64)
    corners = (x * sx, y * sy, (x + CELL * (c + 1)) * sx, (y + CELL * (r + 1)) * sy)
    return torch.from_numpy(np.stack(corners, 1).astype(np.float32))


# --------------------------------------------------------------------------------------------------------- glyphs


def cell_weights(blocks: np.ndarray) -> np.ndarray:
    """Sum over the blocks that share a cell: ``(R, C, 36)`` becomes ``(R + 1, C + 1, 9)``.

    A corner cell lies in one block, a cell of the border in two, the others in four.
    """
    rows, columns = blocks.shape[:2]
    blocks = blocks.reshape(rows, columns, 2, 2, BINS)
    cells = np.zeros((rows + 1, columns + 1, BINS), blocks.dtype)
    for i in range(2):
        for j in range(2):
            cells[i : i + rows, j : j + columns] += blocks[:, :, i, j]
    return cells


def draw_glyphs(weights: np.ndarray, size: int = 16) -> np.ndarray:
    """Picture of features or of a template: in each cell one line per bin, along the edge, as bright as its weight.

    Edges run across their gradient: the line of the bin of 10 degrees stands nearly upright. Only positive weights are
    drawn; ``draw_glyphs(-template)`` shows the negative ones. ``weights`` are blocks ``(R, C, 36)``, which are summed
    per cell, or cells ``(R, C, 9)``; ``size`` is the side of a cell in pixels. Returns float32
    ``(size * rows, size * columns)``.
    """
    cells = cell_weights(weights) if weights.shape[2] == 4 * BINS else weights
    angle = np.radians((np.arange(BINS) + 0.5) * 180 / BINS)[:, None, None]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.abs(x * np.cos(angle) + y * np.sin(angle))  # from the line through the cell's centre, (9, size, size)
    lines = np.clip(1.5 - distance, 0, 1) * (np.hypot(x, y) < size / 2)
    picture = np.zeros((cells.shape[0], size, cells.shape[1], size), np.float32)
    for k in range(BINS):  # where lines cross the brightest shows; their sum would only show the cells' centres
        np.maximum(picture, cells[:, None, :, None, k] * lines[k, :, None, :], out=picture)
    return picture.reshape(size * cells.shape[0], size * cells.shape[1])
