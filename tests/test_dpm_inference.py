"""Inference of part models against brute force over all placements, and against hand-made places in pictures."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torchvision.ops import box_iou

from course_utils.boxes import dpm_nms
from course_utils.distance_transform import REACH
from course_utils.dpm.inference import (
    FORBIDDEN,
    Placements,
    best_placement,
    box_features,
    detect_mixtures,
    every_second,
    filter_responses,
    find_placements,
    fit_box_predictor,
    part_boxes,
    placement_features,
    predict_boxes,
    rescore,
    root_boxes,
    score_maps,
)
from course_utils.dpm.model import Component, Mixture
from course_utils.errors import DataError
from course_utils.fhog import FLIP, FeatureLevel, feature_pyramid
from course_utils.timing import Stages

EVERYTHING = -1e5


def component(rng, height=3, width=4, parts=2, side=3, **other) -> Component:
    deformations = rng.normal(size=(parts, 4)) * 0.3
    deformations[:, 2:] = np.abs(deformations[:, 2:]) + 0.05
    return Component(
        root=rng.normal(size=(height, width, 32)).astype(np.float32),
        parts=rng.normal(size=(parts, side, side, 32)).astype(np.float32),
        anchors=np.stack([rng.integers(0, 2 * size - side + 1, parts) for size in (width, height)], axis=1),
        deformations=deformations.astype(np.float32),
        **{"bias": 0.7, "level_bias": rng.normal(size=3).astype(np.float32)} | other,
    )


def random_levels(rng, padding, *, interval=1, octaves=2, size=(24, 24), cell=4.0) -> list[FeatureLevel]:
    """Levels of random features, the parts' octave and ``octaves`` for roots; a picture of ``size`` cells of parts."""
    levels = []
    for octave in range(octaves + 1):
        for _ in range(interval):
            shape = [side // 2**octave + 2 * pad for side, pad in zip(size, padding)]
            features = rng.normal(size=(*shape, 32)).astype(np.float32)
            levels.append(FeatureLevel(features, (cell * 2**octave, cell * 2**octave)))
    return levels


def brute_force(component, levels, interval, level, padding):
    """Scores of all roots whose anchors lie in the part level, and the parts' places, by trying everything."""
    coarse, fine = levels[level].features.astype(np.float64), levels[level - interval].features.astype(np.float64)
    (h, w), (n, side) = component.root.shape[:2], component.parts.shape[:2]
    bias = component.bias + component.level_bias[min((level - interval) // interval, 2)]
    found = {}
    for row in range(coarse.shape[0] - h + 1):
        for column in range(coarse.shape[1] - w + 1):
            score = np.sum(coarse[row : row + h, column : column + w] * component.root) + bias
            places = []
            for i in range(n):
                y0 = 2 * (row - padding[0]) + component.anchors[i, 1] + padding[0]
                x0 = 2 * (column - padding[1]) + component.anchors[i, 0] + padding[1]
                if not (0 <= y0 <= fine.shape[0] - side and 0 <= x0 <= fine.shape[1] - side):
                    break
                best = -np.inf, None
                for dy in range(-REACH, REACH + 1):
                    for dx in range(-REACH, REACH + 1):
                        y, x = y0 + dy, x0 + dx
                        if 0 <= y <= fine.shape[0] - side and 0 <= x <= fine.shape[1] - side:
                            value = np.sum(fine[y : y + side, x : x + side] * component.parts[i])
                            value -= component.deformations[i] @ (dx, dy, dx * dx, dy * dy)
                            best = max(best, (value, (y, x)))
                score += best[0]
                places.append(best[1])
            else:
                found[row, column] = score, np.array(places).reshape(n, 2)
    return found


# ------------------------------------------------------------------------------------------------------------ scores


@pytest.mark.parametrize(("size", "shape", "n"), [((9, 11), (3, 4), 5), ((6, 6), (6, 6), 1), ((7, 20), (1, 6), 8)])
def test_filter_responses_are_dot_products_at_every_place(size, shape, n):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(*size, 32)).astype(np.float32)
    filters = rng.normal(size=(n, *shape, 32)).astype(np.float32)
    windows = sliding_window_view(features, shape, axis=(0, 1))  # (rows, columns, 32, h, w)
    np.testing.assert_allclose(
        filter_responses(features, filters), np.einsum("rcdhw,nhwd->nrc", windows, filters), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize(("size", "n"), [((3, 9), 2), ((9, 3), 2), ((9, 9), 0)])
def test_where_no_filter_fits_there_are_no_responses(size, n):
    responses = filter_responses(np.ones((*size, 32), np.float32), np.ones((n, 4, 4, 32), np.float32))
    assert responses.shape == (n, max(size[0] - 3, 0), max(size[1] - 3, 0)) and not responses.size


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("root", "parts", "side"), [((3, 4), 2, 3), ((2, 3), 3, 2), ((4, 2), 0, 6)])
def test_score_maps_equal_brute_force_over_all_placements(seed, root, parts, side):
    rng = np.random.default_rng(seed)
    one = component(rng, *root, parts, side)
    mixture = Mixture((one, one.mirrored()), 0.0, 1)
    levels = random_levels(rng, mixture.padding)
    for level in (1, 2):
        scores, rows, columns = score_maps(mixture, levels, level)[0]
        wanted = brute_force(one, levels, 1, level, mixture.padding)
        assert scores.shape == tuple(
            side - size + 1 for side, size in zip(levels[level].features.shape, one.root.shape[:2])
        )
        assert rows.shape == columns.shape and len(rows) == parts
        assert set(zip(*np.nonzero(scores > FORBIDDEN / 2))) == set(wanted)
        for place, (score, _) in wanted.items():
            assert scores[place] == pytest.approx(score, abs=1e-4)
        assert np.isfinite(scores).all()


def test_every_second_value_and_nothing_outside():
    values = np.arange(20, dtype=np.float32).reshape(4, 5)
    found = every_second(values, (-1, -2), (4, 4))
    assert (found[0] == FORBIDDEN).all() and (found[:, 0] == FORBIDDEN).all() and (found[3] == FORBIDDEN).all()
    assert found[1:3, 1:].tolist() == [[5, 7, 9], [15, 17, 19]]
    assert (every_second(values, (4, 0), (2, 2)) == FORBIDDEN).all()
    assert (every_second(np.zeros((0, 3), np.float32), (0, 0), (2, 2)) == FORBIDDEN).all()


def test_the_bias_of_an_octave():
    rng = np.random.default_rng(0)
    one = component(rng, level_bias=np.array([1, 2, 4], np.float32), bias=0.5)
    mixture = Mixture((one, replace(one, level_bias=np.zeros(3, np.float32), bias=0.0)), 0.0, 2)
    levels = random_levels(rng, mixture.padding, interval=2, octaves=5, size=(64, 64))
    for level, extra in zip(range(2, 12), [1.5, 1.5, 2.5, 2.5, 4.5, 4.5, 4.5, 4.5, 4.5, 4.5]):
        with_bias, without = (scores for scores, _, _ in score_maps(mixture, levels, level))
        there = without > FORBIDDEN / 2
        np.testing.assert_allclose(with_bias[there], without[there] + extra, atol=1e-4)


# -------------------------------------------------------------------------------------------------------- placements


@pytest.fixture(scope="module")
def case():
    """A mixture of components of different shapes, levels, and for each component and level the brute force."""
    rng = np.random.default_rng(7)
    mixture = Mixture((component(rng, 3, 4, 2), component(rng, 4, 2, 3, 2), component(rng, 3, 4, 0, 6)), -1.0, 1)
    levels = random_levels(rng, mixture.padding, octaves=3, size=(24, 32))
    wanted = {
        (k, level): brute_force(one, levels, 1, level, mixture.padding)
        for k, one in enumerate(mixture.components)
        for level in (1, 2, 3)
    }
    return mixture, levels, wanted


def test_at_each_place_the_best_component_counts(case):
    mixture, levels, wanted = case
    best = {}
    for (k, level), scores in wanted.items():
        for root, (score, places) in scores.items():
            key = (level, *root)
            if key not in best or score > best[key][0]:
                best[key] = score, k, places
    found = find_placements(mixture, levels, EVERYTHING)
    assert len(found) == len(best)
    assert (np.diff(found.scores) <= 0).all()
    for i in range(len(found)):
        score, k, places = best[found.level[i], *found.roots[i]]
        assert found.component[i] == k and found.scores[i] == pytest.approx(score, abs=1e-4)
        assert found.parts[i].tolist() == places.tolist()


def test_threshold_and_most_cut_the_same_list(case):
    mixture, levels, _ = case
    found = find_placements(mixture, levels, EVERYTHING)
    threshold = float(found.scores[20] + found.scores[21]) / 2
    above, few = find_placements(mixture, levels, threshold), find_placements(mixture, levels, EVERYTHING, 7)
    assert len(above) == 21 and len(few) == 7
    for part in (above, few):
        assert part.scores.tolist() == found.scores[: len(part)].tolist()
        assert part.roots.tolist() == found.roots[: len(part)].tolist()
    nothing = find_placements(mixture, levels, 1e9)
    assert len(nothing) == 0 and root_boxes(mixture, levels, nothing).shape == (0, 4)
    assert predict_boxes(mixture, levels, nothing).shape == (0, 4) and part_boxes(mixture, levels, nothing) == []
    assert len(find_placements(mixture, levels[:1], EVERYTHING)) == 0  # a picture too small for any root


def test_threads_change_neither_the_result_nor_the_setting(case):
    mixture, levels, _ = case
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = find_placements(mixture, levels, EVERYTHING)
        assert torch.get_num_threads() == 3
        with pytest.raises(IndexError):
            find_placements(mixture, [levels[0], levels[1]._replace(features=np.zeros(0, np.float32))], 0.0)
        assert torch.get_num_threads() == 3
        torch.set_num_threads(1)
        one = find_placements(mixture, levels, EVERYTHING)
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(several.scores, one.scores) and np.array_equal(several.roots, one.roots)


def test_a_root_whose_part_does_not_fit_is_never_returned():
    rng = np.random.default_rng(0)
    one = replace(component(rng, 3, 3, 1, 3), anchors=np.array([[40, 0]]))
    mixture = Mixture((one,), 0.0, 1)
    levels = random_levels(rng, mixture.padding)
    assert len(find_placements(mixture, levels, -np.inf)) == 0
    box = np.array([0, 0, 24, 24])
    assert len(best_placement(mixture, levels, box, 0.5)) == 0
    assert len(best_placement(Mixture((replace(one, anchors=one.anchors * 0),), 0.0, 1), levels, box, 0.5)) == 1


def test_scores_follow_from_the_features_of_a_placement(case):
    mixture, levels, _ = case
    found = find_placements(mixture, levels, EVERYTHING)[::25]
    np.testing.assert_allclose(rescore(mixture, levels, found), found.scores, rtol=0, atol=1e-4)
    for i, (root, parts, displacement) in enumerate(placement_features(mixture, levels, found)):
        one = mixture.components[found.component[i]]
        assert root.shape == one.root.shape and parts.shape == one.parts.shape
        assert displacement.shape == one.deformations.shape
        assert (np.abs(displacement[:, :2]) <= REACH).all()
        assert (displacement[:, 2:] == displacement[:, :2] ** 2).all()
    stiffer = Mixture(tuple(replace(c, bias=c.bias + 1) for c in mixture.components), 0.0, 1)
    np.testing.assert_allclose(rescore(stiffer, levels, found), found.scores + 1, rtol=0, atol=1e-4)


@pytest.mark.parametrize("overlap", [0.2, 0.5, 0.7])
def test_the_latent_step_is_the_best_of_all_roots_that_overlap(case, overlap):
    mixture, levels, wanted = case
    places = [(k, level, *root) for (k, level), scores in wanted.items() for root in scores]
    scores, parts = zip(*(wanted[k, level][row, column] for k, level, row, column in places))
    k, level, row, column = np.array(places).T
    size = np.array([one.root.shape[1::-1] for one in mixture.components])[k]  # columns, rows
    start = np.stack([column, row], 1) - mixture.padding[::-1]
    cell = np.array([one.cell[0] for one in levels])[level, None]
    roots = torch.from_numpy(np.concatenate([start * cell, (start + size) * cell], 1))
    rng = np.random.default_rng(0)
    corner = rng.uniform(-12, 70, (40, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(15, 90, (40, 2))], 1)
    misses = 0
    for box, iou in zip(boxes, box_iou(torch.from_numpy(boxes), roots).numpy()):
        found = best_placement(mixture, levels, box, overlap)
        best = np.where(iou >= overlap, scores, -np.inf).argmax()
        if iou[best] < overlap:
            assert len(found) == 0
            misses += 1
            continue
        assert len(found) == 1 and found.scores[0] == pytest.approx(scores[best], abs=1e-4)
        assert (found.component[0], found.level[0], *found.roots[0]) == places[best]
        assert found.parts[0].tolist() == parts[best].tolist()
    assert misses < 35


def test_a_mirrored_mixture_sees_mirrored_features_as_the_mixture_sees_them(case):
    mixture, levels, _ = case
    mirrored = replace(mixture, components=tuple(c.mirrored() for c in mixture.components))
    mirrored_levels = [level._replace(features=level.features[:, ::-1][:, :, FLIP].copy()) for level in levels]
    for level in (1, 2, 3):
        both = score_maps(mixture, levels, level), score_maps(mirrored, mirrored_levels, level)
        for (scores, _, _), (flipped, _, _) in zip(*both):
            flipped = flipped[:, ::-1]
            assert ((scores > FORBIDDEN / 2) == (flipped > FORBIDDEN / 2)).all() and (scores > FORBIDDEN / 2).any()
            np.testing.assert_allclose(flipped, scores, rtol=1e-5, atol=1e-4)


def test_placements_are_chosen_by_mask_order_and_slice():
    several = Placements(
        np.array([0, 1, 0]), np.array([5, 6, 7]), np.array([[1, 2], [3, 4], [5, 6]]),
        [np.zeros((2, 2), int), np.ones((1, 2), int), np.full((2, 2), 2)], np.array([0.5, 0.7, 0.1], np.float32),
    )  # fmt: skip
    best_first = several[np.argsort(-several.scores)]
    assert best_first.level.tolist() == [6, 5, 7] and best_first.parts[0].tolist() == [[1, 1]]
    assert several[several.component == 0].roots.tolist() == [[1, 2], [5, 6]]
    assert len(several[:1]) == 1 and len(several[:0]) == 0
    joined = Placements.joined([several[:1], several[1:]])
    assert joined.scores.tolist() == several.scores.tolist() and len(joined.parts) == 3
    assert len(Placements.joined([])) == 0


# ------------------------------------------------------------------------------------------------------------- boxes


def test_boxes_by_hand():
    rng = np.random.default_rng(0)
    one = component(rng, 3, 5, 2, 4)
    mixture = Mixture((one,), 0.0, 2)  # padding: 3 rows, 5 columns
    levels = [FeatureLevel(np.zeros((40, 40, 32), np.float32), cell) for cell in [(4, 4), (5, 6), (8, 8), (10, 12)]]
    found = Placements(
        np.zeros(2, int), np.array([2, 3]), np.array([[3, 5], [4, 4]]),
        [np.array([[3, 5], [4, 7]]), np.array([[5, 5], [0, 0]])], np.zeros(2, np.float32),
    )  # fmt: skip
    assert root_boxes(mixture, levels, found).tolist() == [[0, 0, 40, 24], [-10, 12, 40, 48]]
    first, second = part_boxes(mixture, levels, found)
    assert first.tolist() == [[0, 0, 16, 16], [8, 4, 24, 20]]
    assert second.tolist() == [[0, 12, 20, 36], [-25, -18, -5, 6]]
    assert first.dtype == torch.float32


@pytest.mark.parametrize("level", [10, 13, 20])
def test_what_is_cut_out_of_a_picture_is_found_where_it_was(level):
    """Root and parts are the very features at known pixels; one cell too far anywhere, and boxes or scores differ."""
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (200, 240, 3), dtype=np.uint8)
    padding = (5, 6)
    levels = feature_pyramid(image, interval=10, pad=padding)
    row, column, anchors = 2, 3, np.array([[0, 1], [6, 4]])  # place of the root in the picture, in cells

    def cut(level, row, column, height, width):
        y, x = row + padding[0], column + padding[1]
        return levels[level].features[y : y + height, x : x + width].copy()

    root = cut(level, row, column, 5, 6)
    parts = np.stack([cut(level - 10, 2 * row + y, 2 * column + x, 6, 6) for x, y in anchors])
    deformations = np.tile(np.array([0, 0, 0.1, 0.1], np.float32), (2, 1))
    mixture = Mixture((Component(root, parts, anchors, deformations),), 0.0, 10)
    found = find_placements(mixture, levels, EVERYTHING, 1)
    assert found.scores[0] == pytest.approx(np.sum(root**2) + np.sum(parts**2), rel=1e-5)
    assert found.level[0] == level
    scale = 2 ** ((level - 10) / 10)
    box = 8 * scale * np.array([column, row, column + 6, row + 5])
    np.testing.assert_allclose(root_boxes(mixture, levels, found)[0], box, atol=1)  # a level has whole pixels
    wanted = [
        4 * scale * np.array([2 * column + x, 2 * row + y, 2 * column + x + 6, 2 * row + y + 6]) for x, y in anchors
    ]
    np.testing.assert_allclose(part_boxes(mixture, levels, found)[0], wanted, atol=1)
    assert len(best_placement(mixture, levels, box)) == 1


def test_box_prediction_by_hand():
    """A root of 40 x 24 px at (0, 0); one part whose centre is at (16, 12), another at (8, 8)."""
    rng = np.random.default_rng(0)
    predictor = np.zeros((7, 4), np.float32)
    predictor[6] = [0.1, 0.2, 0.3, 0.4]  # the constant
    predictor[2] = [1, 0, 0, 0]  # x of the first part
    predictor[5] = [0, 0, 0, 3]  # y of the second
    one = component(rng, 3, 5, 2, 4, box_predictor=predictor)
    mixture = Mixture((one, component(rng, 2, 2, 2, 4)), 0.0, 1)
    levels = [FeatureLevel(np.zeros((40, 40, 32), np.float32), cell) for cell in [(4, 4), (8, 8)]]
    found = Placements(
        np.array([1, 0]), np.array([1, 1]), np.array([[3, 5], [3, 5]]),
        [np.array([[3, 5], [4, 7]]), np.array([[4, 7], [3, 5]])], np.zeros(2, np.float32),
    )  # fmt: skip
    features = box_features(*(boxes[None] for boxes in (root_boxes(mixture, levels, found)[1],
                                                        part_boxes(mixture, levels, found)[1])))  # fmt: skip
    np.testing.assert_allclose(features, [[0, 0, -4 / 40, 0, -12 / 40, -4 / 24, 1]], atol=1e-6)
    boxes = predict_boxes(mixture, levels, found)
    assert boxes[0].tolist() == [0, 0, 16, 16]  # without a predictor the root's own
    wanted = [40 * (0.1 - 0.1), 24 * 0.2, 40 + 40 * 0.3, 24 + 24 * (0.4 - 3 * 4 / 24)]
    np.testing.assert_allclose(boxes[1], wanted, atol=1e-4)


def test_least_squares_find_the_predictor_that_made_the_boxes():
    rng = np.random.default_rng(0)
    corner, size = rng.uniform(0, 100, (50, 2)), rng.uniform(20, 60, (50, 2))
    roots = torch.tensor(np.concatenate([corner, corner + size], axis=1))
    centres = torch.tensor(corner[:, None] + rng.uniform(0, 1, (50, 3, 2)) * size[:, None])
    parts = torch.cat([centres - 5, centres + 5], dim=2)
    true = rng.normal(size=(9, 4)) * 0.2
    true[:2] = 0  # the root's own centre says nothing
    truths = roots + box_features(roots, parts) @ torch.tensor(true) * torch.tensor(np.tile(size, 2))
    np.testing.assert_allclose(fit_box_predictor(roots, parts, truths), true, atol=1e-5)
    with pytest.raises(DataError, match="no placement"):
        fit_box_predictor(roots[:0], parts[:0], truths[:0])


# --------------------------------------------------------------------------------------------------------- detection


@pytest.fixture(scope="module")
def photograph():
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut()[:200, 100:360])


