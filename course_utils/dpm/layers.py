"""HoG and deformable part models as layers of a network, and fine-tuning by back-propagation.

Girshick, Iandola, Darrell and Malik, "Deformable Part Models are Convolutional Neural Networks", CVPR 2015: each step
of the classical detector is a layer, so that gradients reach what was learned step by step before. Every layer here
equals a function of `course_utils.fhog`, `course_utils.distance_transform` or `course_utils.dpm.inference`.

Tensors are ``(B, channels, rows, columns)``; pictures go from 0 to 255.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, pad

from course_utils.boxes import dpm_nms
from course_utils.distance_transform import REACH
from course_utils.dpm.inference import (
    CANDIDATES,
    FORBIDDEN,
    Placements,
    best_placement,
    find_placements,
    resting_places,
    root_boxes,
)
from course_utils.dpm.latent_svm import STIFFNESS_FROM
from course_utils.dpm.model import Component, Mixture, octave_of
from course_utils.dpm.training import HARD_ABOVE, OVERLAP, Positive, levels_of
from course_utils.errors import DataError
from course_utils.fhog import (
    CELL,
    CHANNELS,
    CLIP,
    COSINES,
    DIRECTIONS,
    ENERGY,
    EPSILON,
    SINES,
    FeatureLevel,
    area_average,
    planes_of,
)
from course_utils.progress import progress

# ---------------------------------------------------------------------------------------------- HoG, layer by layer


class Gradients(nn.Module):
    """Convolution of each colour with [-1, 0, 1] in x and y, then the colour whose gradient is longest.

    Pictures ``(B, 3, H, W)`` become ``(B, 2, cell * rows, cell * columns)``, dx and dy, where rows and columns are the
    nearest whole numbers of cells. Of equally long gradients the first counts. The outermost pixels have none: 0.
    """

    def __init__(self, cell: int = CELL) -> None:
        super().__init__()
        self.cell = cell
        kernel = torch.zeros(2, 1, 3, 3)
        kernel[0, 0, 1, :] = kernel[1, 0, :, 1] = torch.tensor([-1.0, 0.0, 1.0])
        self.register_buffer("kernel", kernel.repeat(3, 1, 1, 1))  # (6, 1, 3, 3): for each colour dx and dy

    def forward(self, pictures: Tensor) -> Tensor:
        colours = conv2d(pictures, self.kernel, groups=3).unflatten(1, (3, 2))  # (B, 3, 2, H - 2, W - 2)
        longest = colours.square().sum(2, keepdim=True).argmax(1, keepdim=True)  # (B, 1, 1, H - 2, W - 2)
        gradient = colours.take_along_dim(longest, 1)[:, 0]  # (B, 2, H - 2, W - 2)
        # Up to half a cell is cut off, or made up for by repeating the last gradients.
        beyond = [(side + self.cell // 2) // self.cell * self.cell - side for side in pictures.shape[2:]]
        return pad(pad(gradient, (0, beyond[1], 0, beyond[0]), mode="replicate"), (1, 1, 1, 1))


class Orientations(nn.Module):
    """A 1 x 1 convolution with 18 directions; the winner keeps the gradient's length, the others get 0.

    ``(B, 2, H, W)`` becomes ``(B, 18, H, W)``. Of equally good directions the first wins.
    """

    def __init__(self) -> None:
        super().__init__()
        half = torch.from_numpy(np.stack((COSINES, SINES), 1))  # (9, 2), 0 to 160 degrees
        self.register_buffer("directions", torch.cat((half, -half))[:, :, None, None])  # (18, 2, 1, 1)

    def forward(self, gradient: Tensor) -> Tensor:
        along = conv2d(gradient, self.directions)  # (B, 18, H, W)
        length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)  # (B, 1, H, W)
        return torch.zeros_like(along).scatter(1, along.argmax(1, keepdim=True), length)


class CellPooling(nn.Module):
    """Weighted sum pooling, which is a strided convolution: the nearer a pixel to a cell's centre, the more it counts.

    ``(B, 18, cell * rows, cell * columns)`` becomes ``(B, 18, rows, columns)``.
    """

    def __init__(self, cell: int = CELL) -> None:
        super().__init__()
        self.cell = cell
        triangle = 1 - (torch.arange(2 * cell) + 0.5 - cell).abs() / cell  # (2 cell,)
        self.register_buffer("kernel", torch.outer(triangle, triangle).repeat(DIRECTIONS, 1, 1, 1))

    def forward(self, votes: Tensor) -> Tensor:
        return conv2d(votes, self.kernel, stride=self.cell, padding=self.cell // 2, groups=DIRECTIONS)


class BlockNormalization(nn.Module):
    """Divides each cell by the energy of each of the four blocks it lies in, clips at 0.2, sums: 32 channels.

    ``(B, 18, rows, columns)`` becomes ``(B, 32, rows - 2, columns - 2)``: 18 signed and 9 unsigned directions, 4 sums
    over the directions, and the channel for truncation, 0 in a picture.
    """

    def forward(self, cells: Tensor) -> Tensor:
        unsigned = cells[:, :9] + cells[:, 9:]  # (B, 9, R, C)
        energy = 4 * avg_pool2d(unsigned.square().sum(1, keepdim=True), 2, stride=1)  # (B, 1, R - 1, C - 1)
        factor = (energy + EPSILON).rsqrt()
        # The block below right of each inner cell, then above right, below left, above left: (B, 4, 1, R - 2, C - 2)
        factors = [factor[:, :, 1:, 1:], factor[:, :, :-1, 1:], factor[:, :, 1:, :-1], factor[:, :, :-1, :-1]]
        factors = torch.stack(factors, 1)
        clipped = [(factors * kind[:, None, :, 1:-1, 1:-1]).clamp(max=CLIP) for kind in (cells, unsigned)]
        sums = ENERGY * clipped[0].sum(2)  # (B, 4, R - 2, C - 2)
        return torch.cat((0.5 * clipped[0].sum(1), 0.5 * clipped[1].sum(1), sums, torch.zeros_like(sums[:, :1])), 1)


def hog_layers(cell: int = CELL) -> nn.Sequential:
    """`course_utils.fhog.fhog` as a network: ``(B, 3, H, W)`` becomes ``(B, 32, rows - 2, columns - 2)``.

    Nothing in it is learned. float32 agrees with `fhog` but for the order of sums; ``.double()`` works too.
    """
    return nn.Sequential(Gradients(cell), Orientations(), CellPooling(cell), BlockNormalization())


def layer_pyramid(image: np.ndarray, *, interval: int, padding: tuple[int, int], smallest: int = 5) -> list[Tensor]:
    """`course_utils.fhog.feature_pyramid` computed by `hog_layers`: levels ``(1, 32, R, C)``, those for parts first."""
    planes = planes_of(image)
    height, width = planes.shape[1:]
    roots = 1 + math.floor(interval * math.log2(min(height, width) / (smallest * CELL)))
    sizes = [(CELL // 2, i) for i in range(interval)] + [(CELL, i) for i in range(roots)]
    networks = {cell: hog_layers(cell) for cell in (CELL // 2, CELL)}
    levels = []
    for cell, i in sizes:
        h, w = (round(side * 2 ** (-i / interval)) for side in (height, width))
        features = networks[cell](torch.from_numpy(area_average(planes, h, w))[None])
        levels.append(with_border(features, padding))
    return levels


def with_border(features: Tensor, padding: tuple[int, int]) -> Tensor:
    """Cells beyond the picture around ``(B, 32, R, C)``: 0, and 1 in the last channel; one more than the padding."""
    y, x = padding[0] + 1, padding[1] + 1  # HoG has no features for the picture's outermost cells
    inside, beyond = pad(features[:, :-1], (x, x, y, y)), pad(features[:, -1:], (x, x, y, y), value=1.0)
    return torch.cat((inside, beyond), 1)


# ------------------------------------------------------------------------------------------------- parts as layers


class DistanceTransformPool(nn.Module):
    """Max pooling over (2 reach + 1)^2 cells where going (dx, dy) away costs weights . (dx, dy, dx^2, dy^2).

    Each of n maps has weights of its own: ``(B, n, R, C)`` stays ``(B, n, R, C)``. Weights of 0 are max pooling with
    stride 1, huge ones the identity. The gradient goes to the cell that won, and to the weights. The cost is a sum of
    one for x and one for y, and so the maximum is taken along x first, then along y.

    Parameters
    ----------
    weights : Tensor
        ``(n, 4)``.
    reach : int
        How far a part may be away from its anchor, in x and in y.
    """

    def __init__(self, weights: Tensor, reach: int = REACH) -> None:
        super().__init__()
        self.weights, self.reach = nn.Parameter(weights), reach

    def forward(self, responses: Tensor) -> Tensor:
        step = torch.arange(-self.reach, self.reach + 1)  # (9,)
        x, y, x2, y2 = self.weights.T[:, :, None, None, None]  # (n, 1, 1, 1) each
        along_x = self.best(responses, x * step + x2 * step**2)
        return self.best(along_x.mT, y * step + y2 * step**2).mT

    @torch.no_grad()
    def keep_convex(self) -> None:
        """Raise quadratic weights to 0.001 where they are lower, as release 5 does after each step of learning."""
        self.weights[:, 2:].clamp_(min=STIFFNESS_FROM)

    def best(self, responses: Tensor, cost: Tensor) -> Tensor:
        """The maximum along the last axis; ``cost``: ``(n, 1, 1, 9)``."""
        beyond = pad(responses, (self.reach, self.reach), value=-torch.inf)
        return (beyond.unfold(3, 2 * self.reach + 1, 1) - cost).max(4).values  # of (B, n, R, C, 9)


class ObjectGeometry(nn.Module):
    """A sparse convolution with stride 2 that adds each part where its root wants it.

    The kernel ``(1, n, h, w)`` has a single 1 for each part, at its anchor. Maps of the root ``(B, 1, R, C)`` and of
    the parts ``(B, n, r, c)``, in cells half as large, become ``(B, 1, R, C)``. Where an anchor
    is outside its map no object can be: `course_utils.dpm.inference.FORBIDDEN` is added.

    Parameters
    ----------
    anchors : ndarray
        int64 ``(n, 2)``: x, y from twice the root's place.
    padding : (int, int)
        Rows and columns of cells before the picture, in either level.
    """

    def __init__(self, anchors: np.ndarray, padding: tuple[int, int]) -> None:
        super().__init__()
        start = anchors[:, ::-1] - np.array(padding)  # row, column in the map of the part if its root is at (0, 0)
        self.before = np.maximum(-start.min(axis=0), 0).tolist()
        start = start + self.before
        kernel = torch.zeros(1, len(anchors), *(start.max(axis=0) + 1))
        kernel[0, np.arange(len(anchors)), start[:, 0], start[:, 1]] = 1
        self.register_buffer("kernel", kernel)

    def forward(self, root: Tensor, parts: Tensor) -> Tensor:
        (top, left), (height, width) = self.before, self.kernel.shape[2:]
        bottom = 2 * (root.shape[2] - 1) + height - top - parts.shape[2]
        right = 2 * (root.shape[3] - 1) + width - left - parts.shape[3]
        return root + conv2d(pad(parts, (left, right, top, bottom), value=FORBIDDEN), self.kernel, stride=2)


class ComponentNet(nn.Module):
    """One component: filters, springs, geometry, bias. Its parameters are those of the component.

    Features of a level ``(1, 32, R, C)`` and of the level with cells half as large give scores
    ``(1, 1, R - h + 1, C - w + 1)``; ``octave`` says which bias the level has.
    """

    def __init__(self, component: Component, padding: tuple[int, int]) -> None:
        super().__init__()
        self.root = nn.Parameter(torch.tensor(component.root).permute(2, 0, 1)[None])  # (1, 32, h, w)
        self.parts = nn.Parameter(torch.tensor(component.parts).permute(0, 3, 1, 2))  # (n, 32, p, p)
        self.springs = DistanceTransformPool(torch.tensor(component.deformations))
        self.geometry = ObjectGeometry(component.anchors, padding) if len(component.parts) else None
        self.bias = nn.Parameter(torch.tensor(component.bias, dtype=torch.float32))
        self.level_bias = nn.Parameter(torch.tensor(component.level_bias))

    def forward(self, features: Tensor, part_features: Tensor, octave: int) -> Tensor:
        scores = conv2d(features, self.root)
        if self.geometry is not None:
            scores = self.geometry(scores, self.springs(conv2d(part_features, self.parts)))
        return scores + self.bias + self.level_bias[octave]


class DpmNet(nn.Module):
    """A mixture as a network: at each place of the root the best component (maxout).

    Takes the levels of `course_utils.fhog.feature_pyramid` as tensors ``(1, 32, R, C)`` and gives for each level of
    roots, the largest first, scores ``(1, R, C)`` and the component ``(1, R, C)`` that they come from. Where no
    component fits, the score is -infinity.
    """

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.interval = mixture.interval
        self.components = nn.ModuleList(ComponentNet(c, mixture.padding) for c in mixture.components)

    def forward(self, levels: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        out = []
        for level in range(self.interval, len(levels)):
            features, part_features = levels[level], levels[level - self.interval]
            octave = octave_of(level, self.interval)
            maps = []
            for component in self.components:
                scores = component(features, part_features, octave)  # (1, 1, R - h + 1, C - w + 1)
                missing = (features.shape[3] - scores.shape[3], features.shape[2] - scores.shape[2])
                maps.append(pad(scores, (0, missing[0], 0, missing[1]), value=-torch.inf))
            best = torch.cat(maps, 1).max(1)
            out.append((best.values, best.indices))
        return out

    def written_into(self, mixture: Mixture) -> Mixture:
        """The mixture that the network was made of with the network's parameters; box prediction is dropped."""
        components = [
            replace(
                component,
                root=array(net.root[0].permute(1, 2, 0)),
                parts=array(net.parts.permute(0, 2, 3, 1)),
                deformations=array(net.springs.weights),
                bias=net.bias.item(),
                level_bias=array(net.level_bias),
                box_predictor=None,
            )
            for component, net in zip(mixture.components, self.components)
        ]
        return replace(mixture, components=tuple(components))


