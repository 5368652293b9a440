"""What torchvision.ops lacks for boxes: a check, deltas, flip, jitter, and two more kinds of NMS.

Boxes are float ``(N, 4)``, ``x1 y1 x2 y2`` on continuous pixel edges: the width is ``x2 - x1``. For IoU, greedy NMS,
clipping and conversions call `torchvision.ops` directly. Nothing here changes its inputs, and N may be 0.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_area, box_convert, box_iou

from course_utils.errors import CourseError, DataError

DELTA_CLIP = math.log(1000 / 16)  # upper bound of dw and dh in `decode`, torchvision's: a box grows 62.5 times at most


def check_boxes(boxes: Tensor, what: str = "boxes") -> None:
    """Raise `DataError` unless ``boxes`` is a float tensor ``(N, 4)``, finite, with x2 > x1 and y2 > y1; N may be 0.

    ``what`` is their name in the message.
    """
    if not isinstance(boxes, Tensor) or not boxes.is_floating_point() or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise DataError(f"{what} must be a float tensor of shape (N, 4), (0, 4) if there are none; got {_kind(boxes)}.")
    good = boxes.isfinite().all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    if good.all():
        return
    i = int((~good).nonzero()[0, 0])
    corners = ", ".join(f"{value:g}" for value in boxes[i].tolist())
    raise DataError(
        f"{what}[{i}] is ({corners}), and {int((~good).sum())} of {len(boxes)} are like that; expected finite "
        "x1, y1, x2, y2 with x2 > x1 and y2 > y1. If these are x, y, width, height or centres, convert them with "
        "torchvision.ops.box_convert; torchvision.ops.remove_small_boxes finds boxes without area."
    )


def encode(boxes: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Deltas dx, dy, dw, dh that lead from each anchor to its box.

    dx and dy are the way from centre to centre in units of the anchor's width and height, dw and dh the natural
    logarithm of the ratio of the widths and heights.

    Parameters
    ----------
    boxes, anchors : Tensor
        ``(N, 4)`` each, in pixels; row i of one belongs to row i of the other.
    weights : four floats
        Factors of the four deltas, for example ``(10, 10, 5, 5)``.

    Returns
    -------
    Tensor
        ``(N, 4)``. Gradients pass to both inputs. Raises `DataError` if a box is not valid or the lengths differ.

    Source: R-CNN (arXiv 1311.2524), appendix C, equations 6 to 9.
    """
    check_boxes(boxes)
    check_boxes(anchors, "anchors")
    if len(boxes) != len(anchors):
        raise DataError(f"Each anchor needs its box: got {len(boxes)} boxes and {len(anchors)} anchors.")
    wx, wy, ww, wh = _check_weights(weights)
    x, y, w, h = box_convert(boxes, "xyxy", "cxcywh").unbind(1)
    ax, ay, aw, ah = box_convert(anchors, "xyxy", "cxcywh").unbind(1)
    return torch.stack((wx * (x - ax) / aw, wy * (y - ay) / ah, ww * (w / aw).log(), wh * (h / ah).log()), 1)


