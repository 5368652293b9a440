"""Training a deformable part model: each step against what it promises, the whole on shapes that move about."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_parts import BOX, PLACES, SHAPE, Planted

from course_utils.detectors.dpm import Dpm, enlarge
from course_utils.dpm import training
from course_utils.dpm.inference import Placements, best_placement, find_placements, rescore, score_maps
from course_utils.dpm.latent_svm import Problem, vector_of
from course_utils.dpm.parts import add_parts, covered, place_parts
from course_utils.dpm.views import aspects_of, left_right_split, root_size, warped
from course_utils.errors import DataError
from course_utils.fhog import fhog, flip_features
from course_utils.metrics import match

SMALL = {"aspects": 1, "mirrored": False, "enlarged": 1.0, "C": 0.01, "resume": False}


@pytest.fixture(scope="module")
def train():
    return Planted(40, jitter=12, seed=0)


@pytest.fixture(scope="module")
def rigid(train):
    return Dpm(parts=0, **SMALL).fit(train)


@pytest.fixture(scope="module")
def spied(train):
    """A model with parts, and what happened in each step of its training."""
    seen = {"relabelled": [], "solved": []}
    relabelled, lowered = training.relabelled, training.lowered

    def relabel(mixture, levels, box, before):
        now = relabelled(mixture, levels, box, before)
        old = None if before is None or not len(before) else rescore(mixture, levels, before)[0]
        seen["relabelled"].append((old, now.scores[0] if len(now) else None))
        return now

    def solve(problem, start):
        found = lowered(problem, start)
        seen["solved"].append((problem(start)[0], problem(found)[0]))
        return found

    with pytest.MonkeyPatch.context() as patch:
        for name, spy in (("relabelled", relabel), ("lowered", solve)):
            patch.setattr(training, name, spy)
        seen["detector"] = Dpm(parts=3, box_prediction=False, **SMALL).fit(train)
    return seen


# ----------------------------------------------------------------------------------------------------- the beginning


def test_aspects_are_groups_of_equal_size_from_wide_to_tall():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([np.zeros((31, 2)), rng.uniform(10, 100, (31, 2))], axis=1)
    group, tall = aspects_of(boxes, 3), boxes[:, 3] / boxes[:, 2]
    assert sorted(np.bincount(group)) == [10, 10, 11]
    assert tall[group == 0].max() < tall[group == 1].min() and tall[group == 1].max() < tall[group == 2].min()


@pytest.mark.parametrize(("width", "height", "area"), [(40, 80, 3200), (20, 40, 3000), (300, 600, 5000)])
def test_roots_have_the_shape_of_the_boxes_and_an_area_within_limits(width, height, area):
    rows, columns = root_size(np.array([[0, 0, width, height]] * 5, float))
    assert rows == round((2 * area) ** 0.5 / 8) and columns == round((area / 2) ** 0.5 / 8)


def test_a_fifth_of_the_boxes_is_smaller_than_the_root():
    sides = np.sqrt(np.linspace(3000, 5000, 101))
    boxes = np.stack([np.zeros(101), np.zeros(101), sides, sides], axis=1)
    assert root_size(boxes) == (round(3400**0.5 / 8),) * 2


def test_a_box_that_has_the_roots_size_is_not_warped():
    image = np.random.default_rng(1).integers(0, 255, (160, 200, 3), dtype=np.uint8)
    whole = fhog(image)  # entry (0, 0) is cell (1, 1)
    found = warped(image, np.array([48.0, 32.0, 48 + 72, 32 + 56]), (7, 9))
    assert found.shape == (7, 9, 32)
    assert np.abs(found - whole[3:10, 5:14])[1:-1, 1:-1].max() < 1e-5
    beyond = warped(image, np.array([-20.0, 100.0, 60.0, 170.0]), (7, 8))
    assert beyond.shape == (7, 8, 32) and np.isfinite(beyond).all()


def test_the_split_finds_which_examples_were_mirrored():
    rng = np.random.default_rng(2)
    prototype = rng.normal(size=(5, 6, 32))
    turned = rng.random(40) < 0.4
    examples = [prototype + rng.normal(0, 2.0, prototype.shape) for _ in turned]
    examples = np.stack([flip_features(one) if t else one for one, t in zip(examples, turned)])
    found = left_right_split(examples, np.random.default_rng(0))
    assert np.array_equal(found, turned) or np.array_equal(found, ~turned)


def test_the_split_is_the_best_two_means_under_the_constraint():
    """Brute force over all assignments: an example in one cluster, its mirror image in the other."""
    rng = np.random.default_rng(3)
    examples = rng.normal(size=(8, 2, 2, 32))

    def scatter(turned):
        facing = np.stack([flip_features(one) if t else one for one, t in zip(examples, turned)])
        return ((facing - facing.mean(axis=0)) ** 2).sum()  # the other cluster's is the same

    smallest = min(scatter([(code >> i) & 1 for i in range(8)]) for code in range(256))
    assert scatter(left_right_split(examples, rng)) == pytest.approx(smallest)


def test_parts_cover_the_planted_energy():
    rng = np.random.default_rng(4)
    energy = np.full((14, 20), 1e-4)
    planted = [(0, 0), (13, 1), (6, 7)]
    for x, y in planted:
        energy[y : y + 6, x : x + 6] += rng.uniform(1, 2, (6, 6))
    assert {tuple(place) for place in place_parts(energy, 3, 6, rng).tolist()} == set(planted)


def test_relocation_is_at_least_as_good_as_greedy_and_sometimes_better():
    better = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        energy = rng.gamma(0.3, size=(12, 16))
        left, greedy = energy.copy(), 0.0
        for _ in range(4):
            sums = {(x, y): left[y : y + 6, x : x + 6].sum() for x in range(11) for y in range(7)}
            (x, y), gain = max(sums.items(), key=lambda item: item[1])
            greedy += gain
            left[y : y + 6, x : x + 6] = 0
        ours = covered(energy, [tuple(place) for place in place_parts(energy, 4, 6, rng)], 6)
        assert ours >= greedy - 1e-9
        better += ours > greedy + 1e-9
    assert better


def test_no_part_is_placed_where_the_root_is_used_up():
    energy = np.zeros((12, 12))
    energy[:6] = 1.0
    places = place_parts(energy, 8, 6, np.random.default_rng(5))
    assert len(places) == 2 and {tuple(place) for place in places.tolist()} == {(0, 0), (6, 0)}


def test_parts_go_where_weights_are_positive():
    """What the root does not want to see is no place for a part."""
    root = np.zeros((6, 12, 32), np.float32)
    root[1:4, 1:4], root[1:4, 7:10] = 1, -5
    one = add_parts(replace(training.empty_component(6, 12), root=root), 1, np.random.default_rng(0))
    assert one.anchors.tolist() == [[2, 2]]


def test_parts_begin_as_pieces_of_the_enlarged_root():
    rng = np.random.default_rng(6)
    start = training.empty_component(6, 8)
    y, x = np.mgrid[:6, :8, :32][:2] / 8
    one = add_parts(replace(start, root=(x + y).astype(np.float32)), 3, rng)
    assert one.parts.shape[1:] == (6, 6, 32) and len(one.parts) <= 3
    assert np.allclose(np.linalg.norm(one.parts.reshape(len(one.parts), -1), axis=1), 0.1, atol=1e-6)
    assert one.deformations == pytest.approx(np.tile([0, 0, 0.01, 0.01], (len(one.parts), 1)))
    for (left, top), part in zip(one.anchors, one.parts):
        # the middle of cell (x, y) at twice the resolution is at half of it in the root; a plane stays one inside
        inner = [(i, j) for i in range(6) for j in range(6) if 3 < top + i < 8 and 3 < left + j < 12]
        plane = np.array([(left + j + top + i) / 2 - 0.5 for i, j in inner])
        own = np.array([part[i, j, 0] for i, j in inner])
        assert np.corrcoef(plane, own)[0, 1] > 0.99


# ------------------------------------------------------------------------------------------------- the latent steps


def test_no_step_raises_the_objective(spied):
    assert len(spied["solved"]) >= 4
    for before, after in spied["solved"]:
        assert after <= before
    assert sum(before - after for before, after in spied["solved"]) > 0.1


def test_relabelling_never_lowers_the_score_of_a_positive(spied):
    again = [(old, now) for old, now in spied["relabelled"] if old is not None]
    assert len(again) >= 20 and all(now >= old for old, now in again)
    assert any(now > old for old, now in again)


def untrained(rng):
    """A pair with parts, of random weights."""
    base = replace(training.empty_component(7, 11), root=rng.normal(size=(7, 11, 32)).astype(np.float32))
    return training.mixture_of([add_parts(base, 3, rng)], mirrored=True)


def test_relabelling_keeps_the_old_place_if_the_search_misses_it(train, monkeypatch):
    mixture = untrained(np.random.default_rng(0))
    box = train.target(0)["boxes"][0].double().numpy()
    levels = training.levels_of(mixture, train.image(0))
    best = best_placement(mixture, levels, box)
    worse = replace(best, roots=best.roots + 1, parts=[parts + 2 for parts in best.parts])
    worse = replace(worse, scores=rescore(mixture, levels, worse))
    assert worse.scores[0] < best.scores[0]
    monkeypatch.setattr(training, "best_placement", lambda *args: worse)
    stale = replace(best, scores=best.scores - 100)  # what it scored with other weights does not count
    kept = training.relabelled(mixture, levels, box, stale)
    assert np.array_equal(kept.roots, best.roots) and kept.scores[0] == pytest.approx(best.scores[0], abs=1e-4)
    monkeypatch.setattr(training, "best_placement", lambda *args: best)
    assert np.array_equal(training.relabelled(mixture, levels, box, worse).roots, best.roots)
    monkeypatch.setattr(training, "best_placement", lambda *args: Placements.joined([]))
    assert len(training.relabelled(mixture, levels, box, None)) == 0


def test_the_cache_is_a_lower_bound_of_the_full_objective(train, monkeypatch):
    """The full sum by brute force: every place of every level of every picture."""

    def loss_in_cache(mixture, rows):
        problem = Problem(training.bases_of(mixture, mirrored=True), [], rows, 1.0)
        weights = np.concatenate([vector_of(one) for one in training.bases_of(mixture, mirrored=True)])
        return problem(weights)[0] - problem.without_negatives(weights)

    negatives = [train.image(i) for i in (1, 3, 5)]
    weak = untrained(np.random.default_rng(1))
    strict = replace(weak, components=tuple(replace(one, bias=one.bias - 12) for one in weak.components))
    for mixture in (weak, strict):
        order = np.array([2, 0, 1])
        found, loss, searched = training.mined(mixture, negatives, order, {}, mirrored=True, what="test")
        assert searched == 3 and len(found) < training.NEW_ROWS
        rows = list(found.values())
        full = 0.0
        for image in negatives:
            levels = training.levels_of(mixture, image)
            for level in range(mixture.interval, len(levels)):
                maps = [scores for scores, _, _ in score_maps(mixture, levels, level)]
                full += np.maximum(0, 1 + np.max(maps, axis=0).astype(np.float64)).sum()
        assert loss == pytest.approx(full, rel=1e-4)
        part = loss_in_cache(mixture, rows)
        assert 0 < part < full
    # with every place in the cache the bound is the sum itself; at other weights what was cached is a bound again
    monkeypatch.setattr(training, "HARDEST", 10**6)
    monkeypatch.setattr(training, "NEW_ROWS", 10**9)
    rows = list(training.mined(strict, negatives, order, {}, mirrored=True, what="test")[0].values())
    part = loss_in_cache(strict, rows)
    assert part == pytest.approx(full, rel=1e-4)
    other = training.mixture_of(
        [replace(one, root=one.root[:, ::-1].copy()) for one in training.bases_of(strict, mirrored=True)], mirrored=True
    )
    part, loss = loss_in_cache(other, rows), training.mined(other, negatives, order, {}, mirrored=True, what="test")[1]
    assert 0 < part < loss


def test_mining_takes_the_hardest_of_each_component_and_stops_when_it_has_enough(train, monkeypatch):
    bases = [training.bases_of(untrained(np.random.default_rng(k)), mirrored=True)[0] for k in (0, 1)]
    bases[1] = replace(bases[1], bias=-2.0)  # seldom the best
    mixture, negatives = training.mixture_of(bases, mirrored=True), [train.image(i) for i in (1, 3, 5, 7)]
    order = np.array([3, 1, 0, 2])
    rows, loss, searched = training.mined(mixture, negatives, order, {}, mirrored=True, what="test")
    assert searched == 4 and {(picture, k) for (_, picture, *_), _ in rows for k in (0, 1)} == {
        (row.example[1], row.component) for row in rows.values()
    }
    levels = training.levels_of(mixture, negatives[3])
    found = find_placements(mixture, levels, -1.0)
    for k in (0, 1):
        own = found[np.flatnonzero(found.component // 2 == k)][: training.HARDEST]
        wanted = {(0, 3, *place) for place in np.column_stack([own.level, own.roots]).tolist()}
        assert wanted == {row.example for row in rows.values() if row.example[1] == 3 and row.component == k}
    assert not training.mined(mixture, negatives, order, rows, mirrored=True, what="test")[0]  # nothing new
    monkeypatch.setattr(training, "NEW_ROWS", 25)
    some, less, searched = training.mined(mixture, negatives, order, {}, mirrored=True, what="test")
    assert searched == 2 and {row.example[1] for row in some.values()} == {3, 1} and less < loss


def test_the_cache_forgets_what_is_easy_and_keeps_the_hardest(monkeypatch):
    rows = [training._row((0, i), 0, np.zeros((3, 3, 32), np.float32)) for i in range(6)]
    cache = {(row.example, row.place): row for row in rows}
    scores = np.array([-3.0, -0.5, -1.02, 0.4, -1.2, -0.9])
    assert [key[0][1] for key in training.hardest(cache, scores)] == [3, 1, 5, 2]
    monkeypatch.setattr(training, "CACHE_BYTES", 2 * rows[0].features.nbytes)
    assert [key[0][1] for key in training.hardest(cache, scores)] == [3, 1]


# ------------------------------------------------------------------------------------------------------ the whole


def test_parts_find_what_a_rigid_root_misses(rigid, spied):
    test = Planted(40, jitter=12, seed=1, split="test")
    ap = [match(one.detect(test.pictures), test.targets, 1).average_precision() for one in (rigid, spied["detector"])]
    assert ap[0] < 0.7 and ap[1] > ap[0] + 0.1


def test_parts_go_where_the_shapes_went():
    """Trained from boxes alone, and yet the parts' places follow those of the shapes in pictures never seen."""
    detector = Dpm(parts=3, **SMALL).fit(Planted(40, jitter=12, seed=0, noise=30))
    test = Planted(60, jitter=12, seed=2, split="test", noise=30)
    mixture = detector._mixtures[1]
    component = mixture.components[0]
    rows, columns = component.root.shape[:2]
    of_part = []  # the shape nearest to each part
    for x, y in component.anchors:
        centre = np.array([(x + 3) / (2 * columns), (y + 3) / (2 * rows)])
        shapes = (np.array(PLACES) + SHAPE / 2) / BOX
        of_part.append(int(np.linalg.norm(shapes - centre, axis=1).argmin()))
    assert sorted(of_part) == [0, 1, 2]
    found, planted = [], []
    for i in range(0, len(test), 2):
        levels = training.levels_of(mixture, test.image(i))
        box = test.target(i)["boxes"][0].double().numpy()
        placement = best_placement(mixture, levels, box)
        wanted = 2 * placement.roots[0] - mixture.padding + component.anchors[:, ::-1]
        away = (placement.parts[0] - wanted)[:, ::-1]
        # the root may have moved as well: only how shapes moved against each other can be seen
        found.append((away - away.mean(axis=0)).ravel())
        moved = test.moved[i][of_part]
        planted.append((moved - moved.mean(axis=0)).ravel())
    assert np.corrcoef(np.ravel(found), np.ravel(planted))[0, 1] > 0.7


