"""DPM as a network: every layer against the classical step, plain loops and closed forms; then back-propagation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data
from torch.autograd import gradcheck
from torch.nn.functional import max_pool2d

from course_utils.distance_transform import bounded_distance_transform
from course_utils.dpm.inference import FORBIDDEN, best_placement, find_placements, root_boxes, score_maps
from course_utils.dpm.layers import (
    BlockNormalization,
    CellPooling,
    ComponentNet,
    DistanceTransformPool,
    DpmNet,
    Gradients,
    ObjectGeometry,
    Orientations,
    Windows,
    collect_windows,
    cut_window,
    descend,
    fine_tune,
    hog_layers,
    layer_pyramid,
    reach_is_inside,
    window_scores,
    with_new,
)
from course_utils.dpm.model import Component, Mixture
from course_utils.dpm.planted import planted_scenes
from course_utils.dpm.training import Positive
from course_utils.errors import DataError
from course_utils.fhog import (
    COSINES,
    SINES,
    best_directions,
    cell_histograms,
    feature_pyramid,
    fhog,
    normalized_channels,
    planes_of,
)


def as_picture(image):
    return torch.from_numpy(planes_of(image))[None]


def as_level(features):
    return torch.from_numpy(features).permute(2, 0, 1)[None]


def random_component(rng, h, w, n, side=6):
    def template(*shape):
        return (0.05 * rng.normal(size=shape)).astype(np.float32)

    anchors = np.stack([rng.integers(0, 2 * extent - side + 1, n) for extent in (w, h)], 1)
    springs = np.concatenate([0.05 * rng.normal(size=(n, 2)), rng.uniform(0.01, 0.1, (n, 2))], 1)
    biases = float(rng.normal()), rng.normal(size=3).astype(np.float32)
    return Component(template(h, w, 32), template(n, side, side, 32), anchors, springs.astype(np.float32), *biases)


def random_mixture(seed):
    """Two components, of 0 to 3 parts."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 8, (2, 2))
    parts = rng.permutation(4)[:2]
    return Mixture(tuple(random_component(rng, h, w, n) for (h, w), n in zip(sizes, parts)), -1.0, interval=3)


PICTURES = {
    "photograph": (data.astronaut()[:210, 80:330], 8),
    "half a cell too much": (data.astronaut()[:211, 80:333], 8),
    "half a cell short": (data.astronaut()[:213, 80:327], 8),
    "small cells": (data.chelsea()[100:183, 200:291], 4),
    "grey": (np.repeat(data.camera()[:80, :90, None], 3, 2), 8),
    "ties": (np.random.default_rng(0).integers(0, 3, (50, 61, 3), dtype=np.uint8), 8),
    "flat": (np.full((40, 40, 3), 7, np.uint8), 8),
    "float": (255 * np.random.default_rng(1).random((70, 60, 3), dtype=np.float32), 8),
}


# ------------------------------------------------------------------------------------------------------------- HoG


