"""What notebook 06 tries things on: small networks, four windows with hand-made boxes, a duck that moves."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, max_pool2d
from torchvision.transforms.v2.functional import resize

from course_utils.datasets.base import Dataset
from course_utils.errors import DataError
from course_utils.networks import open_backbone
from course_utils.overfeat.dense import (
    PAPER_STRIDE,
    PAPER_WINDOW,
    crops,
    flops,
    paper_network,
    pixel_ratio,
    to_conv,
)
from course_utils.photographs import photograph
from course_utils.timing import measure


class Corners(NamedTuple):
    """A picture, float64 ``(3, 257, 257)`` from 0 to 1; windows and boxes ``(4, 4)``; the lecture's scores ``(4,)``."""

    picture: Tensor
    windows: Tensor
    boxes: Tensor
    scores: Tensor


def four_corners() -> Corners:
    """A cat's face in a picture of 257 px, the window of 221 px in each corner, and a box by hand for each."""
    picture = resize(torch.from_numpy(photograph("chelsea")[:, 50:350]).permute(2, 0, 1), [257, 257]).double() / 255
    corners = torch.tensor([[0, 0], [36, 0], [0, 36], [36, 36]]).repeat(1, 2)
    windows = (corners + torch.tensor([0, 0, PAPER_WINDOW, PAPER_WINDOW])).float()
    edges = torch.tensor(  # in window sides, from the window's upper left corner
        [[0.27, 0.26, 1.02, 1.0], [0.2, 0.33, 1.0, 1.02], [0.3, 0.18, 1.08, 0.92], [0.18, 0.12, 0.98, 0.91]]
    )
    return Corners(picture, windows, corners + PAPER_WINDOW * edges, torch.tensor([0.5, 0.75, 0.6, 0.8]))


def small_network(padding: int = 0) -> nn.Sequential:
    """Scores of three classes for windows of 47 px, 12 px apart (43 px with ``padding`` 1); float64, random weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(8, 16, 3, padding=padding), nn.ReLU(), nn.MaxPool2d(3),
            nn.Flatten(), nn.Linear(16 * 9, 32), nn.ReLU(), nn.Linear(32, 3),
        ).double()  # fmt: skip


def lecture_network() -> nn.Sequential:
    """A network for 14 x 14 px, as in the lecture's picture of shared cells; float64, random weights."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        layers = nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(200, 32), nn.Linear(32, 32)
        return nn.Sequential(*layers, nn.Linear(32, 4)).double()


class Gain(NamedTuple):
    """How many times as much crops take as the dense run; seconds with crops one at a time, and in batches of eight."""

    pixels: float
    operations: float
    seconds: float
    eights: float


@torch.inference_mode()
def gain(network: nn.Sequential, height: int, width: int, *, threads: int = 1, repeats: int = 3) -> Gain:
    """All windows of 221 px cropped against one dense run of the same network."""
    dense, picture = to_conv(network, PAPER_WINDOW).eval(), torch.rand(3, height, width)
    network.eval()
    windows = crops(picture, PAPER_WINDOW, PAPER_STRIDE).flatten(0, 1)
    cropped = measure(lambda: [network(one[None]) for one in windows], repeats=repeats, threads=threads)
    eights = measure(lambda: [network(some) for some in windows.split(8)], repeats=repeats, threads=threads)
    at_once = measure(lambda: dense(picture[None]), repeats=repeats, threads=threads)
    operations = len(windows) * flops(network, 1, 3, PAPER_WINDOW, PAPER_WINDOW) / flops(dense, 1, 3, height, width)
    pixels = pixel_ratio(height, width, PAPER_WINDOW, PAPER_STRIDE)
    return Gain(pixels, operations, cropped.median / at_once.median, eights.median / at_once.median)


