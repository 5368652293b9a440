"""Training a mixture of star models from boxes alone: places of parts, views and scales are found on the way.

Felzenszwalb, Girshick, McAllester, Ramanan, PAMI 2010, sections 4 and 5; the order of steps is that of the authors'
release 5: `rigid_roots` from warped positives, `latent_training` of the mixture, `with_parts`, `latent_training` again,
`finished`. Differences, beside those named in `views`, `parts` and `latent_svm`: all pairs are trained together at once
(release 5 first trains each pair alone); a positive is not learned from a second time in its mirror image, for with
shared weights that says the same twice; truncated objects are left out, and the others are seen in a piece cut out of
the picture; of a negative picture only the hardest places enter the cache; fewer pictures, relabellings and rounds of
mining, for our data set is small; no score by octave.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from course_utils.dpm.inference import (
    Placements,
    best_placement,
    find_placements,
    fit_box_predictor,
    part_boxes,
    placement_features,
    rescore,
    root_boxes,
)
from course_utils.dpm.latent_svm import (
    Problem,
    Row,
    component_of,
    feature_vector,
    lowered,
    vector_of,
)
from course_utils.dpm.model import Component, Mixture
from course_utils.dpm.parts import add_parts
from course_utils.dpm.views import SMALLEST_ROOT, aspects_of, left_right_split, root_size, warped
from course_utils.errors import DataError
from course_utils.fhog import CHANNELS, FeatureLevel, feature_pyramid, flip_features
from course_utils.progress import note, progress

INTERVAL = 4  # levels per octave in training
OVERLAP = 0.7  # IoU of a positive's box with the root that sees it
RANDOM_WINDOWS = 10  # from each negative picture, for the first roots
HARD_ABOVE, EASY_BELOW = -1.0, -1.05  # scores of negatives that enter the cache, and that leave it
HARDEST = 10  # places of one picture that enter the cache at once, for each component with weights of its own
NEW_ROWS = 500  # so many, and the weights learn from them before more pictures are searched
CACHE_BYTES = 150_000_000
ENOUGH = 1.05  # mining ends early where the objective over all negatives is at most so many times that over the cache


class Positive(NamedTuple):
    """An object with its surroundings.

    Attributes
    ----------
    image : ndarray
        uint8 ``(H, W, 3)``.
    box : ndarray
        float64 ``(4,)`` in this picture.
    """

    image: np.ndarray
    box: np.ndarray


def cut_out(image: np.ndarray, box: np.ndarray) -> Positive:
    """The object with as much around it as a root can see that overlaps it by `OVERLAP`, and parts that left it."""
    around = 0.5 * (box[2:] - box[:2]) + 32
    x1, y1 = np.maximum(np.floor(box[:2] - around), 0).astype(int)
    x2, y2 = np.ceil(box[2:] + around).astype(int)
    return Positive(np.ascontiguousarray(image[y1:y2, x1:x2]), box - (x1, y1, x1, y1))


def large_enough(boxes: np.ndarray) -> np.ndarray:
    """Whether each box ``(N, 4)`` has `OVERLAP` times the area of the smallest root, before this is in whole cells.

    The shape is not looked at; a box that is large enough and has no root of its shape is left out by `relabelled`.
    """
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) >= OVERLAP * SMALLEST_ROOT


def mirror_image(positive: Positive) -> Positive:
    """The same, seen in a mirror."""
    x1, y1, x2, y2 = positive.box
    width = positive.image.shape[1]
    return Positive(np.ascontiguousarray(positive.image[:, ::-1]), np.array([width - x2, y1, width - x1, y2]))


def levels_of(mixture: Mixture, image: np.ndarray) -> list[FeatureLevel]:
    """The pyramid that the mixture wants."""
    return feature_pyramid(image, interval=mixture.interval, pad=mixture.padding)


# ------------------------------------------------------------------------------------------------- the first roots


def rigid_roots(
    positives: Sequence[Positive],
    negatives: Sequence[np.ndarray],
    *,
    aspects: int,
    mirrored: bool,
    C: float,
    rng: np.random.Generator,
) -> Mixture:
    """One root for each group of aspect ratios, from positives brought to its size; in pairs if ``mirrored``."""
    boxes = np.stack([positive.box for positive in positives])
    group = aspects_of(boxes, aspects)
    sizes = [root_size(boxes[group == k]) for k in range(aspects)]
    windows = random_windows(negatives, sizes, rng)
    bases = []
    for k, (rows, columns) in enumerate(sizes):
        examples = np.stack([warped(*positives[i], (rows, columns)) for i in np.flatnonzero(group == k)])
        if mirrored:
            turned = left_right_split(examples, rng)
            examples = np.stack([flip_features(one) if turn else one for one, turn in zip(examples, turned)])
        start = empty_component(rows, columns)
        seen = [_row((1, i), 0, one) for i, one in enumerate(examples)]
        other = [_row((0, i), 0, one) for i, one in enumerate(windows[k])]
        bases.append(component_of(lowered(Problem([start], seen, other, C), vector_of(start)), start))
    return mixture_of(bases, mirrored)


def empty_component(rows: int, columns: int) -> Component:
    """A root without weights."""
    springs, anchors = np.zeros((0, 4), np.float32), np.zeros((0, 2), np.int64)
    root, parts = np.zeros((rows, columns, CHANNELS), np.float32), np.zeros((0, 6, 6, CHANNELS), np.float32)
    return Component(root, parts, anchors, springs)


def random_windows(
    images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], rng: np.random.Generator
) -> list[list[np.ndarray]]:
    """For each size (rows, columns) the features ``(rows, columns, 32)`` of some windows of each picture."""
    found: list[list[np.ndarray]] = [[] for _ in sizes]
    for image in images:
        levels = [level.features for level in feature_pyramid(image, interval=INTERVAL)[INTERVAL:]]
        for own, (rows, columns) in zip(found, sizes):
            wide = [one for one in levels if one.shape[0] >= rows and one.shape[1] >= columns]
            for _ in range(RANDOM_WINDOWS if wide else 0):
                features = wide[rng.integers(len(wide))]
                y, x = rng.integers(features.shape[0] - rows + 1), rng.integers(features.shape[1] - columns + 1)
                own.append(features[y : y + rows, x : x + columns].copy())
    return found


def _row(example: tuple[int, ...], component: int, root: np.ndarray) -> Row:
    parts, away = np.zeros((0, 6, 6, CHANNELS), np.float32), np.zeros((0, 4), np.float32)
    return Row(example, (), component, feature_vector(root, parts, away, mirrored=False))


# -------------------------------------------------------------------------------------------- pairs share weights


def mixture_of(bases: Sequence[Component], mirrored: bool) -> Mixture:
    """Each component, followed by its mirror image if ``mirrored``."""
    components = [twin for base in bases for twin in ([base, base.mirrored()] if mirrored else [base])]
    return Mixture(tuple(components), threshold=HARD_ABOVE, interval=INTERVAL)


def bases_of(mixture: Mixture, mirrored: bool) -> list[Component]:
    """The components that have weights of their own."""
    return list(mixture.components[:: 2 if mirrored else 1])


def rows_of(
    mixture: Mixture, levels: Sequence[FeatureLevel], placements: Placements, example: tuple[int, ...], mirrored: bool
) -> list[Row]:
    """The placements as rows for `Problem`; level and place of the root are added to the example's name."""
    rows = []
    for i, features in enumerate(placement_features(mixture, levels, placements)):
        component, level = int(placements.component[i]), int(placements.level[i])
        base, turned = divmod(component, 2) if mirrored else (component, 0)
        place = (component, *placements.parts[i].ravel().tolist())
        name = (*example, level, *placements.roots[i].tolist())
        rows.append(Row(name, place, base, feature_vector(*features, mirrored=bool(turned))))
    return rows


