"""Pictures of one size with one box each, in parts of the picture's width and height."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_utils.datasets.base import Dataset
from course_utils.datasets.single import LargestObject
from course_utils.networks.backbone import normalized, resized
from course_utils.progress import progress

SMALLEST = 0.01  # least side of a box that `proper` makes, in parts of the picture's
ZOOM = (0.7, 1.0)  # side of the window that `varied` cuts out, in parts of the picture's


def to_unit(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes in parts of their pictures: x by the width, y by the height.

    Parameters
    ----------
    boxes : Tensor
        ``(N, 4)``, in pixels.
    sizes : Tensor
        ``(N, 2)`` or ``(2,)``: heights and widths.
    """
    return boxes / sizes.flip(-1).tile(2)


def to_pixels(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Undoes `to_unit`."""
    return boxes * sizes.flip(-1).tile(2)


def proper(boxes: Tensor) -> Tensor:
    """Boxes in unit coordinates out of any four numbers ``(N, 4)``.

    A network may give x2 < x1, or a corner outside of the picture. The two corners are put in order and cut to the
    picture; a side that is too short becomes `SMALLEST`.
    """
    corners = boxes.unflatten(-1, (2, 2))  # (N, corner, x and y)
    low = corners.amin(-2).clamp(0, 1 - SMALLEST)
    high = corners.amax(-2).clamp(max=1).maximum(low + SMALLEST)
    return torch.cat((low, high), -1)


def mirrored_boxes(boxes: Tensor) -> Tensor:
    """Unit boxes ``(N, 4)`` in the pictures mirrored from left to right."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((1 - x2, y1, 1 - x1, y2), -1)


def varied(pixels: Tensor, boxes: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Pictures as training sees them: a window around the object, mirrored or not.

    Parameters
    ----------
    pixels : Tensor
        uint8 ``(N, 3, H, W)``.
    boxes : Tensor
        ``(N, 4)``, unit coordinates.

    Returns
    -------
    pixels, boxes : Tensor
        float32 ``(N, 3, H, W)``, normalized; and ``(N, 4)``, unit coordinates of the window, cut to it where the
        object is larger.
    """
    n = len(boxes)
    side = torch.from_numpy(rng.uniform(*ZOOM, (n, 1)).astype(np.float32))
    ends = (boxes[:, 2:] - side).clamp(min=0), boxes[:, :2].minimum(1 - side)  # between them it holds the object
    low = ends[0] + torch.from_numpy(rng.random((n, 2), np.float32)) * (ends[1] - ends[0])
    turned = torch.from_numpy(rng.random(n) < 0.5)
    theta = torch.zeros(n, 2, 3)  # from the window's coordinates, -1 to 1, to the picture's
    theta[:, 0, 0] = torch.where(turned, -side[:, 0], side[:, 0])
    theta[:, 1, 1] = side[:, 0]
    theta[:, :, 2] = 2 * low + side - 1
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    seen = F.grid_sample(normalized(pixels), grid, padding_mode="border", align_corners=False)
    inside = ((boxes - low.tile(2)) / side).clamp(0, 1)
    return seen, torch.where(turned[:, None], mirrored_boxes(inside), inside)


@dataclass(frozen=True)
class Examples:
    """Pictures of one size with the box and the label of their one object.

    Attributes
    ----------
    pixels : Tensor
        uint8 ``(N, 3, size, size)``.
    boxes : Tensor
        float32 ``(N, 4)``, unit coordinates.
    labels : Tensor
        int64 ``(N,)``, from 1.
    """

    pixels: Tensor
    boxes: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def mirrored(self) -> "Examples":
        """The same, from left to right."""
        return Examples(self.pixels.flip(3), mirrored_boxes(self.boxes), self.labels)


def examples(dataset: Dataset, size: int) -> Examples:
    """The pictures of a data set, squeezed to ``size`` pixels a side, and their largest objects.

    Raises `DataError` if there is none (see `LargestObject`).
    """
    one = dataset if isinstance(dataset, LargestObject) else LargestObject(dataset)
    pixels, boxes, labels = [], [], []
    with one.masks_left_out():
        for i in progress(range(len(one)), f"reading {one.name}"):
            image, target = one[i]
            pixels.append(resized([image], size))
            boxes.append(to_unit(target["boxes"], torch.tensor(image.shape[:2])))
            labels.append(target["labels"])
    return Examples(torch.cat(pixels), torch.cat(boxes), torch.cat(labels))