class MovingDuck:
    """A duck on a photograph, and a network that knows it.

    The network has the paper's windows and strides and random weights, a sixteenth of the paper's widths. What it looks
    for are the features of a single window that it was shown, with this duck in its middle.

    Parameters
    ----------
    dataset : Dataset
        Scenes with instance masks; the duck is the largest one that is not truncated among the first 60.

    Attributes
    ----------
    trunk : Sequential
        From ``(1, 3, H, W)`` to the map before the last pooling, which goes in groups of three.
    """

    def __init__(self, dataset: Dataset) -> None:
        label = dataset.classes.index("duck") + 1 if "duck" in dataset.classes else 0
        found: tuple[int, Tensor | None] = (0, None)
        for i in range(min(60, len(dataset))):
            target = dataset.target(i)
            for k in ((target["labels"] == label) & ~target["truncated"] & ~target["occluded"]).nonzero()[:, 0]:
                mask = target["masks"][k]
                if mask.sum() > found[0]:
                    x1, y1, x2, y2 = target["boxes"][k].int().tolist()
                    whole = np.dstack([dataset.image(i), 255 * mask.numpy().astype(np.uint8)])
                    found = int(mask.sum()), torch.from_numpy(whole[y1:y2, x1:x2]).permute(2, 0, 1)
        if found[1] is None:
            raise DataError(f"{dataset!r} shows no whole duck among its first {min(60, len(dataset))} images.")
        self.duck = resize(found[1], [150, 170]).float() / 255  # RGB and mask
        self.table = (
            resize(torch.from_numpy(photograph("coffee")[:257, 340:]).permute(2, 0, 1), [257, 401]).float() / 255
        )
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            layers = to_conv(paper_network(thinner=16), PAPER_WINDOW)
            for layer in layers:
                if isinstance(layer, nn.Conv2d):  # torch's own values let the signal fade over six layers
                    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                    nn.init.zeros_(layer.bias)
        last_pool = max(i for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d))
        self.trunk = layers[:last_pool]
        with torch.inference_mode():
            known = self.at(200)[:, :PAPER_WINDOW, 90 : 90 + PAPER_WINDOW]
            self._wanted = max_pool2d(self.trunk(known[None]), 3)[0]  # (64, 5, 5)

    def at(self, x: int) -> Tensor:
        """The picture ``(3, 257, 401)``, 0 to 1, with the duck's middle ``x`` pixels from the left (85 to 316)."""
        scene = self.table.clone()
        part = scene[:, 53:203, x - 85 : x + 85]
        part.copy_(torch.where(self.duck[3] > 0.5, self.duck[:3], part))
        return scene

    def likeness(self, pooled: Tensor) -> Tensor:
        """How like the duck each window is, at most 0: pooled maps ``(1, 64, r, c)`` to ``(1, 1, r - 4, c - 4)``."""
        windows = pooled.unfold(2, 5, 1).unfold(3, 5, 1)  # (1, 64, r - 4, c - 4, 5, 5)
        return -(windows - self._wanted[:, None, None]).square().mean((1, 4, 5))[None]


@torch.inference_mode()
def imagenet_cats(photo: np.ndarray, weights: Path) -> Tensor:
    """Probability of ImageNet's three kinds of house cats all over a photograph, ``(rows, columns)``.

    SqueezeNet 1.0 is a network without fully connected layers, so it runs on any size; the picture is taken 1.5 times
    as large, and class scores are averaged over 7 x 7 cells. ``weights`` is its file, as `open_backbone` reads it.
    """
    backbone = open_backbone("squeezenet1_0", weights=weights)
    x = backbone.preprocess([photo], size=tuple(3 * side // 2 for side in photo.shape[:2]))
    maps = backbone.network.classifier[:3](backbone.network.features(x))  # (1, 1000, r, c)
    cats = [backbone.classes.index(name) for name in ("tabby", "tiger cat", "Egyptian cat")]
    return avg_pool2d(maps, 7, stride=1).softmax(1)[0, cats].sum(0)