# ----------------------------------------------------------------------------------------------- latent training


def latent_training(
    mixture: Mixture,
    positives: Sequence[Positive],
    negatives: Sequence[np.ndarray],
    *,
    mirrored: bool,
    C: float,
    relabellings: int,
    minings: int,
    what: str,
) -> Mixture:
    """Coordinate descent on the objective of `course_utils.dpm.latent_svm`.

    Each relabelling (a) fixes the weights and looks for the best place of every positive, (b) fixes these places and
    lowers the objective, which is then convex, several times, looking for hard negatives before each. Neither can raise
    the objective over the negatives in the cache.
    """
    bases = bases_of(mixture, mirrored)
    mixture = mixture_of(bases, mirrored)  # on the levels of training: `finished` leaves it on those of detection
    vector = np.concatenate([vector_of(base) for base in bases])
    placements: list[Placements | None] = [None] * len(positives)
    cache: dict[tuple, Row] = {}
    loss_in_cache, next_picture = 0.0, 0
    for turn in range(relabellings):
        seen = []
        for i in progress(range(len(positives)), f"{what}, positives {turn + 1} of {relabellings}"):
            levels = levels_of(mixture, positives[i].image)
            placements[i] = relabelled(mixture, levels, positives[i].box, placements[i])
            seen += rows_of(mixture, levels, placements[i], (1, i), mirrored)
        note(f"{what}: {len(seen)} of {len(positives)} objects overlap a root by {OVERLAP} and are learned from")
        for mining in range(minings):
            rounds = f"{turn + 1}.{mining + 1} of {relabellings}.{minings}"
            order = np.roll(np.arange(len(negatives)), -next_picture)
            hard, loss, searched = mined(mixture, negatives, order, cache, mirrored, f"{what}, negatives {rounds}")
            next_picture += searched
            cache |= hard
            problem = Problem(bases, seen, list(cache.values()), C)
            rest = problem.without_negatives(vector)
            full = rest + C * loss * len(negatives) / searched  # as if the other pictures were like these
            if mining and full <= ENOUGH * (rest + C * loss_in_cache):
                break
            vector = lowered(problem, vector)
            loss_in_cache = (problem(vector)[0] - problem.without_negatives(vector)) / C
            cache = hardest(cache, problem.scores(vector)[len(seen) :])
            bases = [component_of(own, base) for own, base in zip(np.split(vector, problem.cuts), bases)]
            mixture = mixture_of(bases, mirrored)
    return mixture