def test_mirrored_pictures_give_mirrored_detections():
    """A pair sees a mirrored picture as it sees the picture, if the cells of both lie on the same pixels."""
    rng = np.random.default_rng(7)
    base = replace(training.empty_component(4, 5), root=rng.normal(size=(4, 5, 32)).astype(np.float32))
    mixture = training.mixture_of([add_parts(base, 4, rng)], mirrored=True)
    image = rng.uniform(0, 255, (96, 128, 3)).astype(np.float32)
    maps = []
    for picture in (image, np.ascontiguousarray(image[:, ::-1])):
        levels = training.levels_of(mixture, picture)
        level = mixture.interval  # here nothing was scaled: 96 and 128 are so many cells
        maps.append([scores for scores, _, _ in score_maps(mixture, levels, level)])
    assert np.allclose(maps[0][0], maps[1][1][:, ::-1], atol=1e-3) and not np.allclose(*maps[0], atol=1e-1)
    assert np.allclose(maps[0][1], maps[1][0][:, ::-1], atol=1e-3)


def test_a_finished_model_can_learn_on(train, rigid):
    """`finished` leaves it with levels of detection, where places of training would mean something else."""
    start = rigid._mixtures[1]
    assert start.interval != training.INTERVAL
    positives = [
        training.cut_out(train.image(i), train.target(i)["boxes"][0].double().numpy()) for i in range(0, len(train), 2)
    ]
    negatives = [train.image(i) for i in range(1, len(train), 4)]
    how = {"mirrored": False, "C": 0.01, "minings": 1, "what": "test"}
    again = training.latent_training(start, positives, negatives, relabellings=2, **how)
    assert again.interval == training.INTERVAL
    plain = training.latent_training(
        replace(start, interval=training.INTERVAL), positives, negatives, relabellings=2, **how
    )
    assert np.array_equal(again.components[0].root, plain.components[0].root)


