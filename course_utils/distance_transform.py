"""Generalized distance transform: the best place of a part near each place of its anchor.

Felzenszwalb, Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing 8, 2012; used for parts in
Felzenszwalb, Huttenlocher, "Pictorial Structures for Object Recognition", IJCV 2005.

``values(q) = max over p of f(p) - deformation . (dx, dy, dx^2, dy^2)`` with ``(dx, dy) = p - q``: f is the response of
the part's filter at p, q the place of its anchor. In all functions weights stand in this order and the last two are
positive.
"""

import numpy as np
from numba import njit

from course_utils.errors import CourseError, DataError

REACH = 4
"""Cells that a part may be away from its anchor in release 5, in each direction."""


def distance_transform(f: np.ndarray, deformation: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best value at each place, and the row and the column where it comes from; any distance is allowed.

    Parameters
    ----------
    f : ndarray
        ``(R, C)``, finite.
    deformation : ndarray
        ``(4,)``: cost of dx, dy, dx^2, dy^2.

    Returns
    -------
    values : ndarray
        float32 ``(R, C)``.
    rows, columns : ndarray
        int32 ``(R, C)`` each: ``values[y, x]`` is ``f[rows[y, x], columns[y, x]]`` minus the cost of going there.

    Raises `DataError` for other shapes, for an f that is not finite, and for quadratic weights that are not positive.
    """
    check(f, deformation)
    return transform(np.asarray(f, np.float64), np.asarray(deformation, np.float64))


def bounded_distance_transform(
    f: np.ndarray, deformation: np.ndarray, reach: int = REACH
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`distance_transform` where abs(dx) and abs(dy) are at most ``reach``."""
    check(f, deformation)
    if reach < 0:
        raise CourseError(f"bounded_distance_transform() wants reach >= 0; got {reach}.")
    return bounded_transform(np.ascontiguousarray(f, np.float32), np.asarray(deformation, np.float32), reach)


def check(f: np.ndarray, deformation: np.ndarray) -> None:
    """Raise `DataError` unless the arrays are what `distance_transform` wants."""
    f, deformation = np.asarray(f), np.asarray(deformation)
    if f.ndim != 2 or not np.isfinite(f).all():
        raise DataError(f"A distance transform wants finite values (R, C); got shape {f.shape}, or NaN or infinity.")
    if deformation.shape != (4,) or not np.isfinite(deformation).all() or (deformation[2:] <= 0).any():
        raise DataError(
            "A distance transform wants four finite weights for dx, dy, dx^2, dy^2, the last two positive; "
            f"got {deformation}."
        )


@njit(cache=True, nogil=True)
def envelope(f, linear, quadratic):
    """In one dimension: ``values[q] = max over p of f[p] - linear (p - q) - quadratic (p - q)^2``, and the best p.

    Every p is a parabola over q, all equally wide, so that two of them cross once: the right one is higher from there
    on. One pass collects the parabolas that are highest somewhere, a second reads off the highest at each q. Time is
    proportional to the length. ``f``: ``(n,)``; ``quadratic`` > 0, or `DataError`. Returns float64 and int32 ``(n,)``.
    """
    if quadratic <= 0:
        raise DataError("envelope() wants a positive quadratic weight.")
    n = len(f)
    index = np.arange(n)
    # Parabola p at q is at_zero[p] + 2 quadratic p q, plus a term that is the same for all p.
    at_zero = f - linear * index - quadratic * index**2
    places = np.zeros(n, np.int32)  # of the parabolas that are highest somewhere, from left to right
    starts = np.full(n, -np.inf)  # and from where on each of them is
    last = 0
    for p in range(1, n):
        while True:
            before = places[last]
            crossing = (at_zero[before] - at_zero[p]) / (2 * quadratic * (p - before))
            if last == 0 or crossing > starts[last]:
                break
            last -= 1  # the new parabola hides it
        last += 1
        places[last], starts[last] = p, crossing
    values, argmax = np.empty(n), np.empty(n, np.int32)
    now = 0
    for q in range(n):
        while now < last and starts[now + 1] < q:
            now += 1
        p = places[now]
        values[q] = f[p] - linear * (p - q) - quadratic * (p - q) ** 2
        argmax[q] = p
    return values, argmax


@njit(cache=True, nogil=True)
def bounded_envelope(f, linear, quadratic, reach):
    """`envelope` where p is at most ``reach`` away from q: each displacement is tried for all q at once.

    For a small reach this is faster than parabolas. Returns float32 and int32 ``(n,)``.
    """
    n = len(f)
    values, argmax = np.full(n, np.float32(-np.inf)), np.zeros(n, np.int32)
    reach = min(reach, n - 1)
    for d in range(-reach, reach + 1):
        cost = np.float32(linear * d + quadratic * d * d)
        first, end = max(-d, 0), n - max(d, 0)  # the q for which q + d exists
        best, places, there = values[first:end], argmax[first:end], f[first + d :]
        for i in range(len(best)):
            value = there[i] - cost
            better = value > best[i]
            best[i] = value if better else best[i]
            places[i] = np.int32(first + i + d) if better else places[i]
    return values, argmax


@njit(cache=True, nogil=True)
def transform(f, deformation):
    """`distance_transform` without checks: down the columns of f, then along the rows of the result.

    A place found in the second pass says in which column the first pass has to be asked for the row.
    """
    dx, dy, dx2, dy2 = deformation
    halfway = np.empty(f.shape)
    halfway_rows, rows, columns = np.empty(f.shape, np.int32), np.empty(f.shape, np.int32), np.empty(f.shape, np.int32)
    values = np.empty(f.shape, np.float32)
    for x in range(f.shape[1]):
        halfway[:, x], halfway_rows[:, x] = envelope(f[:, x], dy, dy2)
    for y in range(f.shape[0]):
        values[y], columns[y] = envelope(halfway[y], dx, dx2)
        rows[y] = halfway_rows[y][columns[y]]
    return values, rows, columns


@njit(cache=True, nogil=True)
def bounded_transform(f, deformation, reach):
    """`bounded_distance_transform` without checks."""
    dx, dy, dx2, dy2 = deformation
    halfway = np.empty(f.shape, np.float32)
    halfway_rows, rows, columns = np.empty(f.shape, np.int32), np.empty(f.shape, np.int32), np.empty(f.shape, np.int32)
    values = np.empty(f.shape, np.float32)
    for x in range(f.shape[1]):
        halfway[:, x], halfway_rows[:, x] = bounded_envelope(np.ascontiguousarray(f[:, x]), dy, dy2, reach)
    for y in range(f.shape[0]):
        values[y], columns[y] = bounded_envelope(halfway[y], dx, dx2, reach)
        rows[y] = halfway_rows[y][columns[y]]
    return values, rows, columns
