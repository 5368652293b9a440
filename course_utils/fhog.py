"""The features of deformable part models, their mirror image, and the pyramid with parts at twice the resolution.

Felzenszwalb, Girshick, McAllester, Ramanan, "Object Detection with Discriminatively Trained Part-Based Models", PAMI
2010, section 6.2, with the constants of the authors' release 5. Three steps make `fhog`: `best_directions`,
`cell_histograms`, `normalized_channels`. The 32 numbers of a cell are 18 signed directions, 9 unsigned ones, 4 energies
and 1 for truncation, which is 0 in a picture and 1 in the padding around it.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from numba import njit

from course_utils.errors import CourseError, DataError

CELL, CHANNELS, DIRECTIONS = 8, 32, 18
CLIP, EPSILON = 0.2, 1e-4
ENERGY = 0.2357  # about 1 / sqrt(18): what the sum over 18 directions is multiplied by
TRUNCATION = CHANNELS - 1  # the last channel

# Four digits, as in the authors' code: so 80 and 100 degrees suit a vertical gradient equally well, and ties stay ties.
COSINES, SINES = (np.round(f(np.radians(20 * np.arange(9))), 4).astype(np.float32) for f in (np.cos, np.sin))

FLIP = np.array([(9 - o) % 18 for o in range(18)] + [18 + (9 - o) % 9 for o in range(9)] + [29, 30, 27, 28, 31])
"""Where each channel of the mirrored picture comes from: 180 degrees minus the direction, right and left exchanged."""


class FeatureLevel(NamedTuple):
    """One size of a picture.

    Attributes
    ----------
    features : ndarray
        float32 ``(rows, columns, 32)``, see `fhog`, with padding on every side, see `feature_pyramid`.
    cell : (float, float)
        Width and height of one cell in pixels of the picture.
    """

    features: np.ndarray
    cell: tuple[float, float]


# ------------------------------------------------------------------------------------------------------- features


def fhog(image: np.ndarray, cell: int = CELL) -> np.ndarray:
    """All cells of a picture but the outermost.

    Parameters
    ----------
    image : ndarray
        uint8 or float32 ``(H, W, 3)``, 0 to 255.
    cell : int
        Side of a cell in pixels, at least 2.

    Returns
    -------
    ndarray
        float32 ``(round(H / cell) - 2, round(W / cell) - 2, 32)``, 0 rows or columns where that is negative. Entry
        (0, 0) is cell (1, 1) of the picture: its top left corner is at pixel (cell, cell).

    Raises `DataError` for another kind of image, `CourseError` for a cell below 2.
    """
    if cell < 2:
        raise CourseError(f"fhog() wants cells of at least 2 px; got {cell}.")
    return features_of(*best_directions(planes_of(image), COSINES, SINES), cell)


def planes_of(image: np.ndarray) -> np.ndarray:
    """The three channels one after the other, float32 ``(3, H, W)``, or `DataError`."""
    if not isinstance(image, np.ndarray):
        raise DataError(f"FHOG wants an image (H, W, 3), uint8 or float32; got {type(image).__name__}.")
    if image.dtype not in (np.uint8, np.float32) or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(f"FHOG wants an image (H, W, 3), uint8 or float32; got {image.dtype} {image.shape}.")
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise DataError("FHOG wants finite pixels; the image holds NaN or infinity.")
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


def features_of(magnitude: np.ndarray, direction: np.ndarray, cell: int) -> np.ndarray:
    """`fhog` of a picture whose gradient is known."""
    rows, columns = ((side + cell // 2) // cell for side in magnitude.shape)  # halves are rounded up
    if rows < 3 or columns < 3:
        return np.zeros((max(rows - 2, 0), max(columns - 2, 0), CHANNELS), np.float32)
    return normalized_channels(cell_histograms(magnitude, direction, rows, columns, cell))


@njit(cache=True, nogil=True)
def best_directions(planes, cosines, sines):
    """Length of the gradient, float32 ``(H, W)``, and the nearest of 18 directions, uint8 ``(H, W)``.

    Direction o is 20 o degrees, y down: dark on the left and bright on the right is 0, the opposite 9. Of the three
    channels the one with the longest gradient counts. The outermost pixels have no neighbours and are left 0.
    """
    height, width = planes.shape[1:]
    magnitude = np.zeros((height, width), np.float32)
    direction = np.zeros((height, width), np.uint8)
    for y in range(1, height - 1):
        for x in range(1, width - 1):
            longest, dx, dy = np.float32(-1), np.float32(0), np.float32(0)
            for channel in range(3):
                a = planes[channel, y, x + 1] - planes[channel, y, x - 1]
                b = planes[channel, y + 1, x] - planes[channel, y - 1, x]
                if a * a + b * b > longest:
                    longest, dx, dy = a * a + b * b, a, b
            best, most = 0, np.float32(0)
            for o in range(9):
                along = cosines[o] * dx + sines[o] * dy
                if along > most:
                    best, most = o, along
                elif -along > most:
                    best, most = o + 9, -along
            magnitude[y, x], direction[y, x] = math.sqrt(longest), best
    return magnitude, direction


@njit(cache=True, nogil=True)
def cell_histograms(magnitude, direction, rows, columns, cell):
    """Histograms of 18 directions, float32 ``(rows, columns, 18)``.

    Each pixel gives its magnitude to its direction in the four nearest cells, by linear interpolation between cell
    centres. Where the cells reach over the right or lower border, the last gradients are repeated.
    """
    height, width = magnitude.shape
    histograms = np.zeros((rows + 2, columns + 2, DIRECTIONS), np.float32)  # with a rim that takes votes from outside
    for y in range(1, rows * cell - 1):
        row = (y + 0.5) / cell + 0.5  # whole numbers are the centres of cells, 1 that of the first
        top = int(row)
        bottom_share = np.float32(row - top)
        for x in range(1, columns * cell - 1):
            column = (x + 0.5) / cell + 0.5
            left = int(column)
            right_share = np.float32(column - left)
            o = direction[min(y, height - 2), min(x, width - 2)]
            vote = magnitude[min(y, height - 2), min(x, width - 2)]
            histograms[top, left, o] += (1 - bottom_share) * (1 - right_share) * vote
            histograms[top, left + 1, o] += (1 - bottom_share) * right_share * vote
            histograms[top + 1, left, o] += bottom_share * (1 - right_share) * vote
            histograms[top + 1, left + 1, o] += bottom_share * right_share * vote
    return histograms[1:-1, 1:-1]


@njit(cache=True, nogil=True)
def normalized_channels(histograms):
    """Histograms ``(R, C, 18)`` become features ``(R - 2, C - 2, 32)``.

    Each cell lies in four squares of 2 x 2 cells. A histogram is divided by the energy of each of them, clipped at 0.2,
    and the four versions are added (27 channels) or summed over the directions (4 channels).
    """
    rows, columns = histograms.shape[:2]
    energy = np.zeros((rows, columns), np.float32)
    for o in range(9):
        energy += (histograms[:, :, o] + histograms[:, :, o + 9]) ** 2
    squares = energy[:-1, :-1] + energy[:-1, 1:] + energy[1:, :-1] + energy[1:, 1:]
    factors = 1 / np.sqrt(squares + np.float32(EPSILON))
    half, mean, clip = np.float32(0.5), np.float32(ENERGY), np.float32(CLIP)
    features = np.zeros((rows - 2, columns - 2, CHANNELS), np.float32)
    for row in range(rows - 2):
        for column in range(columns - 2):
            signed, out = histograms[row + 1, column + 1], features[row, column]
            for k in range(4):  # below right, above right, below left, above left
                factor = factors[row + 1 - k % 2, column + 1 - k // 2]
                total = np.float32(0)
                for o in range(18):
                    entry = min(signed[o] * factor, clip)
                    out[o] += half * entry
                    total += entry
                for o in range(9):
                    out[18 + o] += half * min((signed[o] + signed[o + 9]) * factor, clip)
                out[27 + k] = mean * total
    return features


def flip_features(features: np.ndarray) -> np.ndarray:
    """What features ``(..., rows, columns, 32)``, or templates over them, are in the mirrored picture; a copy."""
    if features.ndim < 3 or features.shape[-1] != CHANNELS:
        raise DataError(f"flip_features() wants features (..., rows, columns, {CHANNELS}); got {features.shape}.")
    return np.take(features[..., ::-1, :], FLIP, axis=-1)


# -------------------------------------------------------------------------------------------------------- pyramid


def feature_pyramid(
    image: np.ndarray, *, interval: int = 10, pad: tuple[int, int] = (0, 0), smallest: int = 5
) -> list[FeatureLevel]:
    """Features of a picture at all sizes, those for parts first.

    Level i < ``interval`` has cells of 4 px on the picture scaled by ``2**(-i / interval)``. Level ``interval + i`` has
    cells of 8 px on the picture scaled by the same factor, and so on without end. Thus the levels from ``interval``
    on are for roots, and level l - interval has cells half as large as level l, for the parts of its roots.

    Parameters
    ----------
    image : ndarray
        uint8 or float32 ``(H, W, 3)``, 0 to 255.
    interval : int
        Levels per octave.
    pad : (int, int)
        Rows and columns of cells to add on each side, so that roots may reach over the border.
    smallest : int
        The last level holds at least so many cells in both directions.

    Returns
    -------
    list of FeatureLevel
        In each, (row, column) is the cell of the picture whose top left corner is at pixel
        ``((column - pad[1]) * cell[0], (row - pad[0]) * cell[1])``. Padding is 0, and 1 in the last channel; so is the
        outermost cell of the picture, for which `fhog` has no features. Empty if the picture is too small for one root
        level. Raises `DataError` for a wrong image, `CourseError` for other wrong arguments.
    """
    if interval < 1 or smallest < 1 or min(pad) < 0:
        raise CourseError(
            "feature_pyramid() wants interval >= 1, smallest >= 1 and pad (rows, columns) >= 0; "
            f"got interval={interval}, smallest={smallest}, pad={pad}."
        )
    planes = planes_of(image)
    height, width = planes.shape[1:]
    roots = 1 + math.floor(interval * math.log2(min(height, width) / (smallest * CELL)))
    if roots < 1:
        return []

    def levels_at(i: int) -> list[FeatureLevel]:
        """The picture scaled by ``2**(-i / interval)``, with small cells, if there are any, and with large ones."""
        h, w = (round(side * 2 ** (-i / interval)) for side in (height, width))
        gradient = best_directions(area_average(planes, h, w), COSINES, SINES)
        cells = (CELL // 2, CELL) if i < interval else (CELL,)
        return [FeatureLevel(padded(features_of(*gradient, c), pad), (c * width / w, c * height / h)) for c in cells]

    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        made = list(pool.map(levels_at, range(max(roots, interval))))
    return [levels[0] for levels in made[:interval]] + [levels[-1] for levels in made[:roots]]


def padded(features: np.ndarray, pad: tuple[int, int]) -> np.ndarray:
    """With ``pad`` rows and columns more on each side, and one for the border that `fhog` leaves out."""
    (rows, columns), (y, x) = features.shape[:2], (pad[0] + 1, pad[1] + 1)
    out = np.zeros((rows + 2 * y, columns + 2 * x, CHANNELS), np.float32)
    out[:, :, TRUNCATION] = 1
    out[y : y + rows, x : x + columns] = features
    return out


def area_average(planes: np.ndarray, height: int, width: int) -> np.ndarray:
    """Planes ``(3, H, W)`` scaled down: each new pixel is the mean of the area it covers, with parts of pixels.

    So do the authors, and OpenCV (``INTER_AREA``). Torch and Pillow do not: their antialiased linear filter is twice as
    wide and blurs edges before they are measured; ``"area"`` and ``BOX`` take whole pixels only, so that edges jitter.
    """
    if planes.shape[1:] == (height, width):
        return planes
    return weighted_sums(planes, *overlaps(planes.shape[1], height), *overlaps(planes.shape[2], width))


def overlaps(before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``after`` pixels made of ``before``: the first that it covers, and the weights from that one on."""
    step = before / after
    taps = min(math.ceil(step) + 1, before)
    start = np.arange(after) * before / after
    first = np.minimum(start.astype(np.int64), before - taps)
    pixel = first[:, None] + np.arange(taps)
    covered = np.minimum((start + step)[:, None], pixel + 1) - np.maximum(start[:, None], pixel)
    return first, np.maximum(covered, 0) / step


@njit(cache=True, nogil=True)
def weighted_sums(planes, first_rows, row_weights, first_columns, column_weights):
    """The loops of `area_average`: rows first, then columns.

    In float64, as float32 would leave differences in a uniform area, which are small, but not against `EPSILON`.
    """
    height, width = len(first_rows), len(first_columns)
    out = np.empty((3, height, width), np.float32)
    line = np.empty(planes.shape[2])
    for channel in range(3):
        for y in range(height):
            line[:] = 0
            for i in range(row_weights.shape[1]):
                line += row_weights[y, i] * planes[channel, first_rows[y] + i]
            for x in range(width):
                total = 0.0
                for i in range(column_weights.shape[1]):
                    total += column_weights[x, i] * line[first_columns[x] + i]
                out[channel, y, x] = total
    return out
