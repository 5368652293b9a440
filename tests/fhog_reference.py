"""FHOG in plain numpy: the witness of the tests and the peer of the benchmark.

Written from the description in Felzenszwalb et al., PAMI 2010, section 6.2, with the constants of release 5.
"""

import numpy as np


def shares(cells: int, side: int) -> np.ndarray:
    """How much pixels 1, 2, ..., the last but one, count for each cell: tents about the cells' centres."""
    place = (np.arange(1, cells * side - 1) + 0.5) / side - 0.5
    return np.maximum(0, 1 - abs(place - np.arange(cells)[:, None]))


def plain_fhog(image: np.ndarray, cell: int = 8) -> np.ndarray:
    """The features in float64, with whole arrays and no loop over pixels or cells."""
    pixels = image.astype(np.float64)
    height, width = pixels.shape[:2]
    rows, columns = int(np.floor(height / cell + 0.5)), int(np.floor(width / cell + 0.5))
    y = np.minimum(np.arange(1, rows * cell - 1), height - 2)[:, None]
    x = np.minimum(np.arange(1, columns * cell - 1), width - 2)
    gradient = np.stack([pixels[y, x + 1] - pixels[y, x - 1], pixels[y + 1, x] - pixels[y - 1, x]], 2)  # y, x, 2, 3
    length = np.linalg.norm(gradient, axis=2)
    strongest = np.argmax(np.square(gradient).sum(2), 2)[..., None]
    dx, dy = np.moveaxis(np.take_along_axis(gradient, strongest[:, :, None], 3)[..., 0], 2, 0)
    # Opposite directions are tried one after the other, so that the first of equally good ones is the authors'.
    tried = np.arange(18).reshape(2, 9).T.ravel()
    angle = np.radians(20 * tried)
    along = dx[..., None] * np.cos(angle).round(4) + dy[..., None] * np.sin(angle).round(4)
    votes = length.max(2)[..., None] * (tried[along.argmax(2)][..., None] == np.arange(18))
    signed = np.einsum("ry,cx,yxo->rco", shares(rows, cell), shares(columns, cell), votes, optimize=True)

    unsigned = signed[..., :9] + signed[..., 9:]
    energy = np.square(unsigned).sum(2)
    square = energy[:-1, :-1] + energy[:-1, 1:] + energy[1:, :-1] + energy[1:, 1:]
    factor = 1 / np.sqrt(square + 0.0001)
    factor = np.stack([factor[1:, 1:], factor[:-1, 1:], factor[1:, :-1], factor[:-1, :-1]], 2)[:, :, None]
    signed = np.minimum(signed[1:-1, 1:-1, :, None] * factor, 0.2)
    unsigned = np.minimum(unsigned[1:-1, 1:-1, :, None] * factor, 0.2)
    truncation = np.zeros((*signed.shape[:2], 1))
    return np.concatenate([signed.sum(3) / 2, unsigned.sum(3) / 2, 0.2357 * signed.sum(2), truncation], 2)
