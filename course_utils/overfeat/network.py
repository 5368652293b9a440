"""A window network with two heads for ToyVOC: the stand-in's first layers, a classifier, a box regressor; all dense."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, max_pool2d, mse_loss
from torchvision.ops import box_convert, box_iou

from course_utils.networks import Backbone
from course_utils.networks.backbone import normalized
from course_utils.overfeat.dense import geometry, interleave, offset_pool, to_conv

LAST = "conv4"  # stage of the stand-in that ends the trunk
POOL = 2  # size of the pooling whose offsets are tried
CELLS = 3  # rows and columns of the pooled map that a head sees
POSITIVE_FROM, NEGATIVE_BELOW = 0.5, 0.3  # IoU of a window with the square about an object
HARDEST = 3  # windows of background that count in training, for each window of an object
ALONG = 5  # windows in a row of a training crop
BEYOND = (124, 116, 104)  # ImageNet's mean colour, which normalization turns into 0


class TwoHeads(nn.Module):
    """Trunk, pooling, and two heads on the pooled map; pictures of any size, one output for each window.

    Parameters
    ----------
    backbone : Backbone
        Its layers up to conv4 are copied, without their padding: so a window knows nothing of its surroundings.
    outputs : int
        Classes, background included.

    Attributes
    ----------
    trunk, classifier, regressor : Sequential
        A map of cells 8 px apart; heads for 3 x 3 pooled cells, as convolutions.
    window, stride : int
        Pixels that an output sees, 91, and pixels between two of them without offsets, 16.
    """

    def __init__(self, backbone: Backbone, outputs: int) -> None:
        super().__init__()
        leaves = [one for one in backbone.layers(None, LAST).modules() if not list(one.children())]
        self.trunk = copy.deepcopy(nn.Sequential(*leaves))
        for layer in self.trunk:
            if isinstance(layer, nn.Conv2d):
                layer.padding = (0, 0)
        channels = backbone.stage(LAST).channels

        def head(hidden: int, last: int) -> nn.Sequential:
            first = nn.Linear(CELLS**2 * channels, hidden)
            layers = nn.Sequential(nn.Flatten(), first, nn.ReLU(), nn.Dropout(0.3), nn.Linear(hidden, last))
            return to_conv(layers, CELLS, channels)

        self.classifier, self.regressor = head(256, outputs), head(128, 4)
        self.window, self.stride, _ = geometry([*self.trunk, nn.MaxPool2d(POOL), *self.classifier])

    def forward(self, x: Tensor, offsets: bool = False) -> tuple[Tensor, Tensor]:
        """Class scores ``(N, outputs, r, c)`` and edges ``(N, 4, r, c)`` of all windows of pictures ``(N, 3, H, W)``.

        Edges are x1 y1 x2 y2 from the window's upper left corner, in window sides. ``offsets`` tries all offsets of
        the pooling, so that windows are half as far apart.
        """
        features = self.trunk(x)
        if not offsets:
            pooled = max_pool2d(features, POOL)
            return self.classifier(pooled), self.regressor(pooled)
        maps = offset_pool(features, POOL, least=CELLS)
        scores, edges = (
            interleave([[head(one) for one in row] for row in maps], POOL) for head in (self.classifier, self.regressor)
        )
        return scores, edges


def windows_of(rows: int, columns: int, stride: int, side: int) -> Tensor:
    """The windows ``(rows * columns, 4)`` of a map, row by row, in pixels of the picture that the network saw."""
    y, x = torch.meshgrid(stride * torch.arange(rows), stride * torch.arange(columns), indexing="ij")
    corners = torch.stack([x, y], dim=-1).reshape(-1, 2).float()
    return torch.cat([corners, corners + side], dim=1)


def squares_of(boxes: Tensor) -> Tensor:
    """Squares about the centres of boxes ``(N, 4)``, as wide as their longer side."""
    centres = box_convert(boxes, "xyxy", "cxcywh")[:, :2]
    half = (boxes[:, 2:] - boxes[:, :2]).amax(dim=1, keepdim=True) / 2
    return torch.cat([centres - half, centres + half], dim=1)


def label_windows(windows: Tensor, boxes: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What the two heads should say of each window.

    Parameters
    ----------
    windows : Tensor
        ``(N, 4)``, squares.
    boxes, labels : Tensor
        Objects ``(M, 4)`` and ``(M,)``; label -1: neither to be found nor background.

    Returns
    -------
    labels, edges : Tensor
        int64 ``(N,)``: class of the object whose square overlaps most, if that IoU is .5 or more; 0, background, if it
        is below .3; else -1. And ``(N, 4)``: the object's box, as `TwoHeads` gives edges.
    """
    if not len(boxes):
        return torch.zeros(len(windows), dtype=torch.int64), torch.zeros(len(windows), 4)
    overlap, best = box_iou(windows, squares_of(boxes)).max(dim=1)
    wanted = torch.where(overlap >= POSITIVE_FROM, labels[best], -1)
    wanted[overlap < NEGATIVE_BELOW] = 0
    side = windows[:, 2:3] - windows[:, :1]
    return wanted, (boxes[best] - windows[:, :2].repeat(1, 2)) / side


