"""How well proposals cover the objects: recall, average recall, average best overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.errors import DataError
from course_utils.metrics.curves import known_mean
from course_utils.metrics.inputs import Boxes, flat_boxes, gather, same_length
from course_utils.metrics.overlaps import box_iou


@dataclass(frozen=True)
class Overlaps:
    """How well proposals cover each of M objects: ``iou``, ``labels`` and ``image``, each ``(M,)``."""

    iou: np.ndarray
    labels: np.ndarray
    image: np.ndarray

    def recall(self, thresholds: float | Sequence[float]) -> np.ndarray:
        """Share of objects covered with IoU >= each threshold; NaN if there is no object."""
        reached = self.iou[:, None] >= np.atleast_1d(thresholds)
        recall = reached.mean(axis=0) if len(self.iou) else np.full(reached.shape[1], np.nan)
        return recall.reshape(np.shape(thresholds))

    def average_recall(self) -> float:
        """Twice the area under recall between IoU .5 and 1, which is 2 mean max(IoU - .5, 0).

        Hosang et al., PAMI 2016, section 5 (they match one to one and count difficult objects too).
        """
        return known_mean(2 * np.maximum(self.iou - 0.5, 0))

    def abo(self) -> dict[int, float]:
        """Average best overlap of each label. Uijlings et al., IJCV 2013, section 5."""
        return {int(label): known_mean(self.iou[self.labels == label]) for label in np.unique(self.labels)}

    def mabo(self) -> float:
        """Mean of `abo` over the labels."""
        return known_mean(list(self.abo().values()))


def proposal_overlaps(
    proposals: Sequence,
    targets: Sequence[Boxes],
    n: int | None = None,
    *,
    one_to_one: bool = False,
    include_difficult: bool = False,
) -> Overlaps:
    """The IoU of each object with the best of the first ``n`` proposals of its image.

    Parameters
    ----------
    proposals : sequence
        One per image: boxes ``(N, 4)`` or a dictionary with ``boxes``, the best first.
    n : int, optional
        Proposals taken of each image; None takes all.
    one_to_one : bool
        A proposal serves one object only: the pair with the largest IoU is taken out, then the next (Hosang et al.).
    include_difficult : bool
        Count difficult objects too. Crowds never count.

    Errors as in `gather`, and a negative ``n``.
    """
    same_length(proposals, targets)
    if n is not None and n < 0:
        raise DataError(f"n is {n}; wanted a number of proposals, or None for all.")
    wrapped = [one if isinstance(one, dict) else {"boxes": one} for one in proposals]
    boxes, image, row = flat_boxes(wrapped, "proposals")
    data = gather(
        [{"boxes": np.zeros((0, 4)), "labels": np.zeros(0, int), "scores": np.zeros(0)}] * len(targets), targets
    )
    things = np.flatnonzero(~(data.crowd if include_difficult else data.ignored))
    if n is not None:
        boxes, image = boxes[row < n], image[row < n]

    object_image = data.object_image[things]
    best = np.zeros(len(things))
    for i in np.unique(object_image):
        own = np.arange(*np.searchsorted(object_image, [i, i + 1]))
        near = boxes[slice(*np.searchsorted(image, [i, i + 1]))]
        if not len(near):
            continue
        iou = box_iou(data.object_boxes[things[own], None], near[None])  # (objects, proposals)
        if not one_to_one:
            best[own] = iou.max(axis=1)
            continue
        for _ in range(min(iou.shape)):
            thing, box = np.unravel_index(np.argmax(iou), iou.shape)
            best[own[thing]] = max(iou[thing, box], 0)
            iou[thing], iou[:, box] = -1, -1
    return Overlaps(best, data.object_labels[things], object_image)
