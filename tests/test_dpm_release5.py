"""The authors' files: a small one made here, the six of the shared data, and damaged ones."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from release5_file import ANCHORS, cell, small_model, write_model
from scipy.io import loadmat, savemat

from course_utils.datasets import open_dataset
from course_utils.dpm.inference import best_placement, find_placements
from course_utils.dpm.model import Mixture
from course_utils.dpm.release5 import read_release5
from course_utils.errors import DataError
from course_utils.fhog import FLIP, FeatureLevel, feature_pyramid

FILES = {"bicycle": 6, "car": 6, "cow": 6, "horse": 6, "inriaperson": 2, "person": 6}  # components


@pytest.fixture
def small(tmp_path):
    return write_model(tmp_path / "cat_final.mat", small_model())


# ------------------------------------------------------------------------------------------------------------ reading


def test_a_small_file_number_by_number(small):
    raw = small_model()
    name, mixture = read_release5(small)
    assert (name, mixture.threshold, mixture.interval, len(mixture.components)) == ("cat", -0.8, 10, 2)
    one, mirrored = mixture.components
    w = raw["blocks"][0]["w"]
    for y, x, c in [(0, 0, 0), (2, 0, 0), (0, 3, 0), (1, 2, 5), (2, 3, 31)]:
        assert one.root[y, x, c] == np.float32(w[y + 3 * x + 12 * c])  # rows run fastest, as in MATLAB
    assert one.parts[1, 2, 0, 7] == np.float32(raw["blocks"][2]["w"][2 + 9 * 7])
    assert one.anchors.tolist() == [[2, 1], [4, 0]]
    dx2, dx, dy2, dy = raw["blocks"][4]["w"]  # of the anchor minus the part; ours is the other way round
    np.testing.assert_allclose(one.deformations[1], [-dx, -dy, dx2, dy2], rtol=1e-6)
    np.testing.assert_allclose(mirrored.deformations[1], [dx, -dy, dx2, dy2], rtol=1e-6)
    assert mirrored.root[1, 0].tolist() == one.root[1, 3][FLIP].tolist()
    assert mirrored.anchors.tolist() == [[8 - 3 - 2, 1], [8 - 3 - 4, 0]]
    assert one.bias == pytest.approx(-4)
    np.testing.assert_allclose(one.level_bias, [-0.1, 0.25, 0.25])  # the first of three is for the octave of parts
    np.testing.assert_allclose(one.box_predictor[:, 2], raw["bboxpred"][0]["x2"], rtol=1e-6)
    np.testing.assert_allclose(mirrored.box_predictor[:, 1], raw["bboxpred"][1]["y1"], rtol=1e-6)
    for name, value in vars(one.mirrored()).items():
        if name != "box_predictor":
            assert np.array_equal(value, getattr(mirrored, name)), name


def test_variants_that_files_have(tmp_path):
    model = small_model()
    del model["bboxpred"]
    model["class"], model["features"]["extra_octave"] = "inriaperson", 1
    name, mixture = read_release5(write_model(tmp_path / "m.mat", model))
    assert name == "person" and all(one.box_predictor is None for one in mixture.components)
    np.testing.assert_allclose(mixture.components[0].level_bias, [0.25, 0.25, 0.25])

    model = small_model()
    rule = model["rules"][0][0]  # one component, and no parts
    rule["rhs"], rule["anchor"] = rule["rhs"][:1], cell([np.array(ANCHORS[0])])
    model["rules"][0] = rule
    del model["bboxpred"]
    (one,) = read_release5(write_model(tmp_path / "m.mat", model))[1].components
    assert one.root.shape == (3, 4, 32) and len(one.parts) == len(one.anchors) == len(one.deformations) == 0


def release5_score(model, rule, level, features, fine, root, parts, padding):
    """What the authors' code gives to a placement, straight from their numbers; places are (row, column)."""
    blocks, (y, x) = model.blocks, root
    bias = blocks[rule.offset.blocklabel - 1].w * model.features.bias
    score = bias + np.ravel(blocks[rule.loc.blocklabel - 1].w)[min(level // model.interval, 2)]
    for i, symbol in enumerate(rule.rhs):
        spring = model.rules[symbol - 1]
        terminal = model.symbols[spring.rhs - 1]
        filter = model.filters[terminal.filter - 1]
        block = blocks[filter.blocklabel - 1]
        h, w, _ = (int(side) for side in block.shape)
        top, left = root if i == 0 else parts[i - 1]
        window = (features if i == 0 else fine)[top : top + h, left : left + w].astype(np.float64)
        if filter.flip:
            window = window[:, ::-1][:, :, FLIP]
        score += block.w @ window.ravel(order="F")
        if i:
            ax, ay, _ = (int(value) for value in rule.anchor[i])
            dy, dx = 2 * y - padding[0] + ay - top, 2 * x - padding[1] + ax - left  # anchor minus part
            deformation = getattr(spring, "def")
            feature = np.array([dx**2, -dx if deformation.flip else dx, dy**2, dy])
            score -= blocks[deformation.blocklabel - 1].w @ feature
    return score


@pytest.mark.parametrize("name", FILES)
def test_scores_are_those_of_the_authors_formula(name, shared):
    path = shared / "data" / "dpm_voc_release5" / f"{name}_final.mat"
    label, mixture = read_release5(path)
    model = loadmat(path, squeeze_me=True, struct_as_record=False)["model"]
    assert label == name.removeprefix("inria") and len(mixture.components) == FILES[name]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    coarse, fine = (rng.uniform(0, 0.3, (side, side, 32)).astype(np.float32) for side in (50, 70))
    levels = [FeatureLevel(fine, (4.0, 4.0))] * 10 + [FeatureLevel(coarse, (8.0, 8.0))] * 4
    level = 13  # in the first octave of roots
    seen = set()
    found = find_placements(mixture, levels, -1e5)
    for i in np.flatnonzero(found.level == level)[::40]:
        k = found.component[i]
        rule = np.atleast_1d(model.rules[0])[k]
        extra = model.features.extra_octave * model.interval
        wanted = release5_score(
            model, rule, level + extra, coarse, fine, found.roots[i], found.parts[i], mixture.padding
        )
        assert found.scores[i] == pytest.approx(wanted, abs=2e-3)
        seen.add(k)
    assert len(seen) > 1
    for one, other in zip(mixture.components[::2], mixture.components[1::2], strict=True):
        for field in ("root", "parts", "anchors", "deformations", "bias"):
            assert np.array_equal(getattr(one.mirrored(), field), getattr(other, field)), field


# ---------------------------------------------------------------------------------------------------------- bad files


def rules(model):
    return model["rules"]


BAD = {
    "class is missing": lambda m: m.pop("class"),
    "model.class should be a name": lambda m: m.update({"class": 3}),
    "blocks is missing": lambda m: m.pop("blocks"),
    "model.thresh should hold finite numbers": lambda m: m.update(thresh=np.nan),
    "model.thresh should hold 1 number, not 2": lambda m: m.update(thresh=np.zeros(2)),
    "model.interval should be a whole number from 1, not 2.5": lambda m: m.update(interval=2.5),
    "model.interval should be a whole number from 1, not 0": lambda m: m.update(interval=0),
    "model.features.sbin should be 8": lambda m: m["features"].update(sbin=4),
    "model.features.dim should be 32": lambda m: m["features"].update(dim=31),
    "model.features.bias is missing": lambda m: m["features"].pop("bias"),
    "model.features should be a struct": lambda m: m.update(features=1),
    "model.start should be a whole number from 1 to 13, not 99": lambda m: m.update(start=99),
    "the start symbol should have a rule": lambda m: m.update(start=2),
    "a symbol of a component should be a whole number from 1 to 13, not 0": lambda m: rules(m)[0][0].update(
        rhs=np.array([0, 5, 7])
    ),
    "rule of symbol 2 should be a struct": lambda m: rules(m)[0][0].update(rhs=np.array([2, 5, 7])),
    "has 2 symbols and 3 anchors": lambda m: rules(m)[0][0].update(rhs=np.array([3, 5])),
    "rule 2 of the start.offset is missing": lambda m: rules(m)[0][1].pop("offset"),
    "an anchor of rule 1 of the start should hold 3 numbers, not 2": lambda m: rules(m)[0][0].update(
        anchor=cell([np.zeros(3), np.zeros(2), np.zeros(3)])
    ),
    "parts one octave finer": lambda m: rules(m)[0][0].update(
        anchor=cell([np.zeros(3), np.array([2, 1, 0]), np.array([2, 1, 1])])
    ),
    "should be of one size": lambda m: m["blocks"][1].update(shape=np.array([1, 9, 32])),
    "block 1.w should hold 384 numbers, not 383": lambda m: m["blocks"][0].update(w=np.zeros(383)),
    "32 channels, not (3, 4, 31)": lambda m: m["blocks"][0].update(w=np.zeros(372), shape=np.array([3, 4, 31])),
    "32 channels, not (0, 4, 32)": lambda m: m["blocks"][0].update(shape=np.array([0, 4, 32])),
    "block 1.shape should hold finite numbers": lambda m: m["blocks"][0].update(shape="abc"),
    "block 4.w should hold 4 numbers, not 3": lambda m: m["blocks"][3].update(w=np.ones(3)),
    "weights of dx^2 and dy^2 have to be positive": lambda m: m["blocks"][3].update(w=np.array([0, 1, 1, 1])),
    "block 7.w should hold 3 numbers, not 2": lambda m: m["blocks"][6].update(w=np.ones(2)),
    "block 6.w should hold finite numbers": lambda m: m["blocks"][5].update(w=np.inf),
    "blocklabel should be a whole number from 1 to 8, not 9": lambda m: m["filters"][4].update(blocklabel=9),
    "model.bboxpred should be a whole number from 1 to 1, not 2": lambda m: m.update(bboxpred=m["bboxpred"][0]),
    "model.bboxpred(1).x2 is missing": lambda m: m["bboxpred"][0].pop("x2"),
    "model.bboxpred(2).y1 should hold 7 numbers, not 19": lambda m: m["bboxpred"][1].update(y1=np.zeros(19)),
}


@pytest.mark.parametrize("message", BAD)
def test_a_file_with_something_wrong_in_it_is_one_clear_error(message, tmp_path):
    model = small_model()
    BAD[message](model)
    path = write_model(tmp_path / "odd.mat", model)
    with pytest.raises(DataError) as error:
        read_release5(path)
    assert str(path) in str(error.value) and message in str(error.value)


def test_files_of_another_kind(tmp_path, small):
    with pytest.raises(DataError, match=r"nothing\.mat is not there"):
        read_release5(tmp_path / "nothing.mat")
    with pytest.raises(DataError, match="is not there"):
        read_release5(tmp_path)
    savemat(tmp_path / "other.mat", {"something": np.zeros(3)}, do_compression=True)
    with pytest.raises(DataError, match=r"other\.mat .*model should be a struct"):
        read_release5(tmp_path / "other.mat")
    savemat(tmp_path / "numbers.mat", {"model": np.zeros(3)}, do_compression=True)
    with pytest.raises(DataError, match="model should be a struct"):
        read_release5(tmp_path / "numbers.mat")
    for content in (b"", b"not a MATLAB file at all" * 20, b"MATLAB 5.0 MAT-file" + bytes(500)):
        (tmp_path / "text.mat").write_bytes(content)
        with pytest.raises(DataError, match=r"text\.mat"):
            read_release5(tmp_path / "text.mat")
    savemat(tmp_path / "plain.mat", {"model": small_model()})
    with pytest.raises(DataError, match=r"plain\.mat .*-v7.*not compressed"):
        read_release5(tmp_path / "plain.mat")


def test_truncated_files(tmp_path, small):
    content = small.read_bytes()
    for length in [*range(1, 130, 16), *range(130, len(content), len(content) // 30)]:
        (tmp_path / "short.mat").write_bytes(content[:length])
        with pytest.raises(DataError, match=r"short\.mat"):
            read_release5(tmp_path / "short.mat")


def test_damage_anywhere_is_seen(tmp_path, small):
    """Without compression scipy would crash on some of these."""
    content, rng = small.read_bytes(), np.random.default_rng(0)
    for place in [126, 130, *rng.integers(128, len(content), 100)]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "damaged.mat").write_bytes(damaged)
        with pytest.raises(DataError, match=r"damaged\.mat"):
            read_release5(tmp_path / "damaged.mat")


# ---------------------------------------------------------------------------------------------------------- alignment


@pytest.fixture(scope="module")
def people(shared):
    """The authors' person model, and ten photographs as pyramids with boxes of whole persons at least 64 px high."""
    mixture = read_release5(shared / "data" / "dpm_voc_release5" / "person_final.mat")[1]
    dataset = open_dataset(str(shared / "data" / "voc2012_animals_train"), "holdout")
    person, out = dataset.classes.index("person") + 1, []
    for i in range(len(dataset)):
        target = dataset.target(i)
        sure = (target["labels"] == person) & ~target["difficult"] & ~target["truncated"]
        boxes = [box for box in target["boxes"][sure] if box[3] - box[1] >= 64]
        if boxes and len(out) < 10:
            out.append((feature_pyramid(dataset.image(i), interval=mixture.interval, pad=mixture.padding), boxes))
    assert len(out) == 10
    return mixture, out


def mean_score(mixture, people, change):
    changed = Mixture(tuple(change(one) for one in mixture.components), mixture.threshold, mixture.interval)
    placements = [best_placement(changed, levels, box) for levels, boxes in people for box in boxes]
    assert all(len(one) for one in placements)
    return np.mean([one.scores[0] for one in placements])


def test_true_persons_score_less_if_anchors_or_springs_are_a_little_wrong(people):
    mixture, photographs = people
    right = mean_score(mixture, photographs, lambda one: one)
    for shift in ([1, 0], [-1, 0], [0, 1], [0, -1]):
        moved = mean_score(mixture, photographs, lambda one, shift=shift: replace(one, anchors=one.anchors + shift))
        assert moved < right - 0.01
    sign = np.array([-1, -1, 1, 1], np.float32)
    assert mean_score(mixture, photographs, lambda one: replace(one, deformations=one.deformations * sign)) < right
    order = [1, 0, 3, 2]
    assert mean_score(mixture, photographs, lambda one: replace(one, deformations=one.deformations[:, order])) < right
    nothing = lambda one: replace(one, parts=np.zeros_like(one.parts))  # noqa: E731
    assert mean_score(mixture, photographs, nothing) < right - 1  # the parts do most of the work