def relabelled(
    mixture: Mixture, levels: Sequence[FeatureLevel], box: np.ndarray, before: Placements | None
) -> Placements:
    """The best placement for a box, none if nothing overlaps it; never one that scores less than the one before.

    The search looks at the one before as well; it is compared once more so that nothing depends on that.
    """
    best = best_placement(mixture, levels, box, OVERLAP)
    if before is not None and len(before):
        before = replace(before, scores=rescore(mixture, levels, before))
        if not len(best) or before.scores[0] > best.scores[0]:
            return before
    return best


def mined(
    mixture: Mixture,
    negatives: Sequence[np.ndarray],
    order: np.ndarray,
    cache: dict[tuple, Row],
    mirrored: bool,
    what: str,
) -> tuple[dict[tuple, Row], float, int]:
    """Hard places of negative pictures that the cache does not have, until there are `NEW_ROWS` of them.

    A component that the cache says nothing of would fire everywhere, since its bias costs nothing; so the hardest
    places of each are taken. Returns the rows, the sum of the hinge losses of all places in the pictures that were
    searched, and how many these were: the first of ``order``, or all.
    """
    hard: dict[tuple, Row] = {}
    loss, searched = 0.0, 0
    for i in progress(order.tolist(), what):
        levels = levels_of(mixture, negatives[i])
        found = find_placements(mixture, levels, HARD_ABOVE)
        loss += (1 + found.scores.astype(np.float64)).sum()
        searched += 1
        base = found.component // (2 if mirrored else 1)
        for k in np.unique(base):
            rows = rows_of(mixture, levels, found[np.flatnonzero(base == k)[:HARDEST]], (0, i), mirrored)
            hard |= {(row.example, row.place): row for row in rows if (row.example, row.place) not in cache}
        if len(hard) >= NEW_ROWS:
            break
    return hard, loss, searched


def hardest(cache: dict[tuple, Row], scores: np.ndarray) -> dict[tuple, Row]:
    """The rows that are not easy, the highest scores only if there are too many."""
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] >= EASY_BELOW]
    items, room, kept = list(cache.items()), CACHE_BYTES, {}
    for i in order:
        room -= items[i][1].features.nbytes
        if room < 0:
            break
        kept[items[i][0]] = items[i][1]
    return kept


# --------------------------------------------------------------------------------------------------- parts, and end


def with_parts(mixture: Mixture, n: int, mirrored: bool, rng: np.random.Generator) -> Mixture:
    """Up to ``n`` parts for each component; those of a pair are mirror images."""
    return mixture_of([add_parts(base, n, rng) for base in bases_of(mixture, mirrored)], mirrored)


def finished(mixture: Mixture, positives: Sequence[Positive], *, interval: int, what: str) -> Mixture:
    """With box predictors and a threshold; for ``interval`` levels per octave.

    19 of 20 positives score above the threshold, but it is never above the margin of the negatives: release 5 lowers a
    model's threshold likewise (to -1.1) where it evaluates, for objects never seen score less than these.
    """
    mixture = replace(mixture, interval=interval)
    n = len(mixture.components)
    roots, parts, truths = ([[] for _ in range(n)] for _ in range(3))
    scores = []
    for positive in progress([*positives, *map(mirror_image, positives)], f"{what}, boxes"):
        levels = levels_of(mixture, positive.image)
        placement = best_placement(mixture, levels, positive.box, OVERLAP)
        if len(placement):
            k = placement.component[0]
            roots[k].append(root_boxes(mixture, levels, placement)[0])
            parts[k].append(part_boxes(mixture, levels, placement)[0])
            truths[k].append(torch.from_numpy(positive.box))
            scores.append(placement.scores[0])
    if not scores:
        raise DataError(
            f"no object of {what} overlaps a root by {OVERLAP}. Boxes of at least {SMALLEST_ROOT} square pixels are "
            "wanted; enlarge the pictures."
        )
    predictors = [
        fit_box_predictor(torch.stack(roots[k]), torch.stack(parts[k]), torch.stack(truths[k])) if roots[k] else None
        for k in range(n)
    ]
    components = tuple(replace(one, box_predictor=fit) for one, fit in zip(mixture.components, predictors))
    return replace(mixture, components=components, threshold=min(float(np.quantile(scores, 0.05)), HARD_ABOVE))
