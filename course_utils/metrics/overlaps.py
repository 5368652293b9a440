"""IoU of each box with the objects of its image.

In float64: with float32 a box just at the threshold may fall either way. For IoU of all boxes with all others there
is `torchvision.ops.box_iou`.
"""

import numpy as np


def box_area(boxes: np.ndarray) -> np.ndarray:
    """Area of boxes ``(..., 4)``, square pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of boxes ``(..., 4)`` that broadcast; 0 where the union is empty."""
    size = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(size, 0, None).prod(axis=-1)
    union = box_area(a) + box_area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(union), where=union > 0)


def best_overlap(
    boxes: np.ndarray, image: np.ndarray, object_boxes: np.ndarray, object_image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each of N boxes: largest IoU with an object of its image ``(N,)``, and which object ``(N,)``.

    The first of equally good objects; -1 if none overlaps. ``object_image`` must be in rising order.
    """
    start = np.searchsorted(object_image, image, side="left")
    count = np.searchsorted(object_image, image, side="right") - start
    box = np.repeat(np.arange(len(boxes)), count)  # all pairs within an image
    thing = np.arange(len(box)) + np.repeat(start - np.cumsum(count) + count, count)
    iou = box_iou(boxes[box], object_boxes[thing])
    best = np.zeros(len(boxes))
    np.maximum.at(best, box, iou)
    which = np.full(len(boxes), -1)
    winners = np.flatnonzero((iou > 0) & (iou == best[box]))[::-1]  # backwards: the first is written last
    which[box[winners]] = thing[winners]
    return best, which
