"""Where parts begin: on the strongest regions of the root, seen at twice its resolution.

Release 5 of the authors' code (voc-release5). Differences: a relocation takes the best free place instead of a random
one, so that few restarts suffice; and no part starts where earlier ones have used up the root.
"""

from dataclasses import replace

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn.functional import interpolate

from course_utils.dpm.model import Component

SIDE = 6  # cells of a part, half as large as the root's
NORM = 0.1  # length of the template that a part starts with
LEAST_GAIN = 0.01  # share of the root's energy; a part that would add less is not placed


def add_parts(component: Component, n: int, rng: np.random.Generator) -> Component:
    """The component with up to ``n`` parts cut from its root, and springs that are soft in both directions."""
    root = torch.from_numpy(component.root).permute(2, 0, 1)[None]
    doubled = interpolate(root, scale_factor=2, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).numpy()
    side = min(SIDE, *doubled.shape[:2])
    energy = (np.maximum(doubled, 0) ** 2).sum(axis=2, dtype=np.float64)
    places = place_parts(energy, n, side, rng)
    parts = np.stack([doubled[y : y + side, x : x + side] for x, y in places])
    lengths = np.sqrt((parts**2).sum(axis=(1, 2, 3), keepdims=True))
    parts *= NORM / np.maximum(lengths, 1e-12)
    springs = np.tile(np.array([0, 0, 0.1, 0.1], np.float32) * NORM, (len(places), 1))
    return replace(component, parts=parts, anchors=places, deformations=springs, box_predictor=None)


def place_parts(energy: np.ndarray, n: int, side: int, rng: np.random.Generator, restarts: int = 10) -> np.ndarray:
    """Up to ``n`` squares that together cover much of the energy; int64 ``(n, 2)``: x, y of their top left cells.

    Greedily: each square goes where it covers most of what the earlier ones left. Then, and from some random starts as
    well, squares are taken up in random order and put back at the best place, until none moves. The start that ends
    with the most energy covered wins.

    Parameters
    ----------
    energy : ndarray
        ``(rows, columns)``, not negative, one number per cell.
    n, side : int
        Number of squares, and cells on each side of one.
    rng : numpy.random.Generator
        Chooses random starts and orders.
    restarts : int
        Number of random starts.
    """
    greedy: list[tuple[int, int]] = []
    while len(greedy) < n:
        place, gain = best_place(energy, greedy, side)
        if greedy and gain < LEAST_GAIN * energy.sum():
            break
        greedy.append(place)
    rows, columns = energy.shape[0] - side + 1, energy.shape[1] - side + 1
    random = np.stack(
        [rng.integers(columns, size=(restarts, len(greedy))), rng.integers(rows, size=(restarts, len(greedy)))], -1
    )
    best, most = greedy, -1.0
    for places in [greedy, *[[tuple(map(int, place)) for place in start] for start in random]]:
        moved = True
        while moved:
            moved = False
            for i in rng.permutation(len(places)):
                others = places[:i] + places[i + 1 :]
                place, gain = best_place(energy, others, side)
                if gain > covered(energy, places, side) - covered(energy, others, side) + 1e-12:
                    places, moved = [*places[:i], place, *places[i + 1 :]], True
        if covered(energy, places, side) > most + 1e-12:
            best, most = places, covered(energy, places, side)
    return np.array(best, np.int64)


def best_place(energy: np.ndarray, places: list[tuple[int, int]], side: int) -> tuple[tuple[int, int], float]:
    """Where one more square covers most of what those at ``places`` leave, and how much that is."""
    gains = sliding_window_view(without(energy, places, side), (side, side)).sum(axis=(2, 3))
    y, x = np.unravel_index(gains.argmax(), gains.shape)
    return (int(x), int(y)), float(gains[y, x])


def covered(energy: np.ndarray, places: list[tuple[int, int]], side: int) -> float:
    """The energy under the squares, counted once where they overlap."""
    return float(energy.sum() - without(energy, places, side).sum())


def without(energy: np.ndarray, places: list[tuple[int, int]], side: int) -> np.ndarray:
    """A copy of the energy, zero under the squares."""
    left = energy.copy()
    for x, y in places:
        left[y : y + side, x : x + side] = 0
    return left