def array(tensor: Tensor) -> np.ndarray:
    """float32, in a piece, and a copy."""
    return tensor.detach().float().contiguous().numpy().copy()


# ------------------------------------------------------------------------------------------------- back-propagation


class Windows(NamedTuple):
    """What a component needs to score some of its roots.

    Attributes
    ----------
    roots : Tensor
        float32 ``(N, 32, h, w)``.
    parts : Tensor
        float32 ``(N, n, 32, p + 8, p + 8)``: all that the part may cover within reach of its anchor.
    octaves : Tensor
        int64 ``(N,)``: which bias of the level counts.
    signs : Tensor
        float32 ``(N,)``: 1 for an object, -1 for a false alarm.
    """

    roots: Tensor
    parts: Tensor
    octaves: Tensor
    signs: Tensor


def reach_of_parts(mixture: Mixture, placement: Placements) -> np.ndarray:
    """First rows and columns ``(n, 2)`` that the parts of one placement may cover, some beyond the map."""
    component = mixture.components[placement.component[0]]
    return resting_places(component, placement.roots, mixture.origin)[0] - REACH


def reach_is_inside(mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements) -> np.ndarray:
    """Whether the map holds all places that the parts may go to, ``(N,)``."""
    out = np.ones(len(placements), bool)
    for i in range(len(placements)):
        first = reach_of_parts(mixture, placements[i : i + 1])
        end = first + mixture.components[placements.component[i]].parts.shape[1] + 2 * REACH
        shape = levels[placements.level[i] - mixture.interval].features.shape[:2]
        out[i] = (first >= 0).all() and (end <= shape).all()
    return out