def real_mixture(photograph, *, placements, interval=4, shape=(5, 6)) -> Mixture:
    """A mixture that finds the middle of the photograph, and so many places in all."""
    levels = feature_pyramid(photograph, interval=interval, pad=(0, 0))
    root = levels[interval].features[8 : 8 + shape[0], 8 : 8 + shape[1]]
    parts = np.stack([levels[0].features[16:20, 16:20], levels[0].features[20:24, 20:24]])
    predictor = np.zeros((7, 4), np.float32)
    predictor[6] = [0.1, 0.1, -0.1, -0.1]
    one = Component(
        root=root - root.mean(axis=(0, 1)),
        parts=parts - parts.mean(axis=(1, 2), keepdims=True),
        anchors=np.array([[0, 0], [4, 4]]),
        deformations=np.tile(np.array([0, 0, 0.1, 0.1], np.float32), (2, 1)),
        box_predictor=predictor,
    )
    mixture = Mixture((one,), 0.0, interval)
    levels = feature_pyramid(photograph, interval=interval, pad=mixture.padding)
    scores = find_placements(mixture, levels, EVERYTHING).scores
    return replace(mixture, threshold=float(scores[placements] + scores[placements - 1]) / 2)


def test_detections_are_placements_clipped_and_suppressed(photograph):
    mixture = real_mixture(photograph, placements=300)
    stages = Stages()
    found = detect_mixtures({3: mixture}, photograph, stages=stages)
    levels = feature_pyramid(photograph, interval=4, pad=mixture.padding)
    placements = find_placements(mixture, levels, mixture.threshold)
    boxes = predict_boxes(mixture, levels, placements)
    boxes[:, 0::2], boxes[:, 1::2] = boxes[:, 0::2].clamp(0, 260), boxes[:, 1::2].clamp(0, 200)
    keep = dpm_nms(boxes, torch.from_numpy(placements.scores))
    assert 1 < len(keep) < len(placements)
    assert torch.equal(found["boxes"], boxes[keep][:100])
    assert torch.equal(found["scores"], torch.from_numpy(placements.scores)[keep][:100])
    assert found["labels"].unique().tolist() == [3] and found["labels"].dtype == torch.int64
    assert set(stages.seconds) == {"features", "filters", "boxes", "suppression"}


