"""Where a mixture of star models finds its object: score maps, placements of root and parts, boxes.

Felzenszwalb, Girshick, McAllester, Ramanan, PAMI 2010, sections 3 and 7.1; constants of the authors' release 5.

Levels are those of `course_utils.fhog.feature_pyramid`, made with the mixture's ``interval`` and ``padding``. A place
is (row, column) in a padded level. The roots of level l have their parts in level l - interval, where cells are half as
large: a root at (row, column) wants part i at ``2 * (row, column) - padding + anchor`` there, since the picture begins
at ``padding`` in either level.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d
from torchvision.ops import clip_boxes_to_image

from course_utils.boxes import dpm_nms
from course_utils.distance_transform import REACH, bounded_distance_transform
from course_utils.dpm.model import Component, Mixture, octave_of
from course_utils.errors import DataError
from course_utils.fhog import FeatureLevel, feature_pyramid
from course_utils.timing import Stages

FORBIDDEN = np.float32(-1e6)  # added to a score for each part whose anchor lies outside its map; scores are about 1
CANDIDATES = 2000  # placements of one class that go through suppression
MOST = 100  # detections per image


@dataclass(frozen=True)
class Placements:
    """Where components stand.

    Attributes
    ----------
    component : ndarray
        int64 ``(N,)``: index into the mixture's components.
    level : ndarray
        int64 ``(N,)``: index of the root's level.
    roots : ndarray
        int64 ``(N, 2)``: row and column of the root in its padded level.
    parts : list of ndarray
        For each placement int64 ``(n, 2)``: rows and columns of the parts in the padded part level.
    scores : ndarray
        float32 ``(N,)``.
    """

    component: np.ndarray
    level: np.ndarray
    roots: np.ndarray
    parts: list[np.ndarray]
    scores: np.ndarray

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, chosen: np.ndarray | slice) -> Self:
        """Some of them: a slice, a mask ``(N,)`` or an order of indices."""
        order = np.arange(len(self))[chosen]
        arrays = {f.name: getattr(self, f.name)[order] for f in fields(self) if f.name != "parts"}
        return Placements(parts=[self.parts[i] for i in order], **arrays)

    @classmethod
    def joined(cls, several: Sequence[Self]) -> Self:
        """All of them, one after the other."""
        first = Placements(
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 2), np.int64), [], np.zeros(0, np.float32)
        )
        several = [first, *several]
        names = [f.name for f in fields(cls) if f.name != "parts"]
        arrays = {name: np.concatenate([getattr(one, name) for one in several]) for name in names}
        return cls(parts=[parts for one in several for parts in one.parts], **arrays)


# ---------------------------------------------------------------------------------------------------------- scores


def filter_responses(features: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Dot product of each filter with the features at every place.

    Parameters
    ----------
    features : ndarray
        float32 ``(R, C, 32)``.
    filters : ndarray
        float32 ``(n, h, w, 32)``.

    Returns
    -------
    ndarray
        float32 ``(n, R - h + 1, C - w + 1)``, 0 rows or columns where the filter does not fit.
    """
    n, height, width = filters.shape[:3]
    rows, columns = features.shape[0] - height + 1, features.shape[1] - width + 1
    if n == 0 or rows <= 0 or columns <= 0:
        return np.zeros((n, max(rows, 0), max(columns, 0)), np.float32)
    planes = torch.from_numpy(features).permute(2, 0, 1)[None]
    return conv2d(planes, torch.from_numpy(filters).permute(0, 3, 1, 2))[0].contiguous().numpy()


