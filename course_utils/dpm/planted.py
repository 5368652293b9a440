"""Noise with planted patterns that move about: on it notebook 07 watches springs learn."""

import numpy as np

SIDE = 48  # pixels of a scene
ROOTS = 16  # columns and rows of places that a root may have; a root sees every second pixel


def planted_scenes(
    rng: np.random.Generator,
    patterns: np.ndarray,
    anchors: np.ndarray,
    moves: np.ndarray,
    shifts: np.ndarray,
    n: int,
    *,
    loose: int = 12,
    strength: float = 5.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Scenes with one object of several patterns, and loose patterns that mislead.

    Parameters
    ----------
    rng : Generator
    patterns : ndarray
        float32 ``(k, p, p)``, of length 1.
    anchors : ndarray
        int ``(k, 2)``: x, y of the patterns in an object whose root is at (0, 0).
    moves, shifts : ndarray
        ``(k, 2)``: standard deviation and mean of how far x and y of each pattern are from there; at most 4 pixels.
    n : int
        Scenes.
    loose : int
        Patterns that lie about in each scene.
    strength : float
        A pattern's length in units of the noise.

    Returns
    -------
    scenes : ndarray
        float32 ``(n, 1, 48, 48)``.
    roots : ndarray
        int64 ``(n,)``: ``16 * row + column`` of the root; its anchors are at twice (column, row).
    """
    scenes = rng.normal(size=(n, 1, SIDE, SIDE)).astype(np.float32)
    side = patterns.shape[1]
    furthest = (SIDE - side - 4 - anchors.max()) // 2
    corners = rng.integers(2, furthest + 1, (n, 2))  # column, row
    for scene, corner in zip(scenes[:, 0], corners):
        away = rng.normal(shifts, moves).round().clip(-4, 4).astype(int)
        places = [*(2 * corner + anchors + away), *rng.integers(0, SIDE - side + 1, (loose, 2))]
        for i, (x, y) in enumerate(places):
            scene[y : y + side, x : x + side] += strength * patterns[i % len(patterns)]
    return scenes, ROOTS * corners[:, 1] + corners[:, 0]
