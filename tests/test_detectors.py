"""The face that all detectors share, and the two trivial ones."""

import numpy as np
import pytest
import torch
from tiny_voc import tiny_voc

from course_utils.bundle import read_bundle, write_bundle
from course_utils.detectors import SYSTEMS, detector_class, load_detector
from course_utils.detectors.base import fit_or_recall
from course_utils.detectors.trivial import MeanBox, RandomBoxes
from course_utils.errors import CourseError, DataError
from course_utils.store import Store

TRIVIAL = [name for name, system in SYSTEMS.items() if system.where.startswith("course_utils.detectors.trivial:")]


@pytest.fixture
def data(tmp_path):
    return tiny_voc(tmp_path / "voc")


def same(first, second):
    return all(torch.equal(first[key], second[key]) for key in ("boxes", "labels", "scores"))


# ------------------------------------------------------------------------------------------------------- the face


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_table_leads_to_a_class_of_that_name(name):
    system = detector_class(name)
    assert system.system == name
    assert set(system().config) >= {"seed"}


@pytest.mark.parametrize("name", TRIVIAL)
def test_one_image_or_several_give_the_same_dictionaries(name, data):
    detector = detector_class(name)().fit(data)
    images = [data.image(i) for i in range(3)]
    together = detector.detect(images)
    assert len(together) == 3
    for image, found in zip(images, together):
        assert same(found, detector.detect(image))
        assert found["boxes"].dtype == torch.float32 and found["boxes"].shape == (len(found["labels"]), 4)
        assert found["labels"].dtype == torch.int64 and found["scores"].dtype == torch.float32
        assert (found["scores"].diff() <= 0).all()
        assert found["labels"].min() >= 1 and found["labels"].max() <= len(detector.classes)
    assert detector.detect([]) == []


@pytest.mark.parametrize("name", TRIVIAL)
def test_saved_and_loaded_it_finds_the_same(name, data, tmp_path):
    detector = detector_class(name)(seed=7).fit(data)
    detector.save(tmp_path / "d.safetensors")
    for again in (type(detector).load(tmp_path / "d.safetensors"), load_detector(tmp_path / "d.safetensors")):
        assert again.config == detector.config and again.classes == data.classes
        assert again.trained_on == {
            "data": "voc", "split": "train", "n_images": 12, "digest": data.digest,
            "images": list(data.image_hashes),
        }  # fmt: skip
        assert same(again.detect(data.image(1)), detector.detect(data.image(1)))


def test_a_file_of_another_system_or_none_is_refused(data, tmp_path):
    MeanBox().fit(data).save(tmp_path / "mean")
    with pytest.raises(DataError, match="holds a mean_box, not a random_boxes"):
        RandomBoxes.load(tmp_path / "mean")
    write_bundle(tmp_path / "other", {}, {"some": "thing"})
    with pytest.raises(DataError, match="no detector's file"):
        load_detector(tmp_path / "other")
    with pytest.raises(DataError, match="nowhere"):
        load_detector(tmp_path / "nowhere")
    content = bytearray((tmp_path / "mean").read_bytes())
    content[-3] ^= 1
    (tmp_path / "mean").write_bytes(content)
    with pytest.raises(DataError, match="mean"):
        load_detector(tmp_path / "mean")


def test_before_fit_nothing_works(data, tmp_path):
    with pytest.raises(CourseError, match=r"learned nothing yet: call fit\(dataset\), or load"):
        MeanBox().detect(data.image(0))
    with pytest.raises(CourseError, match="before save"):
        MeanBox().save(tmp_path / "x")


@pytest.mark.parametrize(
    "image",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((8, 8, 4), np.uint8), np.zeros((0, 8, 3), np.uint8)],
)
def test_what_is_no_image_is_refused(image, data):
    with pytest.raises(DataError, match=r"uint8 arrays \(H, W, 3\)"):
        MeanBox().fit(data).detect(image)


@pytest.mark.parametrize("no_image", ["photo.jpg", None, torch.zeros(8, 8, 3, dtype=torch.uint8)])
def test_what_is_no_array_is_refused(no_image, data):
    for given in (no_image, [no_image]):
        with pytest.raises(DataError, match=r"read_image\(path\) reads a file"):
            MeanBox().fit(data).detect(given)


def test_a_failed_fit_leaves_nothing_behind(data, tmp_path):
    detector = MeanBox().fit(data)
    look = data.target
    data.target = lambda i: {key: value[:0] for key, value in look(i).items()}
    with pytest.raises(DataError, match="nothing to learn from"):
        detector.fit(data)
    with pytest.raises(CourseError, match="learned nothing yet"):
        detector.detect(data.image(0))
    with pytest.raises(CourseError, match="learned nothing yet"):
        detector.save(tmp_path / "x")


def test_a_folder_is_no_place_for_a_file(data, tmp_path):
    with pytest.raises(DataError, match="is a folder"):
        MeanBox().fit(data).save(tmp_path)


def test_a_detector_that_makes_no_boxes_is_caught(data):
    class Inverted(MeanBox):
        def _detect(self, image):
            found = super()._detect(image)
            return found | {"boxes": found["boxes"].flip(1)}

    with pytest.raises(DataError, match="mean_box's boxes"):
        Inverted().fit(data).detect(data.image(0))