def boxes_of(windows: Tensor, edges: Tensor) -> Tensor:
    """Boxes ``(N, 4)`` from windows and edges; undoes `label_windows`. Each is at least a pixel wide and high."""
    side = windows[:, 2:3] - windows[:, :1]
    boxes = windows[:, :2].repeat(1, 2) + edges * side
    return torch.cat([boxes[:, :2], torch.maximum(boxes[:, 2:], boxes[:, :2] + 1)], dim=1)


def two_losses(scores: Tensor, edges: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Cross-entropy of the classifier, squared error of the regressor.

    Parameters
    ----------
    scores, edges : Tensor
        ``(N, K + 1)`` and ``(N, 4)``.
    labels, wanted : Tensor
        Of `label_windows`. Windows of objects count as much as those of background, of which only the hardest enter,
        three for each of the former. The regressor learns from windows of objects only: the others cannot know where
        one is.
    """
    positive = labels > 0
    each = cross_entropy(scores, labels.clamp(min=0), reduction="none")
    background = each[labels == 0]
    hard = background.topk(min(len(background), HARDEST * max(int(positive.sum()), 1))).values
    none = scores.sum() * 0  # a mean over no window is no number
    classes = ((each[positive].mean() if positive.any() else none) + (hard.mean() if len(hard) else none)) / 2
    boxes = mse_loss(edges[positive], wanted[positive]) if positive.any() else edges.sum() * 0
    return {"classes": classes, "boxes": 10 * boxes}


def training_crop(
    image: np.ndarray, boxes: Tensor, rng: np.random.Generator, window: int, side: int
) -> tuple[np.ndarray, Tensor]:
    """A piece of a picture in which some object about fills a window, and the boxes in it, mirrored half of the time.

    Parameters
    ----------
    image : ndarray
        uint8 ``(H, W, 3)``.
    boxes : Tensor
        ``(M, 4)``; without any, the window is somewhere.
    window, side : int
        Pixels of a window, and of the piece.

    Returns
    -------
    crop, boxes : ndarray, Tensor
        uint8 ``(side, side, 3)``, of the mean colour beyond the picture, and ``(M, 4)`` in its pixels.
    """
    height, width = image.shape[:2]
    if len(boxes):
        x1, y1, x2, y2 = squares_of(boxes)[rng.integers(len(boxes))].tolist()
        extent, centre = (x2 - x1) * np.exp(rng.uniform(-0.35, 0.35)), np.array([x1 + x2, y1 + y2]) / 2
    else:
        extent, centre = rng.uniform(0.3, 0.7) * min(height, width), rng.uniform(0, 1, 2) * (width, height)
    piece = extent * side / window  # of the picture, in its pixels
    corner = centre - extent / 2 - rng.uniform(0, 1, 2) * (piece - extent)
    beyond = int(np.ceil(max(0, -corner.min(), (corner + piece - (width, height)).max())))
    padded = np.empty((height + 2 * beyond, width + 2 * beyond, 3), np.uint8)
    padded[:] = BEYOND
    padded[beyond : beyond + height, beyond : beyond + width] = image
    (x, y), scale = corner + beyond, side / piece
    crop = np.array(Image.fromarray(padded).resize((side, side), Image.BILINEAR, box=(x, y, x + piece, y + piece)))
    boxes = (boxes - torch.tensor([*corner, *corner], dtype=torch.float32)) * scale
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
        boxes = torch.stack([side - boxes[:, 2], boxes[:, 1], side - boxes[:, 0], boxes[:, 3]], dim=1)
    return np.ascontiguousarray(crop), boxes


def training_batch(
    images: Sequence[np.ndarray], targets: Sequence[dict[str, Tensor]], rng: np.random.Generator, network: TwoHeads
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One crop of each picture, and what the heads should say of its windows.

    Returns
    -------
    crops, colours, labels, edges : Tensor
        uint8 ``(B, 3, side, side)``; factors ``(B, 3, 1, 1)`` that change brightness and colour; and of all windows,
        crop by crop and row by row, int64 ``(B * 25,)`` and float32 ``(B * 25, 4)``.
    """
    side = network.window + (ALONG - 1) * network.stride
    windows = windows_of(ALONG, ALONG, network.stride, network.window)
    crops, labels, edges = [], [], []
    for image, target in zip(images, targets):
        crop, boxes = training_crop(image, target["boxes"], rng, network.window, side)
        wanted = label_windows(windows, boxes, torch.where(target["difficult"], -1, target["labels"]))
        crops.append(torch.from_numpy(crop).permute(2, 0, 1))
        labels.append(wanted[0])
        edges.append(wanted[1])
    colours = torch.from_numpy(rng.uniform(0.8, 1.2, (len(crops), 3, 1, 1)).astype(np.float32))
    return torch.stack(crops), colours, torch.cat(labels), torch.cat(edges)


def batch_losses(network: TwoHeads, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    """`two_losses` of a `training_batch`."""
    crops, colours, labels, wanted = batch
    scores, edges = network(normalized(crops) * colours)
    by_window = (one.permute(0, 2, 3, 1).flatten(0, 2) for one in (scores, edges))
    return two_losses(*by_window, labels, wanted)