def test_threshold_and_box_predictors_come_from_the_positives(train):
    positives = [
        training.cut_out(train.image(i), train.target(i)["boxes"][0].double().numpy()) for i in range(0, len(train), 2)
    ]
    small = [one._replace(box=one.box + (4, 3, -4, -3)) for one in positives]  # the true box is smaller than a root
    negatives = [train.image(i) for i in range(1, len(train), 2)]
    rng = np.random.default_rng(8)
    mixture = training.rigid_roots(positives, negatives, aspects=1, mirrored=False, C=0.01, rng=rng)
    found = training.finished(mixture, small, interval=3, what="test")
    assert found.interval == 3 and found.components[0].box_predictor.shape == (3, 4)
    assert found.components[0].box_predictor[-1] == pytest.approx([4 / 88, 3 / 56, -4 / 88, -3 / 56], abs=0.04)
    scores = [
        best_placement(found, training.levels_of(found, one.image), one.box).scores
        for one in [*small, *map(training.mirror_image, small)]
    ]
    lowest = np.quantile(np.concatenate(scores), 0.05)
    assert found.threshold == pytest.approx(min(lowest, -1.0))
    strict = replace(mixture, components=tuple(replace(one, bias=one.bias - 3) for one in mixture.components))
    assert training.finished(strict, small, interval=3, what="test").threshold == pytest.approx(lowest - 3, abs=1e-4)
    tiny = [one._replace(box=np.array([0.0, 0, 9, 9])) for one in positives]
    with pytest.raises(DataError, match=r"no object of test overlaps a root by 0.7"):
        training.finished(mixture, tiny, interval=3, what="test")


