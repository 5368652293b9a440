"""Many boxes of one object become one: OverFeat's greedy merging (arXiv 1312.6229, section 4.3)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

from course_utils.boxes import check_boxes
from course_utils.errors import DataError

MATCH_BELOW = 1.0


Match = Callable[[Tensor, Tensor], Tensor]


class Merged(NamedTuple):
    """What `greedy_merge` made.

    Attributes
    ----------
    boxes, scores : Tensor
        ``(M, 4)`` and ``(M,)``, the highest score first.
    group : Tensor
        int64 ``(N,)``: the merged box that each input became part of.
    """

    boxes: Tensor
    scores: Tensor
    group: Tensor


def match_score(a: Tensor, b: Tensor) -> Tensor:
    """How unlike two sets of boxes are, ``(N, 4)`` and ``(M, 4)`` to ``(N, M)``: 0 for equal boxes.

    The distance of the centres in units of the mean diagonal, plus 1 - IoU. The paper's words ("the sum of the distance
    between centers of the two bounding boxes and the intersection area") give a score that *grows* with the overlap
    although the smallest is merged; this is our reading.
    """
    centres_a, centres_b = (box_convert(boxes, "xyxy", "cxcywh")[:, :2] for boxes in (a, b))
    diagonals_a, diagonals_b = ((boxes[:, 2:] - boxes[:, :2]).norm(dim=1) for boxes in (a, b))
    away = torch.cdist(centres_a, centres_b, compute_mode="donot_use_mm_for_euclid_dist")
    return away / ((diagonals_a[:, None] + diagonals_b) / 2) + 1 - box_iou(a, b)


def as_worded(a: Tensor, b: Tensor) -> Tensor:
    """The match score in the paper's words, for comparison: distance of the centres plus area of the intersection."""
    centres_a, centres_b = (box_convert(boxes, "xyxy", "cxcywh")[:, :2] for boxes in (a, b))
    low, high = torch.maximum(a[:, None, :2], b[:, :2]), torch.minimum(a[:, None, 2:], b[:, 2:])
    return torch.cdist(centres_a, centres_b) + (high - low).clamp(min=0).prod(dim=2)


def greedy_merge(boxes: Tensor, scores: Tensor, threshold: float = MATCH_BELOW, match: Match = match_score) -> Merged:
    """Merge the two boxes that match best, again and again, until no two match better than ``threshold``.

    A merged box is the mean of all the boxes that went into it, and its score is their sum. Call it once per class.

    Parameters
    ----------
    boxes, scores : Tensor
        ``(N, 4)`` in pixels, and ``(N,)``, 0 or more: evidence adds up.
    threshold : float
        Pairs with a smaller score are merged.
    match : callable
        Boxes ``(N, 4)`` and ``(M, 4)`` to scores ``(N, M)``; the smallest is the best.

    Returns
    -------
    Merged
        Raises `DataError` if boxes or scores are not valid.
    """
    check_evidence(boxes, scores)
    boxes, scores = boxes.clone(), scores.clone()
    count, group = torch.ones_like(scores), torch.arange(len(boxes))
    apart = match(boxes, boxes).fill_diagonal_(torch.inf)
    while apart.numel() and apart.min() < threshold:
        i, j = sorted(divmod(int(apart.argmin()), len(boxes)))
        boxes[i] = (count[i] * boxes[i] + count[j] * boxes[j]) / (count[i] + count[j])
        count[i] += count[j]
        scores[i] += scores[j]
        group[group == j] = i
        apart[j], apart[:, j] = torch.inf, torch.inf  # j is part of i now
        alive = apart[i].isfinite()
        apart[i, alive] = apart[alive, i] = match(boxes[i][None], boxes[alive])[0]
    left = group.unique()
    left = left[scores[left].argsort(descending=True, stable=True)]
    rank = torch.empty_like(group)
    rank[left] = torch.arange(len(left))
    return Merged(boxes[left], scores[left], rank[group])


def check_evidence(boxes: Tensor, scores: Tensor) -> None:
    """Raise `DataError` unless boxes ``(N, 4)`` and scores ``(N,)`` can be merged."""
    check_boxes(boxes)
    if scores.shape != boxes.shape[:1] or not (scores >= 0).all():
        raise DataError(
            f"greedy_merge needs a score of 0 or more for each of the {len(boxes)} boxes; got {tuple(scores.shape)}"
            + (f", the lowest {scores.min():g}." if scores.numel() else ".")
        )