@pytest.mark.parametrize("name", PICTURES)
def test_hog_layers_equal_fhog(name):
    image, cell = PICTURES[name]
    with torch.no_grad():
        found = hog_layers(cell)(as_picture(image))[0].permute(1, 2, 0)
    assert found.shape == fhog(image, cell).shape
    assert np.allclose(found, fhog(image, cell), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", PICTURES)
def test_each_layer_equals_its_step(name):
    image, cell = PICTURES[name]
    length, direction = best_directions(planes_of(image), COSINES, SINES)
    votes = Orientations()(Gradients(cell)(as_picture(image)))[0].numpy()
    height, width = (min(a, b) - 1 for a, b in zip(length.shape, votes.shape[1:]))  # the last pixel has no gradient
    assert np.allclose(votes.sum(0)[:height, :width], length[:height, :width], rtol=1e-6)
    told = length[:height, :width] > 0
    assert np.array_equal(votes.argmax(0)[:height, :width][told], direction[:height, :width][told])
    assert ((votes > 0).sum(0) <= 1).all()

    cells = cell_histograms(length, direction, votes.shape[1] // cell, votes.shape[2] // cell, cell)
    pooled = CellPooling(cell)(torch.from_numpy(votes)[None])
    assert np.allclose(pooled[0].permute(1, 2, 0), cells, rtol=1e-4, atol=1e-2)  # sums of up to 10,000
    channels = BlockNormalization()(torch.from_numpy(np.ascontiguousarray(cells)).permute(2, 0, 1)[None])
    assert np.allclose(channels[0].permute(1, 2, 0), normalized_channels(cells), rtol=0, atol=1e-6)


def test_hog_layers_take_several_pictures_and_double():
    pictures = torch.cat([as_picture(data.astronaut()[:64, k : k + 80]) for k in (0, 150)])
    together = hog_layers()(pictures)
    assert together.shape == (2, 32, 6, 8)
    assert torch.allclose(together[1:], hog_layers()(pictures[1:]), atol=1e-6)
    assert torch.allclose(hog_layers().double()(pictures.double()).float(), together, atol=1e-5)


def test_the_gradient_reaches_the_pixels_also_where_nothing_changes():
    picture = as_picture(data.astronaut()[:64, 150:214]).requires_grad_()
    with torch.no_grad():
        picture[..., 40:] = 9.0
    hog_layers()(picture).square().sum().backward()
    assert picture.grad.isfinite().all()
    assert picture.grad.abs().sum() > 0


@pytest.mark.parametrize("shape", [(120, 150), (97, 61), (41, 200)])
def test_pyramid_of_layers_equals_the_classical_one(shape):
    image = data.chelsea()[: shape[0], : shape[1]]
    classical = feature_pyramid(image, interval=4, pad=(5, 3))
    with torch.no_grad():
        levels = layer_pyramid(image, interval=4, padding=(5, 3))
    assert len(levels) == len(classical)
    for found, wanted in zip(levels, classical):
        assert found.shape[2:] == wanted.features.shape[:2]
        assert np.allclose(found[0].permute(1, 2, 0), wanted.features, rtol=0, atol=1e-5)


# --------------------------------------------------------------------------------------- pooling with deformations


@pytest.mark.parametrize("reach", [0, 1, 4])
def test_pooling_equals_the_bounded_transform(reach):
    rng = np.random.default_rng(reach)
    maps = rng.normal(-5, 1, (3, 13, 9)).astype(np.float32)  # all negative: nothing beyond the map may win
    weights = np.concatenate([0.3 * rng.normal(size=(3, 2)), rng.uniform(0.01, 0.5, (3, 2))], 1).astype(np.float32)
    found = DistanceTransformPool(torch.from_numpy(weights), reach)(torch.from_numpy(maps)[None])[0]
    for one, own, response in zip(found, weights, maps):
        assert np.allclose(one.detach(), bounded_distance_transform(response, own, reach)[0], rtol=0, atol=1e-6)


def test_pooling_equals_a_plain_loop_in_double():
    rng = np.random.default_rng(3)
    f, (a, b, c, d) = rng.normal(-5, 1, (7, 8)), (0.2, -0.3, 0.05, 0.11)
    found = DistanceTransformPool(torch.tensor([[a, b, c, d]], dtype=torch.float64))(torch.tensor(f)[None, None])[0, 0]
    for y, x in np.ndindex(7, 8):
        wanted = max(
            f[v, u] - a * (u - x) - b * (v - y) - c * (u - x) ** 2 - d * (v - y) ** 2
            for v, u in np.ndindex(7, 8)
            if max(abs(u - x), abs(v - y)) <= 4
        )
        assert abs(found[y, x].item() - wanted) < 1e-12


def test_no_cost_is_max_pooling_and_a_huge_cost_the_identity():
    maps = torch.randn(2, 3, 11, 14, generator=torch.Generator().manual_seed(0)) - 5
    assert torch.equal(DistanceTransformPool(torch.zeros(3, 4))(maps), max_pool2d(maps, 9, stride=1, padding=4))
    assert torch.equal(DistanceTransformPool(torch.tensor([[0, 0, 1e6, 1e6]] * 3))(maps), maps)


def test_gradients_of_pooling_against_finite_differences():
    maps = torch.randn(1, 2, 6, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    pool = DistanceTransformPool(torch.tensor([[0.1, -0.2, 0.07, 0.12], [0.0, 0.1, 0.2, 0.05]], dtype=torch.float64), 2)
    assert gradcheck(lambda f, w: torch.func.functional_call(pool, {"weights": w}, (f,)), (maps, pool.weights))


def test_gradient_goes_to_the_winner_and_minus_its_displacement_to_the_weights():
    rng = np.random.default_rng(5)
    response, weights = rng.normal(size=(9, 9)).astype(np.float32), np.array([0.1, -0.1, 0.05, 0.08], np.float32)
    _, rows, columns = bounded_distance_transform(response, weights)
    maps, pool = (
        torch.from_numpy(response)[None, None].requires_grad_(),
        DistanceTransformPool(torch.from_numpy(weights[None])),
    )
    y, x = 5, 3
    pool(maps)[0, 0, y, x].backward()
    dy, dx = rows[y, x] - y, columns[y, x] - x
    assert (dx, dy) != (0, 0)
    assert np.argwhere(maps.grad[0, 0].numpy()).tolist() == [[rows[y, x], columns[y, x]]]
    assert maps.grad.sum() == 1
    assert pool.weights.grad[0].tolist() == [-dx, -dy, -(dx**2), -(dy**2)]


# ----------------------------------------------------------------------------------------------- geometry, mixture


def test_geometry_has_a_single_one_per_part_and_takes_every_second_cell():
    rng = np.random.default_rng(0)
    anchors, (py, px) = np.array([[0, 0], [5, 2], [1, 7]]), (4, 3)
    geometry = ObjectGeometry(anchors, (py, px))
    assert sorted(geometry.kernel.unique().tolist()) == [0, 1]
    assert geometry.kernel.sum((0, 2, 3)).tolist() == [1, 1, 1]
    root, parts = rng.normal(size=(9, 8)), rng.normal(size=(3, 14, 12))
    found = geometry.double()(torch.tensor(root)[None, None], torch.tensor(parts)[None])
    assert found.shape == (1, 1, 9, 8)
    for row, column in np.ndindex(9, 8):
        wanted = root[row, column]
        for (x, y), part in zip(anchors, parts):
            v, u = 2 * row - py + y, 2 * column - px + x
            wanted += part[v, u] if 0 <= v < 14 and 0 <= u < 12 else FORBIDDEN
        assert abs(found[0, 0, row, column].item() - wanted) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_network_equals_score_maps(seed):
    mixture = random_mixture(seed)
    classical = feature_pyramid(data.astronaut()[:150, 130:320], interval=3, pad=mixture.padding)
    levels = [as_level(level.features) for level in classical]
    with torch.no_grad():
        found = DpmNet(mixture)(levels)
    assert len(found) == len(classical) - 3
    for level, (best, which) in enumerate(found, 3):
        stack = np.full((2, *classical[level].features.shape[:2]), -np.inf, np.float32)
        for k, (scores, _, _) in enumerate(score_maps(mixture, classical, level)):
            stack[k, : scores.shape[0], : scores.shape[1]] = scores
        near = stack.max(0) > FORBIDDEN / 2  # some part is outside its map elsewhere: with fewer digits
        assert near.any()
        assert np.allclose(best[0][near], stack.max(0)[near], rtol=0, atol=1e-4)
        assert np.allclose(best[0], stack.max(0), rtol=1e-5, atol=1e-4)
        assert np.array_equal(which[0][near], stack.argmax(0)[near])


def test_from_photograph_to_boxes():
    mixture, image = random_mixture(7), data.chelsea()[50:200, 100:300]
    classical = feature_pyramid(image, interval=3, pad=mixture.padding)
    placements = find_placements(mixture, classical, FORBIDDEN / 2)
    with torch.no_grad():
        maps = DpmNet(mixture)(layer_pyramid(image, interval=3, padding=mixture.padding))
    values = [maps[level - 3][0][0, row, column] for level, (row, column) in zip(placements.level, placements.roots)]
    assert len(placements) == sum(int((best > FORBIDDEN / 2).sum()) for best, _ in maps)
    assert np.allclose(values, placements.scores, rtol=0, atol=1e-4)


def test_network_equals_a_loop_over_everything_in_double():
    mixture, rng = random_mixture(11), np.random.default_rng(2)
    coarse, fine = rng.random((11, 10, 32)), rng.random((17, 15, 32))
    py, px = mixture.padding
    for component in mixture.components:
        net = ComponentNet(component, (py, px)).double()
        with torch.no_grad():
            found = net(*(torch.tensor(f).permute(2, 0, 1)[None] for f in (coarse, fine)), 1)[0, 0]
        h, w = component.root.shape[:2]
        wanted = np.full((11 - h + 1, 10 - w + 1), component.bias + component.level_bias[1].astype(float))
        wanted = wanted - component.bias + np.float32(component.bias)  # the network has it in float32
        for row, column in np.ndindex(wanted.shape):
            wanted[row, column] += (coarse[row : row + h, column : column + w] * component.root).sum()
            for part, (x, y), cost in zip(component.parts, component.anchors, component.deformations.astype(float)):
                v, u = 2 * row - py + y, 2 * column - px + x
                places = [(v + dy, u + dx) for dy, dx in np.ndindex(9, 9)]
                places = [(b - 4, a - 4) for b, a in places if 0 <= b - 4 <= 11 and 0 <= a - 4 <= 9]
                inside = 0 <= v <= 11 and 0 <= u <= 9
                wanted[row, column] += (
                    max(
                        (fine[b : b + 6, a : a + 6] * part).sum() - cost @ [a - u, b - v, (a - u) ** 2, (b - v) ** 2]
                        for b, a in places
                    )
                    if inside
                    else FORBIDDEN
                )
        assert abs(found.numpy() - wanted).max() < 1e-9
        assert abs(found.numpy() - wanted)[wanted > FORBIDDEN / 2].max() < 1e-10


def test_gradients_reach_every_parameter():
    mixture = random_mixture(0)
    net = DpmNet(mixture)
    levels = layer_pyramid(data.astronaut()[:120, 150:270], interval=3, padding=mixture.padding)
    for component in net.components:
        component(levels[4], levels[1], 0).max().backward()
        for name, parameter in component.named_parameters():
            if parameter.numel():
                assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_written_back_the_mixture_is_the_same():
    mixture = random_mixture(1)
    again = DpmNet(mixture).written_into(mixture)
    for before, after in zip(mixture.components, again.components):
        for name in ("root", "parts", "anchors", "deformations", "level_bias"):
            assert np.array_equal(getattr(before, name), getattr(after, name)), name
        assert after.bias == np.float32(before.bias)
    assert (again.threshold, again.interval) == (mixture.threshold, mixture.interval)


def test_network_equals_score_maps_with_the_authors_model(shared):
    from course_utils.dpm.release5 import read_release5

    _, mixture = read_release5(shared / "data" / "dpm_voc_release5" / "car_final.mat")
    mixture = replace(mixture, interval=2)
    classical = feature_pyramid(data.astronaut()[:160, :200], interval=2, pad=mixture.padding)
    with torch.no_grad():
        found = DpmNet(mixture)([as_level(level.features) for level in classical])
    placements = find_placements(mixture, classical, FORBIDDEN / 2)
    values = [found[level - 2][0][0, row, column] for level, (row, column) in zip(placements.level, placements.roots)]
    assert len(placements) > 100
    assert np.allclose(values, placements.scores, rtol=0, atol=1e-4)


# ------------------------------------------------------------------------------------------------ back-propagation


def windows_of(rng, component, offsets, signs):
    """Windows where every part stands ``offsets`` (N, n, 2), x and y, away from its anchor, in weak noise."""
    n, side = len(component.parts), component.parts.shape[1]
    parts = 0.01 * rng.normal(size=(len(offsets), n, side + 8, side + 8, 32)).astype(np.float32)
    for window, own in zip(parts, offsets):
        for i, (x, y) in enumerate(own):
            window[i, 4 + y : 4 + y + side, 4 + x : 4 + x + side] += component.parts[i]  # which responds with about 3
    roots = torch.zeros(len(offsets), 32, *component.root.shape[:2])
    octaves = torch.zeros(len(offsets), dtype=torch.int64)
    return Windows(roots, torch.from_numpy(parts).permute(0, 1, 4, 2, 3), octaves, torch.tensor(signs))


def test_windows_score_as_the_whole_does():
    mixture = random_mixture(3)
    levels = feature_pyramid(data.astronaut()[:150, 130:320], interval=3, pad=mixture.padding)
    placements = find_placements(mixture, levels, FORBIDDEN / 2)
    inside = reach_is_inside(mixture, levels, placements)
    assert 0.1 < inside.mean() < 0.9
    net = DpmNet(mixture)
    for i in np.flatnonzero(inside)[::37]:
        one = cut_window(mixture, levels, placements[i : i + 1], 1.0)
        score = window_scores(net.components[placements.component[i]], Windows(*(value[None] for value in one)))
        assert abs(score.item() - placements.scores[i]) < 1e-4


def test_springs_loosen_where_parts_move_and_only_there():
    rng = np.random.default_rng(0)
    component = replace(
        random_component(rng, 5, 5, 2), deformations=np.array([[0, 0, 0.3, 0.3]] * 2, np.float32), bias=-1.0
    )
    offsets = np.zeros((40, 2, 2), int)
    offsets[:20, :, 0] = rng.integers(-3, 4, (20, 2))  # objects: parts move to the left and to the right
    offsets[20:, :, 1] = rng.choice([-3, 3], (20, 2))  # false alarms: up or down
    windows = windows_of(rng, component, offsets, [1.0] * 20 + [-1.0] * 20)
    net = DpmNet(Mixture((component,), -1.0))
    losses = descend(net, {0: windows}, filters=False, steps=30, rate=0.2)
    x2, y2 = net.components[0].springs.weights.detach()[:, 2:].T
    assert losses[-1] < 0.7 * losses[0]
    assert (x2 < 0.2).all() and (y2 > 0.3).all()
    assert np.array_equal(net.written_into(Mixture((component,), -1.0)).components[0].parts, component.parts)


def test_quadratic_weights_are_raised_to_the_bound():
    pool = DistanceTransformPool(torch.tensor([[-0.5, 0.2, -0.1, 0.0005], [0.0, -3.0, 0.3, 2.0]]))
    pool.keep_convex()
    assert torch.equal(pool.weights, torch.tensor([[-0.5, 0.2, 0.001, 0.001], [0.0, -3.0, 0.3, 2.0]]))


@pytest.mark.parametrize("filters", [False, True])
def test_learning_keeps_to_the_bound_and_to_what_may_learn(filters):
    rng = np.random.default_rng(1)
    springs = np.array([[0, 0, 0.01, 0.01]], np.float32)
    component = replace(random_component(rng, 5, 5, 1), deformations=springs, bias=-9.0)  # objects stay below 1
    windows = windows_of(rng, component, np.full((8, 1, 2), 3), [1.0] * 7 + [-1.0])
    net = DpmNet(Mixture((component,), -1.0))
    descend(net, {0: windows}, filters=filters, steps=20, rate=0.2)
    learned = net.components[0]
    loosest = learned.springs.weights[0, 2:].min().item()
    assert 0.001 - 1e-9 < loosest < (0.01 if filters else 0.0011)
    assert np.array_equal(learned.parts.detach().permute(0, 2, 3, 1), component.parts) != filters


def inner_placements(mixture, levels):
    """Placements, the highest first, whose parts can go nowhere beyond the map."""
    placements = find_placements(mixture, levels, FORBIDDEN / 2)
    return placements[reach_is_inside(mixture, levels, placements)]


def test_objects_and_false_alarms_are_told_apart():
    mixture = replace(random_mixture(5), threshold=-100.0)
    image, other = data.astronaut()[:150, 130:320], data.chelsea()[:120, :150]
    levels = feature_pyramid(image, interval=3, pad=mixture.padding)
    box = root_boxes(mixture, levels, inner_placements(mixture, levels)[:1])[0].double().numpy()
    windows = collect_windows(mixture, [Positive(image, box)], [other], 40)
    net = DpmNet(mixture)
    scores = torch.cat([window_scores(net.components[k], w).detach() for k, w in windows.items()])
    signs = torch.cat([w.signs for w in windows.values()])
    assert (signs > 0).sum() == 1
    assert 5 < (signs < 0).sum() <= 40
    assert abs(scores[signs > 0].item() - best_placement(mixture, levels, box).scores[0]) < 1e-4
    levels = feature_pyramid(other, interval=3, pad=mixture.padding)
    assert abs(scores[signs < 0].max().item() - inner_placements(mixture, levels).scores[0]) < 1e-4


def test_only_false_alarms_of_earlier_rounds_stay():
    def windows(*signs):
        n = len(signs)
        return Windows(torch.arange(n), 10 * torch.arange(n), torch.zeros(n), torch.tensor(signs))

    old, new = {0: windows(1.0, -1.0, -1.0), 1: windows(1.0), 2: windows(-1.0)}, {0: windows(1.0, 1.0, -1.0)}
    both = with_new(old, new)
    assert both[0].signs.tolist() == [1, 1, -1, -1, -1]
    assert both[0].parts.tolist() == [0, 10, 20, 10, 20]
    assert {k: len(one.signs) for k, one in both.items()} == {0: 5, 1: 0, 2: 1}


def test_fine_tuning_separates_objects_from_false_alarms():
    mixture = replace(random_mixture(5), threshold=-100.0)
    image, other = data.astronaut()[:150, 130:320], data.chelsea()[:120, :150]
    levels = feature_pyramid(image, interval=3, pad=mixture.padding)
    boxes = root_boxes(mixture, levels, inner_placements(mixture, levels)[40:43]).double().numpy()
    positives = [Positive(image, box) for box in boxes]
    before = [component.parts.copy() for component in mixture.components]
    tuned = fine_tune(mixture, positives, [other], filters=True, rounds=1, steps=20, rate=0.02)
    windows = collect_windows(mixture, positives, [other], 5)

    def gap(one):
        scores = torch.cat([window_scores(DpmNet(one).components[k], w).detach() for k, w in windows.items()])
        signs = torch.cat([w.signs for w in windows.values()])
        return (scores[signs > 0].mean() - scores[signs < 0].mean()).item()

    assert gap(tuned) > gap(mixture) + 1
    assert (tuned.threshold, tuned.interval) == (mixture.threshold, mixture.interval)
    assert all(np.array_equal(a, component.parts) for a, component in zip(before, mixture.components))


def test_nothing_to_learn_from_is_one_clear_error():
    mixture = Mixture((replace(random_mixture(5).components[0], bias=-100.0),), 0.0, interval=3)  # all below -1
    with pytest.raises(DataError, match=r"objects and false alarms.* neither"):
        fine_tune(mixture, [], [data.astronaut()[:150, 130:320]])


def test_planted_patterns_stand_where_the_answer_says():
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(2, 6, 6)).astype(np.float32)
    anchors, shifts = np.array([(0, 0), (12, 5)]), np.array([(0, 0), (2, -3)])
    scenes, roots = planted_scenes(rng, patterns, anchors, np.zeros((2, 2)), shifts, 20, loose=0, strength=1000.0)
    for scene, root in zip(scenes[:, 0], roots):
        row, column = divmod(root, 16)
        for pattern, place in zip(patterns, 2 * np.array([column, row]) + anchors + shifts):
            x, y = place
            assert np.abs(scene[y : y + 6, x : x + 6] - 1000 * pattern).max() < 10
    assert len(set(roots.tolist())) > 10