def test_what_is_cut_out_holds_all_that_a_root_can_see():
    image = np.random.default_rng(9).integers(0, 255, (200, 300, 3), dtype=np.uint8)
    box = np.array([100.0, 60.0, 160.0, 120.0])
    part = training.cut_out(image, box)
    x1, y1, x2, y2 = part.box.astype(int)
    assert np.array_equal(part.image[y1:y2, x1:x2], image[60:120, 100:160])
    assert part.image.shape == (60 + 60 + 62, 60 + 2 * 62, 3)  # it ends where the picture does, above
    turned = training.mirror_image(part)
    tx1, _, tx2, _ = turned.box.astype(int)
    assert np.array_equal(turned.image[y1:y2, tx1:tx2], part.image[y1:y2, x1:x2][:, ::-1])
    corner = training.cut_out(image, np.array([0.0, 0.0, 60.0, 60.0]))
    assert corner.box.tolist() == [0, 0, 60, 60] and corner.image.shape == (122, 122, 3)


# --------------------------------------------------------------------------------------------------- the detector


def test_boxes_are_those_of_the_picture_not_of_the_enlarged_one(rigid, train):
    larger = Dpm(parts=0, **SMALL | {"enlarged": 2.0})
    larger.classes, larger.parameters = rigid.classes, rigid.parameters
    larger._restored()
    image = train.image(0)
    twice, factor = enlarge(image, 2.0)
    expected, found = rigid.detect(twice), larger.detect(image)
    assert len(found["boxes"]) and torch.allclose(found["boxes"] * factor, expected["boxes"], atol=1e-3)
    assert enlarge(image, 1.0)[0] is image