def cut_window(mixture: Mixture, levels: Sequence[FeatureLevel], placement: Placements, sign: float) -> Windows:
    """What one placement needs, as `Windows` without their first axis; see `reach_is_inside`."""
    component, level = mixture.components[placement.component[0]], placement.level[0]
    (row, column), (height, width) = placement.roots[0], component.root.shape[:2]
    side = component.parts.shape[1] + 2 * REACH
    fine = torch.from_numpy(levels[level - mixture.interval].features).permute(2, 0, 1)
    parts = [fine[:, y : y + side, x : x + side] for y, x in reach_of_parts(mixture, placement)]
    root = torch.from_numpy(levels[level].features[row : row + height, column : column + width]).permute(2, 0, 1)
    return Windows(
        root.clone(),
        torch.stack(parts) if parts else torch.zeros(0, CHANNELS, side, side),
        torch.tensor(octave_of(level, mixture.interval)),
        torch.tensor(sign),
    )


def collect_windows(
    mixture: Mixture, positives: Sequence[Positive], negatives: Sequence[np.ndarray], hardest: int
) -> dict[int, Windows]:
    """For each component its windows: the best of every object, and of pictures without any the strongest ones.

    An object's window overlaps its box with an IoU of at least 0.7. A false alarm scores above -1, else the hinge does
    not feel it; of overlapping ones the strongest counts. Windows whose parts might leave the padded level are left
    out, and so are components without windows.
    """
    cut: dict[int, list[Windows]] = {}

    def add(levels: Sequence[FeatureLevel], placements: Placements, sign: float) -> None:
        for i, k in enumerate(placements.component.tolist()):
            cut.setdefault(k, []).append(cut_window(mixture, levels, placements[i : i + 1], sign))

    for image, box in progress(positives, "objects"):
        levels = levels_of(mixture, image)
        found = best_placement(mixture, levels, box, OVERLAP)
        add(levels, found[reach_is_inside(mixture, levels, found)], 1.0)
    for image in progress(negatives, "false alarms"):
        levels = levels_of(mixture, image)
        found = find_placements(mixture, levels, HARD_ABOVE, CANDIDATES)
        found = found[reach_is_inside(mixture, levels, found)]
        apart = dpm_nms(root_boxes(mixture, levels, found), torch.from_numpy(found.scores))
        add(levels, found[apart[:hardest].numpy()], -1.0)
    return {k: Windows(*(torch.stack(column) for column in zip(*several))) for k, several in sorted(cut.items())}