def test_another_class_changes_nothing_for_the_first(photograph):
    small = real_mixture(photograph, placements=20)
    large = real_mixture(photograph, shape=(9, 11), placements=20)
    other = real_mixture(photograph, interval=3, placements=20)
    together = detect_mixtures({1: small, 2: large, 4: other}, photograph)
    assert (together["scores"].diff() <= 0).all() and len(together["scores"]) < 100
    for label, mixture in ((1, small), (2, large), (4, other)):
        alone = detect_mixtures({label: mixture}, photograph)
        own = together["labels"] == label
        assert len(alone["boxes"]) and torch.equal(together["boxes"][own], alone["boxes"])
        torch.testing.assert_close(together["scores"][own], alone["scores"])


def test_at_most_100_per_picture_and_none_in_a_tiny_one(photograph):
    mixture = real_mixture(photograph, placements=1900)
    found = detect_mixtures({1: mixture, 2: mixture, 3: mixture}, photograph)
    assert len(found["boxes"]) == 100 and found["scores"].min() > mixture.threshold
    nothing = detect_mixtures({1: real_mixture(photograph, placements=20)}, np.zeros((20, 30, 3), np.uint8))
    assert {key: tuple(value.shape) for key, value in nothing.items()} == {
        "boxes": (0, 4), "labels": (0,), "scores": (0,),
    }  # fmt: skip