def test_nothing_to_learn_from_is_one_error(tmp_path):
    data = tiny_voc(tmp_path / "a", n=1)
    everything_difficult = data.target(0)
    everything_difficult["difficult"][:] = True
    data.target = lambda i: everything_difficult
    for name in TRIVIAL:
        with pytest.raises(DataError, match="nothing to learn from"):
            detector_class(name)().fit(data)
    data.ids = []
    with pytest.raises(DataError, match="no images to learn from"):
        MeanBox().fit(data)


def test_an_unknown_system_is_one_error_that_lists_the_names():
    with pytest.raises(CourseError, match=r"no system 'nean_box'.*mean_box.*random_boxes"):
        detector_class("nean_box")


def test_the_store_remembers_what_was_learned(data, tmp_path):
    store = Store(tmp_path / "store")
    first = fit_or_recall(RandomBoxes(seed=1), data, store)
    look, data.target = data.target, None  # whoever learns anew now, fails
    again = fit_or_recall(RandomBoxes(seed=1), data, store)
    assert same(first.detect(data.image(0)), again.detect(data.image(0)))
    assert again.trained_on == first.trained_on and again.classes == first.classes
    data.target = look
    fit_or_recall(RandomBoxes(seed=2), data, store)  # another seed
    fit_or_recall(RandomBoxes(n=5, seed=1), data, store)  # another configuration
    fit_or_recall(RandomBoxes(seed=1), tiny_voc(tmp_path / "b", seed=1), store)  # other data
    stored = list(store.entries("parameters"))
    fit_or_recall(RandomBoxes(seed=1), tiny_voc(tmp_path / "c"), store)  # the same under another name
    assert len(stored) == 4 and len(list(store.entries("parameters"))) == 5
    assert set(read_bundle(stored[0].path)[1]) == {"format", "system", "config", "classes", "trained_on"}


# ------------------------------------------------------------------------------------------------ the trivial ones


def test_mean_box_is_the_mean_box(data):
    detector = MeanBox().fit(data)
    boxes, pictures = {}, {}
    for i in range(len(data)):  # loops, and in pixels of a picture of 200 x 100
        height, width = data.image(i).shape[:2]
        target = data.target(i)
        for box, label, difficult in zip(target["boxes"].numpy(), target["labels"].tolist(), target["difficult"]):
            if not difficult:
                boxes.setdefault(label, []).append(box / [width, height, width, height] * [200, 100, 200, 100])
                pictures.setdefault(label, set()).add(i)
    found = detector.detect(np.zeros((100, 200, 3), np.uint8))
    assert sorted(found["labels"].tolist()) == sorted(boxes)
    for box, label, score in zip(found["boxes"].numpy(), found["labels"].tolist(), found["scores"].tolist()):
        assert box == pytest.approx(np.mean(boxes[label], axis=0), abs=1e-3)
        share = len(pictures[label]) / len(data)
        assert 0.99 * share <= score <= share


def test_mean_boxes_scores_do_not_tie(data):
    detector = MeanBox().fit(data)
    first, second = (detector.detect(data.image(i))["scores"] for i in (0, 1))
    assert not set(first.tolist()) & set(second.tolist())
    assert torch.equal(first, detector.detect(data.image(0))["scores"])


def test_mean_box_leaves_out_a_class_that_it_never_saw(tmp_path):
    data = tiny_voc(tmp_path / "voc", n=6, classes=("cat", "dog"))
    data.classes = ("cat", "dog", "yeti")
    found = MeanBox().fit(data).detect(data.image(0))
    assert sorted(found["labels"].tolist()) == [1, 2]


def test_random_boxes_stay_inside_and_follow_the_frequencies(data):
    detector = RandomBoxes(n=4000).fit(data)
    found = detector.detect(np.zeros((30, 90, 3), np.uint8))
    boxes = found["boxes"]
    assert len(boxes) == 4000
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2] <= 90).all() and (boxes[:, 3] <= 30).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
    # the smaller of two uniform numbers is a third of the way on average, the larger two thirds
    assert boxes.mean(0).numpy() == pytest.approx([89 / 3, 29 / 3, 89 * 2 / 3 + 1, 29 * 2 / 3 + 1], rel=0.03)
    labels = torch.cat([data.target(i)["labels"][~data.target(i)["difficult"]] for i in range(len(data))])
    wanted = torch.bincount(labels, minlength=4)[1:] / len(labels)
    assert torch.bincount(found["labels"], minlength=4)[1:].numpy() / 4000 == pytest.approx(wanted.numpy(), abs=0.03)
    assert found["scores"].min() >= 0 and found["scores"].max() <= 1


def test_random_boxes_depend_on_seed_and_picture_and_nothing_else(data):
    first, second = data.image(0), data.image(1)
    detector = RandomBoxes(seed=1).fit(data)
    alone = detector.detect(first)
    detector.detect(second)
    assert same(alone, detector.detect(first))
    assert not torch.equal(alone["boxes"], RandomBoxes(seed=2).fit(data).detect(first)["boxes"])
    changed = first.copy()
    changed[0, 0, 0] ^= 1
    assert not torch.equal(alone["boxes"], detector.detect(changed)["boxes"])


def test_random_boxes_want_a_number_of_boxes():
    with pytest.raises(DataError, match="at least one box"):
        RandomBoxes(n=0)