def window_scores(net: ComponentNet, windows: Windows) -> Tensor:
    """Scores ``(N,)`` of a component's windows: its layers on maps that have room for one root."""
    scores = (windows.roots * net.root).sum((1, 2, 3)) + net.bias + net.level_bias[windows.octaves]
    if net.geometry is None:
        return scores
    responses = conv2d(windows.parts.flatten(1, 2), net.parts, groups=len(net.parts))  # (N, n, 9, 9)
    return scores + net.springs(responses)[:, :, REACH, REACH].sum(1)


def with_new(old: Mapping[int, Windows], new: Mapping[int, Windows]) -> dict[int, Windows]:
    """The new windows, and of the old ones the false alarms, so that none of them comes back."""
    out = dict(new)
    for k, windows in old.items():
        alarms = Windows(*(column[windows.signs < 0] for column in windows))
        out[k] = Windows(*map(torch.cat, zip(out[k], alarms))) if k in out else alarms
    return out


def descend(net: DpmNet, windows: Mapping[int, Windows], *, filters: bool, steps: int, rate: float) -> list[float]:
    """Steps of Adam with all windows; returns the loss before each, see `fine_tune`."""
    groups = []
    for component in net.components:
        groups.append({"params": [component.bias, component.level_bias], "lr": rate})
        scaled = [component.springs.weights, *((component.root, component.parts) if filters else ())]
        groups += [{"params": [p], "lr": rate * p.detach().square().mean().sqrt().item()} for p in scaled if p.numel()]
    optimizer = torch.optim.Adam(groups)
    signs = torch.cat([of_one.signs for of_one in windows.values()])
    shares = torch.where(signs > 0, 1 / (signs > 0).sum(), 1 / (signs < 0).sum())  # both kinds weigh the same
    losses = []
    for _ in range(steps):
        scores = torch.cat([window_scores(net.components[k], of_one) for k, of_one in windows.items()])
        loss = shares @ (1 - signs * scores).clamp(min=0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for component in net.components:
            component.springs.keep_convex()
        losses.append(loss.item())
    return losses


def fine_tune(
    mixture: Mixture,
    positives: Sequence[Positive],
    negatives: Sequence[np.ndarray],
    *,
    filters: bool = False,
    rounds: int = 3,
    steps: int = 30,
    rate: float = 0.002,
    hardest: int = 10,
) -> Mixture:
    """Train a mixture further by back-propagation through its layers.

    The loss is the mean hinge ``max(0, 1 - score)`` of the objects plus the mean hinge ``max(0, 1 + score)`` of the
    false alarms. All parts are free to move in every step: `DistanceTransformPool` says where the gradient goes. After
    each step quadratic weights below 0.001 are raised to it, as in release 5. Mirror images of a component no longer
    share its weights.

    Parameters
    ----------
    mixture : Mixture
    positives : sequence of Positive
        Objects with their surroundings.
    negatives : sequence of ndarray
        Pictures, uint8 ``(H, W, 3)``, without an object of the class.
    filters : bool
        Whether roots and parts learn too, and not only springs and biases.
    rounds, steps : int
        At the beginning of each round windows are collected anew, false alarms in addition to those of the rounds
        before; then there are so many steps with all of them.
    rate : float
        Learning rate of Adam for the biases; for springs and filters in units of their root mean square.
    hardest : int
        False alarms per picture.

    Returns
    -------
    Mixture
        Without box prediction. Raises `DataError` if the mixture finds no object, or no false alarm.
    """
    windows: dict[int, Windows] = {}
    for _ in range(rounds):
        windows = with_new(windows, collect_windows(mixture, positives, negatives, hardest))
        found = {sign for of_one in windows.values() for sign in of_one.signs.tolist()}
        if found != {1.0, -1.0}:
            raise DataError(
                "fine_tune() wants objects and false alarms to tell apart; here the mixture finds "
                f"{'only objects' if found == {1.0} else 'only false alarms' if found else 'neither'}."
            )
        net = DpmNet(mixture)
        descend(net, windows, filters=filters, steps=steps, rate=rate)
        mixture = net.written_into(mixture)
    return mixture
