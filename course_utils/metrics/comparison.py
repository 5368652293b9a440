"""How much of a value, or of the difference between two detectors, is owed to the images? Bootstrap over images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.errors import DataError
from course_utils.metrics.curves import HIT, IGNORED, MIN_OBJECTS, average_precision, known_mean
from course_utils.metrics.inputs import Boxes, as_array, gather
from course_utils.metrics.voc import match_voc


@dataclass(frozen=True)
class Comparison:
    """Two detectors on the same images.

    Attributes
    ----------
    first, second, difference : float
        Their values on all images, and first - second.
    low, high : float
        The interval of the difference.
    share : float
        Share of the resamples in which the first is better (equal: half).
    level : float
        What share of the resamples the interval holds.
    differences : ndarray
        ``(n,)``: the difference in each resample.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    share: float
    level: float
    differences: np.ndarray

    def __str__(self) -> str:
        return (
            f"{self.first:.3f} - {self.second:.3f} = {self.difference:+.3f}, "
            f"{self.level:.0%} interval {self.low:+.3f} to {self.high:+.3f}"
        )


class MeanAP:
    """Mean all-point AP as a function of how often each image counts: what `interval` and `paired_bootstrap` resample.

    Parameters
    ----------
    detections, targets : sequence of dict
        As the module says.
    labels : sequence of int, optional
        Classes in the mean; None takes those with at least ``min_objects`` objects that are not ignored.
    threshold : float
        A detection matches at IoU >= threshold.

    Notes
    -----
    Images do not influence each other's matching, so one matching serves all resamples. An image that counts twice
    is the same as a copy of it, but for scores that are equal within or across images.
    """

    def __init__(
        self,
        detections: Sequence[Boxes],
        targets: Sequence[Boxes],
        labels: Sequence[int] | None = None,
        *,
        threshold: float = 0.5,
        min_objects: int = MIN_OBJECTS,
    ) -> None:
        data = gather(detections, targets)
        if labels is None:
            found, counts = np.unique(data.object_labels[~data.ignored], return_counts=True)
            labels = found[counts >= min_objects]
        self.labels = [int(label) for label in labels]
        self.n_images = data.n_images
        self.matches = [match_voc(data, label, threshold) for label in self.labels]
        self._kept = [one.kind != IGNORED for one in self.matches]
        self._image = [one.image[kept] for one, kept in zip(self.matches, self._kept)]
        self._hit = [one.kind[kept] == HIT for one, kept in zip(self.matches, self._kept)]

    def __len__(self) -> int:
        return self.n_images

    def __call__(self, weights: np.ndarray) -> float:
        """Mean AP if image i counts ``weights[i]`` times, integers ``(n_images,)``; NaN if there is no object."""
        ap = []
        for matches, image, hit in zip(self.matches, self._image, self._hit):
            n_objects = weights @ matches.objects_per_image
            if n_objects:
                weight = weights[image]
                hits = np.cumsum(weight * hit)
                precision = hits / np.maximum(np.cumsum(weight), 1)
                ap.append(average_precision(hits / n_objects, precision))
        return known_mean(ap)


def interval(mean_ap: MeanAP, n: int = 1000, seed: int = 0, level: float = 0.95) -> tuple[float, float]:
    """Low and high end of the interval of one detector's mAP: how far other images of the kind could have moved it.

    Draws as many images as there are, with replacement, ``n`` times; the interval holds the middle ``level`` of the
    mAPs of the draws (NaN if no draw has an object). The same ``seed`` gives the same interval. It says nothing
    about other trainings of the detector; for two detectors on the same images take `paired_bootstrap`, which sees
    smaller differences. Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Raises `DataError` if there is no image, ``n`` is below 1 or ``level`` not between 0 and 1.
    """
    _, low, high = _resample(mean_ap, len(mean_ap), n, seed, level)
    return low, high


def paired_bootstrap(
    first: "MeanAP | np.ndarray",
    second: "MeanAP | np.ndarray",
    n: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Comparison:
    """Is the first detector better than the second, or were it the images?

    Draws as many images as there are, with replacement, ``n`` times; both detectors are measured on the same draw,
    so that what makes an image hard for both cancels out. The interval holds the middle ``level`` of the
    differences. Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Parameters
    ----------
    first, second : MeanAP, or array (n_images,)
        The two detectors on the same images: as `MeanAP`, or as one value per image whose mean is compared (such as
        `localization_errors`); NaN leaves an image out.
    n, seed : int
        Number of draws, and where the random numbers start; the same seed gives the same result.
    level : float
        Between 0 and 1.

    Raises `DataError` as `interval` does, and if the two do not have the same number of images, or the same classes
    and objects.
    """
    one, other = (what if isinstance(what, MeanAP) else _MeanOfImages(what) for what in (first, second))
    if len(one) != len(other):
        raise DataError(f"One detector saw {len(one)} images, the other {len(other)}; wanted the same images.")
    if isinstance(one, MeanAP) and isinstance(other, MeanAP):
        same = one.labels == other.labels and all(
            np.array_equal(a.objects_per_image, b.objects_per_image) for a, b in zip(one.matches, other.matches)
        )
        if not same:
            raise DataError("The two detectors were measured on other classes or objects; wanted the same targets.")
    differences, low, high = _resample(lambda weights: one(weights) - other(weights), len(one), n, seed, level)
    known = differences[~np.isnan(differences)]
    share = known_mean((known > 0) + 0.5 * (known == 0))
    once = np.ones(len(one), np.int64)
    a, b = one(once), other(once)
    return Comparison(a, b, a - b, low, high, share, level, differences)


def _resample(
    measure: Callable[[np.ndarray], float], n_images: int, n: int, seed: int, level: float
) -> tuple[np.ndarray, float, float]:
    """What ``measure`` says of each of ``n`` draws of images ``(n,)``, and the ends of the middle ``level`` of it."""
    if n_images < 1 or n < 1 or not 0 < level < 1:
        raise DataError(
            f"Wanted at least 1 image, n >= 1 and level between 0 and 1; got {n_images} images, n {n}, level {level}."
        )
    rng = np.random.default_rng(seed)
    values = np.empty(n)
    for k in range(n):
        weights = np.bincount(rng.integers(n_images, size=n_images), minlength=n_images)
        values[k] = measure(weights)
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2]) if len(known) else (np.nan, np.nan)
    return values, float(low), float(high)


class _MeanOfImages:
    """The mean of one value per image, as a function of how often each image counts."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = as_array(values).astype(np.float64)
        if self.values.ndim != 1:
            raise DataError(f"Wanted one value per image; got an array of shape {self.values.shape}.")
        self.known = ~np.isnan(self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __call__(self, weights: np.ndarray) -> float:
        weights = weights[self.known]
        return float(weights @ self.values[self.known] / weights.sum()) if weights.any() else float("nan")