def test_save_and_load_give_equal_detections(spied, train, tmp_path):
    detector = spied["detector"]
    detector.save(tmp_path / "dpm.safetensors")
    again = Dpm.load(tmp_path / "dpm.safetensors", resume=True)
    assert again.config == detector.config and "resume" not in again.config
    for key, value in detector.detect(train.image(0)).items():
        assert torch.equal(again.detect(train.image(0))[key], value)


def test_what_cannot_be_learned_is_one_clear_error(train):
    with pytest.raises(DataError, match=r"dpm is to learn dragon; .*has thing. Name some of these in only="):
        Dpm(only=["dragon"]).fit(train)
    with pytest.raises(DataError, match=r"learn none of thing from .* needs 30 objects .* 2100 square pixels, and"):
        Dpm(aspects=15, **{k: v for k, v in SMALL.items() if k != "aspects"}).fit(Planted(2, jitter=0, seed=0))
    with pytest.raises(DataError, match=r"dpm wants aspects, interval and scanned >= 1"):
        Dpm(aspects=0)


def test_trainings_share_the_stages_that_are_equal(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path))
    data = Planted(10, jitter=4, seed=0, noise=30)
    made = []
    for parts, box_prediction in ((0, True), (1, True), (2, True), (2, False)):
        detector = Dpm(parts=parts, box_prediction=box_prediction, **SMALL | {"resume": True}).fit(data)
        made.append((len(list(tmp_path.glob("dpm/*.safetensors"))), len(detector.parameters["thing.0.anchors"])))
        assert ("thing.0.box_predictor" in detector.parameters) == box_prediction
    assert made == [(3, 0), (6, 1), (9, 2), (9, 2)]  # roots, mixture, boxes; then parts, their training, boxes
    anew = Dpm(parts=2, **SMALL).fit(data)
    again = Dpm(parts=2, **SMALL | {"resume": True}).fit(data)
    assert anew.parameters.keys() == again.parameters.keys()
    assert all(torch.equal(value, again.parameters[name]) for name, value in anew.parameters.items())


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from planted_parts import Planted
from course_utils.detectors.dpm import Dpm
Dpm(aspects=1, parts=2, enlarged=1.0, C=0.01).fit(Planted(10, jitter=8, seed=0)).save(sys.argv[1])
"""


def test_killed_and_resumed_training_gives_equal_bytes(tmp_path):
    code = [sys.executable, "-c", SCRIPT.format(tests=str(Path(__file__).parent))]
    environment = os.environ | {"COURSE_STATIC": "1", "OMP_NUM_THREADS": "1"}

    def run(name):
        return subprocess.Popen(
            [*code, str(tmp_path / f"{name}.bin")], env=environment | {"COURSE_STORE": str(tmp_path / name)}
        )

    assert run("whole").wait() == 0
    stages = len(list((tmp_path / "whole" / "dpm").glob("*.safetensors")))
    assert stages == 5
    killed = run("killed")
    while killed.poll() is None and not len(list((tmp_path / "killed").glob("dpm/*.safetensors"))) >= 2:
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL and not (tmp_path / "killed.bin").exists()
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed" / "dpm").glob("[!.]*.safetensors")}
    assert 2 <= len(kept) < stages
    assert run("killed").wait() == 0
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())  # not made again
    assert (tmp_path / "killed.bin").read_bytes() == (tmp_path / "whole.bin").read_bytes()