def star_scores(
    root: np.ndarray, parts: np.ndarray, anchors: np.ndarray, deformations: np.ndarray, origin: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Score of a root at every place, each part standing where it adds most (PAMI 2010, section 3.2).

    Parameters
    ----------
    root : ndarray
        float32 ``(R, C)``: response of the root's filter.
    parts : ndarray
        float32 ``(n, r, c)``: responses of the parts' filters, in their own level.
    anchors, deformations : ndarray
        As in `course_utils.dpm.model.Component`.
    origin : (int, int)
        Row and column in the parts' level of a part with anchor (0, 0) whose root is at (0, 0).

    Returns
    -------
    tuple
        Scores ``(R, C)``; rows and columns, each int32 ``(n, r, c)``, where a part goes whose anchor is at a place.
        Where an anchor lies outside its map, `FORBIDDEN` is added.
    """
    scores = root.copy()
    rows, columns = np.zeros((2, *parts.shape), np.int32)
    for i, (response, (x, y), deformation) in enumerate(zip(parts, anchors, deformations)):
        values, rows[i], columns[i] = bounded_distance_transform(response, deformation)
        scores += every_second(values, (origin[0] + y, origin[1] + x), scores.shape)
    return scores, rows, columns


def every_second(values: np.ndarray, start: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """``values[start + 2 * (row, column)]`` for all places of a map of this shape, `FORBIDDEN` outside ``values``."""
    rows, columns = (first + 2 * np.arange(n) for first, n in zip(start, shape))
    inside = ((rows >= 0) & (rows < len(values)))[:, None] & ((columns >= 0) & (columns < values.shape[1]))
    out = np.full(shape, FORBIDDEN)
    there = np.ix_(rows[inside.any(axis=1)], columns[inside.any(axis=0)])
    out[inside] = values[there].ravel()
    return out


def score_maps(
    mixture: Mixture, levels: Sequence[FeatureLevel], level: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Scores of each component on one level of roots, biases included, and where its parts go.

    Returns, for each, scores float32 ``(R, C)`` by the place of the root, and rows and columns of the parts as in
    `star_scores`; `part_places` reads them.
    """
    components = mixture.components
    roots = _correlate_all(levels[level].features, [component.root[None] for component in components])
    parts = _correlate_all(levels[level - mixture.interval].features, [component.parts for component in components])
    maps = []
    for one, root, own in zip(components, roots, parts):
        scores, rows, columns = star_scores(root[0], own, one.anchors, one.deformations, mixture.origin)
        maps.append((scores + bias_at(one, mixture.interval, level), rows, columns))
    return maps


def _correlate_all(features: np.ndarray, banks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """`filter_responses` for several arrays of filters; those of one shape are convolved at once."""
    out: list[np.ndarray] = [np.zeros(0)] * len(banks)
    for shape in {bank.shape[1:] for bank in banks}:
        same = [i for i, bank in enumerate(banks) if bank.shape[1:] == shape]
        responses = filter_responses(features, np.concatenate([banks[i] for i in same]))
        ends = np.cumsum([len(banks[i]) for i in same])
        for i, part in zip(same, np.split(responses, ends[:-1])):
            out[i] = part
    return out


def bias_at(component: Component, interval: int, level: int) -> np.float32:
    """The component's bias on a level of roots: its own and that of the octave."""
    return np.float32(component.bias + component.level_bias[octave_of(level, interval)])


def resting_places(component: Component, roots: np.ndarray, origin: tuple[int, int]) -> np.ndarray:
    """Rows and columns int64 ``(N, n, 2)`` of the parts' anchors for roots ``(N, 2)``; origin as in `star_scores`."""
    return 2 * roots[:, None] + np.array(origin) + component.anchors[None, :, ::-1]


def part_places(
    component: Component, roots: np.ndarray, rows: np.ndarray, columns: np.ndarray, origin: tuple[int, int]
) -> np.ndarray:
    """Rows and columns of the parts, int64 ``(N, n, 2)``, for roots ``(N, 2)``; tables and origin of `star_scores`."""
    anchors = resting_places(component, roots, origin)
    part = np.arange(len(component.anchors))
    return np.stack([table[part, anchors[..., 0], anchors[..., 1]] for table in (rows, columns)], axis=2).astype(int)


# ------------------------------------------------------------------------------------------------------ placements


def find_placements(
    mixture: Mixture, levels: Sequence[FeatureLevel], threshold: float, most: int | None = None
) -> Placements:
    """All roots with a score above ``threshold``, the highest first; at each place only the best component.

    Parameters
    ----------
    mixture : Mixture
    levels : sequence of FeatureLevel
        Made with the mixture's interval and padding.
    threshold : float
    most : int, optional
        How many to return at most.

    Returns
    -------
    Placements
    """

    def on_level(level: int) -> list[Placements]:
        return _above(mixture, level, score_maps(mixture, levels, level), threshold)

    threads = torch.get_num_threads()
    try:  # a level for each thread: where others compute too, torch's threads would wait for each other at every filter
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            several = list(pool.map(on_level, range(mixture.interval, len(levels))))
    finally:
        torch.set_num_threads(threads)
    found = Placements.joined([one for level in several for one in level])
    return found[np.argsort(-found.scores, kind="stable")[:most]]


def _above(mixture: Mixture, level: int, maps: list[tuple], threshold: float) -> list[Placements]:
    """Placements with scores above the threshold on one level, from its `score_maps`."""
    shape = np.max([scores.shape for scores, _, _ in maps], axis=0)
    all_scores = np.full((len(maps), *shape), -np.inf, np.float32)
    for k, (scores, _, _) in enumerate(maps):
        all_scores[k, : scores.shape[0], : scores.shape[1]] = scores
    best = all_scores.argmax(axis=0)
    best_scores = all_scores.max(axis=0)
    found = []
    for k, (component, (_, rows, columns)) in enumerate(zip(mixture.components, maps)):
        roots = np.argwhere((best == k) & (best_scores > max(threshold, FORBIDDEN / 2)))
        places = part_places(component, roots, rows, columns, mixture.origin)
        found.append(_placements(k, level, roots, places, best_scores[roots[:, 0], roots[:, 1]]))
    return found


def _placements(k: int, level: int, roots: np.ndarray, parts: np.ndarray, scores: np.ndarray) -> Placements:
    """Placements of one component on one level; parts ``(N, n, 2)``."""
    return Placements(np.full(len(roots), k), np.full(len(roots), level), roots, list(parts), scores)


def best_placement(
    mixture: Mixture,
    levels: Sequence[FeatureLevel],
    box: np.ndarray | Tensor,
    overlap: float = 0.7,
) -> Placements:
    """The highest score among the roots whose IoU with a box is at least ``overlap``: the latent step for a positive.

    Parameters
    ----------
    mixture : Mixture
    levels : sequence of FeatureLevel
        Made with the mixture's interval and padding.
    box : array
        ``(4,)``, in pixels of the picture.
    overlap : float
        Above 0.

    Returns
    -------
    Placements
        One, or none where no root of any level overlaps the box so much.
    """
    box = np.asarray(box, np.float64)
    best = Placements.joined([])
    for k, component in enumerate(mixture.components):
        for level in range(mixture.interval, len(levels)):
            near = _overlapping(component, levels[level], mixture.padding, box, overlap)
            if len(near):
                found = _best_among(mixture, levels, k, level, near)
                if not len(best) or found.scores[0] > best.scores[0]:
                    best = found
    return best


def _overlapping(
    component: Component, level: FeatureLevel, padding: tuple[int, int], box: np.ndarray, overlap: float
) -> np.ndarray:
    """Rows and columns ``(N, 2)`` of the component's roots that overlap the box at least so much."""
    (height, width), (cell_x, cell_y) = component.root.shape[:2], level.cell
    root_area, box_area = height * cell_y * width * cell_x, (box[2] - box[0]) * (box[3] - box[1])
    if min(root_area, box_area) < overlap * max(root_area, box_area):
        return np.zeros((0, 2), int)
    top = (np.arange(level.features.shape[0] - height + 1) - padding[0]) * cell_y
    left = (np.arange(level.features.shape[1] - width + 1) - padding[1]) * cell_x
    shared_y = np.minimum(top + height * cell_y, box[3]) - np.maximum(top, box[1])
    shared_x = np.minimum(left + width * cell_x, box[2]) - np.maximum(left, box[0])
    shared = np.maximum(shared_y, 0)[:, None] * np.maximum(shared_x, 0)
    return np.argwhere(shared >= overlap * (root_area + box_area - shared))


def _best_among(mixture: Mixture, levels: Sequence[FeatureLevel], k: int, level: int, roots: np.ndarray) -> Placements:
    """The best of these roots ``(N, 2)`` of component k; only the features that they need are looked at."""
    component = mixture.components[k]
    first, last = roots.min(axis=0), roots.max(axis=0)
    end = last + component.root.shape[:2]
    root = filter_responses(levels[level].features[first[0] : end[0], first[1] : end[1]], component.root[None])[0]

    fine = levels[level - mixture.interval].features
    start = np.zeros(2, int)
    if len(component.parts):
        nearest, farthest = resting_places(component, np.stack([first, last]), mixture.origin)  # (n, 2) each
        start = np.maximum(nearest.min(axis=0) - REACH, 0)
        stop = np.maximum(farthest.max(axis=0) + REACH + component.parts.shape[1], start)
        fine = fine[start[0] : stop[0], start[1] : stop[1]]
    parts = filter_responses(fine, component.parts)

    origin = tuple(2 * first + mixture.origin - start)
    scores, rows, columns = star_scores(root, parts, component.anchors, component.deformations, origin)
    own = roots - first
    own = own[scores[own[:, 0], own[:, 1]] > FORBIDDEN / 2]
    if not len(own):
        return Placements.joined([])
    chosen = own[scores[own[:, 0], own[:, 1]].argmax()][None]
    score = scores[chosen[:, 0], chosen[:, 1]] + bias_at(component, mixture.interval, level)
    parts = part_places(component, chosen, rows, columns, origin) + start
    return _placements(k, level, chosen + first, parts, score)


def placement_features(
    mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """What each placement's score is linear in.

    Returns, for each, what the root covers, float32 ``(h, w, 32)``, what the parts cover, ``(n, p, p, 32)``, and their
    displacements, float32 ``(n, 4)``: dx, dy, dx^2, dy^2. The score is the root's dot product with the first, plus the
    parts' with the second, minus the deformations' with the third, plus `bias_at`.
    """
    out = []
    for k, level, (row, column), places in zip(
        placements.component, placements.level, placements.roots, placements.parts
    ):
        component = mixture.components[k]
        height, width = component.root.shape[:2]
        side = component.parts.shape[1]
        root = levels[level].features[row : row + height, column : column + width]
        fine = levels[level - mixture.interval].features
        parts = np.zeros_like(component.parts)
        for part, (y, x) in zip(parts, places):
            part[:] = fine[y : y + side, x : x + side]
        anchors = resting_places(component, np.array([[row, column]]), mixture.origin)[0]
        away = (places - anchors)[:, ::-1]  # (n, 2): dx, dy
        out.append((root, parts, np.concatenate([away, away**2], axis=1).astype(np.float32)))
    return out


def rescore(mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements) -> np.ndarray:
    """Scores ``(N,)`` that the mixture, as it is now, gives to placements found before."""
    scores = np.zeros(len(placements), np.float32)
    features = placement_features(mixture, levels, placements)
    for i, (root, parts, displacement) in enumerate(features):
        component = mixture.components[placements.component[i]]
        score = np.vdot(root, component.root) + np.vdot(parts, component.parts)
        score -= np.vdot(displacement, component.deformations)
        scores[i] = score + bias_at(component, mixture.interval, placements.level[i])
    return scores


# ----------------------------------------------------------------------------------------------------------- boxes


def cell_boxes(level: FeatureLevel, places: np.ndarray, shape: tuple[int, int], padding: tuple[int, int]) -> np.ndarray:
    """Boxes float64 ``(N, 4)``, in pixels of the picture, of windows of ``shape`` cells at places ``(N, 2)``."""
    first = (places - np.array(padding))[:, ::-1] * np.array(level.cell)  # x, y
    return np.concatenate([first, first + np.array(shape[::-1]) * np.array(level.cell)], axis=1)


def root_boxes(mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements) -> Tensor:
    """What the roots cover: boxes float32 ``(N, 4)``, which may reach over the border of the picture."""
    out = np.zeros((len(placements), 4))
    for i in range(len(placements)):
        shape = mixture.components[placements.component[i]].root.shape[:2]
        level = levels[placements.level[i]]
        out[i] = cell_boxes(level, placements.roots[i][None], shape, mixture.padding)[0]
    return torch.from_numpy(out.astype(np.float32))


def part_boxes(mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements) -> list[Tensor]:
    """What the parts cover: for each placement boxes float32 ``(n, 4)``."""
    out = []
    for k, level, places in zip(placements.component, placements.level, placements.parts):
        shape = mixture.components[k].parts.shape[1:3]
        boxes = cell_boxes(levels[level - mixture.interval], places, shape, mixture.padding)
        out.append(torch.from_numpy(boxes.astype(np.float32)))
    return out


def box_features(roots: Tensor, parts: Tensor) -> Tensor:
    """What box prediction of release 5 looks at.

    Parameters
    ----------
    roots : Tensor
        ``(N, 4)``.
    parts : Tensor
        ``(N, n, 4)``.

    Returns
    -------
    Tensor
        ``(N, 2n + 3)``: x and y of the centre of the root (always 0) and of each part, from the root's centre and in
        units of its width and height; and 1.
    """
    boxes = torch.cat([roots[:, None], parts], dim=1)
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    size = roots[:, None, 2:] - roots[:, None, :2]
    offsets = (centres - centres[:, :1]) / size
    return torch.cat([offsets.flatten(1), torch.ones(len(roots), 1, dtype=roots.dtype)], dim=1)


def fit_box_predictor(roots: Tensor, parts: Tensor, truths: Tensor) -> np.ndarray:
    """Least squares from where root and parts of one component stand to where the object is.

    ``roots`` and ``parts`` as in `box_features`, ``truths`` ``(N, 4)``. Returns float32 ``(2n + 3, 4)``: each column
    gives how far one side of the box is from the root's, in units of the root's width or height. Of several equally
    good answers it is the smallest. Raises `DataError` without placements.
    """
    if not len(roots):
        raise DataError("fit_box_predictor() got no placement to learn from.")
    roots, parts, truths = roots.double(), parts.double(), truths.double()
    size = (roots[:, 2:] - roots[:, :2]).repeat(1, 2)
    wanted = (truths - roots) / size
    return np.linalg.lstsq(box_features(roots, parts).numpy(), wanted.numpy(), rcond=None)[0].astype(np.float32)


def predict_boxes(mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements) -> Tensor:
    """Boxes float32 ``(N, 4)`` of the objects: the root's, moved by its component's box predictor if it has one."""
    boxes = root_boxes(mixture, levels, placements)
    parts = part_boxes(mixture, levels, placements)
    for k, component in enumerate(mixture.components):
        own = np.flatnonzero(placements.component == k)
        if component.box_predictor is not None and len(own):
            roots = boxes[own]
            features = box_features(roots, torch.stack([parts[i] for i in own]))
            size = (roots[:, 2:] - roots[:, :2]).repeat(1, 2)
            boxes[own] = roots + features @ torch.from_numpy(component.box_predictor) * size
    return boxes


# ------------------------------------------------------------------------------------------------------- detection


def detect_mixtures(mixtures: Mapping[int, Mixture], image: np.ndarray, *, stages: Stages | None = None) -> dict:
    """Objects of several classes in a picture.

    Parameters
    ----------
    mixtures : mapping
        From labels, 1 or more, to mixtures.
    image : ndarray
        uint8 ``(H, W, 3)``.
    stages : Stages, optional
        Takes the seconds of features, filters, boxes and suppression.

    Returns
    -------
    dict
        ``boxes`` float32 ``(N, 4)``, predicted and clipped to the picture, ``labels`` and ``scores``, N at most 100.
    """
    stages = Stages() if stages is None else stages
    pyramids: dict[int, list[FeatureLevel]] = {}
    pad = tuple(np.max([mixture.padding for mixture in mixtures.values()], axis=0).tolist())
    with stages("features"):
        for mixture in mixtures.values():
            if mixture.interval not in pyramids:
                pyramids[mixture.interval] = feature_pyramid(image, interval=mixture.interval, pad=pad)
    found = {"boxes": [torch.zeros(0, 4)], "labels": [torch.zeros(0, dtype=torch.int64)], "scores": [torch.zeros(0)]}
    for label, mixture in mixtures.items():
        levels = [_less_padded(level, pad, mixture.padding) for level in pyramids[mixture.interval]]
        with stages("filters"):
            placements = find_placements(mixture, levels, mixture.threshold, CANDIDATES)
        with stages("boxes"):
            boxes = clip_boxes_to_image(predict_boxes(mixture, levels, placements), image.shape[:2])
            scores = torch.from_numpy(placements.scores)
            kept = (boxes[:, 2:] > boxes[:, :2]).all(dim=1)
            boxes, scores = boxes[kept], scores[kept]
        with stages("suppression"):
            keep = dpm_nms(boxes, scores)
        found["boxes"].append(boxes[keep])
        found["labels"].append(torch.full((len(keep),), label))
        found["scores"].append(scores[keep])
    found = {key: torch.cat(values) for key, values in found.items()}
    order = found["scores"].argsort(descending=True, stable=True)[:MOST]
    return {key: value[order] for key, value in found.items()}


def _less_padded(level: FeatureLevel, pad: tuple[int, int], wanted: tuple[int, int]) -> FeatureLevel:
    """A level with ``wanted`` instead of ``pad`` cells of padding."""
    (y, x), (rows, columns) = np.subtract(pad, wanted), level.features.shape[:2]
    return level._replace(features=level.features[y : rows - y, x : columns - x])