def decode(deltas: Tensor, anchors: Tensor, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Boxes that the deltas make of the anchors; undoes `encode` with the same weights, up to a growth of 62.5 times.

    After division by their weights dw and dh are clamped to at most log(1000 / 16), as in torchvision, so that the
    exponential cannot overflow; where the clamp acts the gradient is 0.

    Parameters
    ----------
    deltas : Tensor
        ``(N, 4)``, or ``(N, 4 K)`` for K classes: columns 4 k to 4 k + 3 are class k's.
    anchors : Tensor
        ``(N, 4)``, in pixels.
    weights : four floats
        As in `encode`.

    Returns
    -------
    Tensor
        Shape of ``deltas``, in pixels, not cut to the image. A very negative dw or dh leaves a box without area:
        `torchvision.ops.remove_small_boxes`. Raises `DataError` if an anchor is not valid, if deltas are not finite,
        or if the shapes do not match.

    Source: R-CNN (arXiv 1311.2524), appendix C, equations 1 to 4.
    """
    check_boxes(anchors, "anchors")
    if not isinstance(deltas, Tensor) or not deltas.is_floating_point() or deltas.ndim != 2:
        raise DataError(f"deltas must be a float tensor of shape (N, 4) or (N, 4 K); got {_kind(deltas)}.")
    if len(deltas) != len(anchors) or deltas.shape[1] % 4 or not deltas.shape[1]:
        raise DataError(f"deltas must be (N, 4) or (N, 4 K) for N = {len(anchors)} anchors; got {_kind(deltas)}.")
    if not deltas.isfinite().all():
        raise DataError("deltas must be finite; if a network made them, its training has diverged: lower the rate.")
    wx, wy, ww, wh = _check_weights(weights)
    ax, ay, aw, ah = box_convert(anchors, "xyxy", "cxcywh")[:, :, None].unbind(1)  # (N, 1) each, for all K classes
    x = deltas[:, 0::4] / wx * aw + ax
    y = deltas[:, 1::4] / wy * ah + ay
    w = (deltas[:, 2::4] / ww).clamp(max=DELTA_CLIP).exp() * aw
    h = (deltas[:, 3::4] / wh).clamp(max=DELTA_CLIP).exp() * ah
    return box_convert(torch.stack((x, y, w, h), 2), "cxcywh", "xyxy").flatten(1)


def flip(boxes: Tensor, width: float) -> Tensor:
    """Boxes ``(N, 4)`` of the left-right mirrored image; ``width`` is the image's, in pixels.

    On continuous edges x becomes ``width - x``, without the 1 that whole-pixel coordinates need. Raises `DataError` if
    a box is not valid.
    """
    check_boxes(boxes)
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack((width - x2, y1, width - x1, y2), 1)


def jitter(boxes: Tensor, generator: torch.Generator, *, pixels: float = 0.0, fraction: float = 0.0) -> Tensor:
    """Boxes whose four edges each move at random, independently and uniformly, by at most ``pixels + fraction * side``.

    The side is the width for the two vertical edges and the height for the others. No edge moves by more than 0.49 of
    the side, so boxes stay valid; they are not cut to the image. The same state of the
    generator gives the same moves, scaled: 2 pixels move every edge twice as far as 1 pixel, up to that limit.

    Parameters
    ----------
    boxes : Tensor
        ``(N, 4)``, in pixels.
    generator : torch.Generator
        Source of the randomness; it advances by 4 N numbers.
    pixels, fraction : float
        Largest move of an edge: in pixels, and in parts of the side. The two add.

    Returns
    -------
    Tensor
        ``(N, 4)``. Raises `DataError` if a box is not valid, `CourseError` if ``pixels`` or ``fraction`` is negative.
    """
    check_boxes(boxes)
    if not (0 <= pixels < math.inf and 0 <= fraction < math.inf):
        raise CourseError(f"pixels and fraction must be finite and 0 or more; got {pixels} and {fraction}.")
    u = torch.rand(boxes.shape, generator=generator, dtype=boxes.dtype, device=generator.device).to(boxes.device)
    side = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)  # width, height, width, height
    moved = boxes + (2 * u - 1) * (pixels + fraction * side).minimum(0.49 * side)
    valid = (moved[:, 2:] > moved[:, :2]).all(1, keepdim=True)  # rounding may close a box a few float steps wide
    return torch.where(valid, moved, boxes)


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    method: str = "gaussian",
    sigma: float = 0.5,
    threshold: float = 0.3,
    min_score: float = 0.001,
) -> tuple[Tensor, Tensor]:
    """Non-maximum suppression that lowers the scores of overlapping boxes and removes none for its overlap alone.

    The best box is taken; every box left has its score multiplied by a factor that falls with its IoU with the box
    just taken; and so on. Boxes whose score is below ``min_score``, at first or later, are dropped. Of equal scores
    the first is taken first. Call it once per class.

    Parameters
    ----------
    boxes, scores : Tensor
        ``(N, 4)`` in pixels, and ``(N,)``, 0 or more: a factor below 1 would raise a negative score.
    method : {"gaussian", "linear"}
        Factor ``exp(-IoU ** 2 / sigma)``, or ``1 - IoU`` where ``IoU >= threshold``.
    sigma, threshold, min_score : float
        As above; sigma matters for gaussian only, threshold for linear only.

    Returns
    -------
    keep, scores : Tensor
        int64 ``(M,)``, indices into ``boxes`` in the order taken, and their lowered scores ``(M,)``, never rising.
        Raises `DataError` if boxes or scores are not valid, `CourseError` for another method or ``sigma <= 0``.

    Source: Bodla et al. 2017 (arXiv 1704.04503).
    """
    check_boxes(boxes)
    _check_scores(scores, boxes)
    if (scores < 0).any():
        raise DataError("soft_nms needs scores of 0 or more; bring SVM scores to 0..1 first, for example by a sigmoid.")
    if method not in ("gaussian", "linear") or not sigma > 0:
        raise CourseError(f"soft_nms needs method 'gaussian' or 'linear' and sigma > 0; got {method!r} and {sigma}.")
    boxes, scores = boxes.detach(), scores.detach().clone()
    left = (scores >= min_score).nonzero()[:, 0]
    keep = []
    while len(left):
        best = left[scores[left].argmax()]
        keep.append(best)
        left = left[left != best]
        iou = box_iou(boxes[best][None], boxes)[0, left]
        if method == "gaussian":
            scores[left] *= (-(iou**2) / sigma).exp()
        else:
            scores[left] *= torch.where(iou >= threshold, 1 - iou, 1)
        left = left[scores[left] >= min_score]
    keep = torch.stack(keep) if keep else left
    return keep, scores[keep]


def dpm_nms(boxes: Tensor, scores: Tensor, cover: float = 0.5) -> Tensor:
    """Non-maximum suppression of the deformable part models: a box goes if a better one covers enough of it.

    Greedy from the highest score down (of equal scores the first is taken first): a box is dropped if more than
    ``cover`` of its own area lies in a box already taken. Unlike with IoU, a small box inside a large better one is
    dropped, while a large box survives a small better one inside it. Call it once per class.

    Parameters
    ----------
    boxes, scores : Tensor
        ``(N, 4)`` in pixels, and ``(N,)``, of any sign.
    cover : float
        Largest covered part of a box that is kept, 0 to 1.

    Returns
    -------
    Tensor
        int64 ``(M,)``, indices into ``boxes``, from the highest score down. Raises `DataError` if boxes or scores are
        not valid.

    Source: Felzenszwalb et al. 2010 (PAMI 32(9)), section 7.2. The paper drops a box that is covered "at least
    50 %", release 5 one that is covered more; this function follows the code, but without its +1 on widths.
    """
    check_boxes(boxes)
    _check_scores(scores, boxes)
    area = box_area(boxes)
    left = scores.argsort(descending=True, stable=True)
    keep = []
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        upper_left = torch.maximum(boxes[best, :2], boxes[left, :2])
        lower_right = torch.minimum(boxes[best, 2:], boxes[left, 2:])
        intersection = (lower_right - upper_left).clamp(min=0).prod(1)
        left = left[intersection / area[left] <= cover]
    return torch.stack(keep) if keep else left


def _kind(thing: object) -> str:
    """Kind and shape of an argument, for messages."""
    if not isinstance(thing, Tensor):
        return f"a {type(thing).__name__}"
    return f"{str(thing.dtype).removeprefix('torch.')} {tuple(thing.shape)}"


def _check_scores(scores: Tensor, boxes: Tensor) -> None:
    if not isinstance(scores, Tensor) or not scores.is_floating_point() or scores.shape != boxes.shape[:1]:
        raise DataError(f"scores must be a float tensor of shape ({len(boxes)},), one per box; got {_kind(scores)}.")
    if not scores.isfinite().all():
        raise DataError("scores must be finite; a network that gives NaN has diverged in training.")


def _check_weights(weights: Sequence[float]) -> Sequence[float]:
    if len(weights) != 4 or not all(0 < weight < math.inf for weight in weights):
        raise CourseError(f"weights must be four positive numbers, for dx, dy, dw, dh; got {weights}.")
    return weights
