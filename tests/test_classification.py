"""The stand-in as a system: pictures and labels, training, measuring, commands, and the parameters that ship."""

import json
import math

import numpy as np
import pytest
import torch
from tiny_voc import tiny_voc, write_tiny_voc

from course_utils import classification, cli
from course_utils.bundle import read_info
from course_utils.classification import Classified, Classifier, evaluate, varied
from course_utils.datasets import open_dataset
from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.single import largest_object
from course_utils.datasets.toyvoc import NET_CLASSES, Recipe, draw
from course_utils.detectors import SYSTEMS, load_detector
from course_utils.detectors.base import fit_or_recall
from course_utils.errors import CourseError, DataError
from course_utils.localization.data import examples
from course_utils.networks import open_backbone
from course_utils.networks.backbone import normalized, resized
from course_utils.paths import repo_root

SHIPPED = repo_root() / "data" / "parameters" / "standin.safetensors"


class Scenes(Dataset):
    """Some scenes of ToyNet, drawn in memory."""

    def __init__(self, split, numbers, classes=NET_CLASSES, difficulty=1.0):
        recipe = Recipe("toynet", classes=classes, difficulty=difficulty)
        super().__init__("toynet", split, recipe.classes, [f"{split}_{i:06d}" for i in numbers])
        self.scenes = [draw(recipe, image_id) for image_id in self.ids]

    def image(self, i):
        return self.scenes[i].image

    def target(self, i):
        scene = self.scenes[i]
        return make_target(scene.boxes, scene.labels, difficult=scene.difficult)


class Squares(Dataset):
    """A bright or a dark square anywhere on grey noise: learned in seconds."""

    def __init__(self, n, seed):
        super().__init__("squares", str(seed), ("bright", "dark"), [str(i) for i in range(n)])
        self.seed = seed

    def _place(self, i):
        rng = np.random.default_rng([self.seed, i])
        return rng, rng.integers(0, 2), *rng.integers(10, 70, 2)

    def image(self, i):
        rng, label, x, y = self._place(i)
        image = rng.integers(90, 160, (128, 128, 3), dtype=np.uint8)
        image[y : y + 50, x : x + 50] = 10 if label else 245
        return image

    def target(self, i):
        _, label, x, y = self._place(i)
        return make_target([(x, y, x + 50, y + 50)], [label + 1])


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "store"))


# --------------------------------------------------------------------------------------------- pictures and labels


def test_the_largest_object_that_is_not_difficult_counts():
    boxes = [(0, 0, 10, 10), (0, 0, 20, 30), (5, 5, 45, 20), (0, 0, 90, 90)]
    target = make_target(boxes, [1, 2, 3, 4], difficult=[False, False, False, True])
    areas = [w * h for w, h in ((10, 10), (20, 30), (40, 15))]
    assert areas[1] == areas[2] and largest_object(target) == 1
    assert largest_object(make_target(boxes[:1], [1], difficult=[True])) is None
    assert largest_object(make_target([], [])) is None


def test_pictures_boxes_and_labels_belong_together(tmp_path):
    data = tiny_voc(tmp_path / "voc")
    found = examples(data, 64)
    pixels, boxes, labels = found.pixels, found.boxes, found.labels
    place = 0
    for i in range(len(data)):
        image, target = data[i]
        sure = [k for k in range(len(target["labels"])) if not target["difficult"][k]]
        if not sure:
            continue
        k = max(sure, key=lambda k: float((target["boxes"][k][2:] - target["boxes"][k][:2]).prod()))
        height, width = image.shape[:2]
        assert labels[place] == target["labels"][k]
        torch.testing.assert_close(boxes[place] * torch.tensor([width, height, width, height]), target["boxes"][k])
        assert torch.equal(pixels[place], resized([image], 64)[0])
        place += 1
    assert place == len(labels) == len(pixels) == len(boxes)


def test_what_training_sees_holds_the_object():
    n, rng = 400, np.random.default_rng(0)
    corner, size = rng.uniform(0, 0.5, (n, 2)), rng.uniform(0.1, 0.5, (n, 2))
    boxes = torch.from_numpy(np.concatenate([corner, corner + size], axis=1).astype(np.float32))
    pixels = torch.zeros(n, 3, 64, 64, dtype=torch.uint8)
    for picture, (x1, y1, x2, y2) in zip(pixels, (boxes * 64).round().int().tolist()):
        picture[:, y1:y2, x1:x2] = 255
    seen = varied(pixels, boxes, rng)
    assert seen.shape == (n, 3, 96, 96) and seen.dtype == torch.float32
    middle = seen.mean(1) > seen.mean((1, 2, 3))[:, None, None]
    share = middle.double().mean((1, 2))
    before = (pixels[:, 0] > 0).double().mean((1, 2))
    # nothing of an object is lost, but for the border: what is shown is part of the picture, so its share grows
    assert (share > 0.75 * before).double().mean() > 0.95
    assert share.mean() > 1.3 * before.mean()


def test_variation_moves_mirrors_and_recolours(monkeypatch):
    pixels = torch.arange(64, dtype=torch.uint8).repeat(3, 64, 1)[None] * 3
    box = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    for name, value in {"SEEN": 64, "TIGHT": 1.0, "WIDE": 1.0, "SHAPE": 0.0, "COLOUR": 0.0, "BRIGHTNESS": 0.0}.items():
        monkeypatch.setattr(classification, name, value)
    plain, mirrored = normalized(pixels)[0], normalized(pixels)[0].flip(2)
    seen = [varied(pixels, box, np.random.default_rng(seed))[0] for seed in range(20)]
    same = [torch.allclose(x, plain, atol=1e-4) for x in seen]
    assert 2 < sum(same) < 18
    assert all(torch.allclose(x, plain if own else mirrored, atol=1e-4) for x, own in zip(seen, same))
    monkeypatch.undo()
    first, second = (varied(pixels, box, np.random.default_rng(seed)) for seed in (1, 2))
    assert not torch.allclose(first, second)
    assert torch.equal(first, varied(pixels, box, np.random.default_rng(1)))


# --------------------------------------------------------------------------------------------------------- training


def test_it_learns_and_comes_back_from_its_file(tmp_path):
    train, held_out = Squares(96, 1), Squares(60, 2)
    classifier = Classifier(epochs=6, batch=16, resume=False).fit(train)
    found = evaluate(classifier, held_out)
    assert found.metrics["accuracy"] > 0.9
    assert found.info["learned_from_too"] == 0 and evaluate(classifier, train).info["learned_from_too"] == 96
    classifier.save(tmp_path / "c.safetensors")
    again = load_detector(tmp_path / "c.safetensors")
    images = [held_out.image(i) for i in range(5)]
    assert torch.equal(again.classify(images), classifier.classify(images))
    backbone = open_backbone(tmp_path / "c.safetensors")
    with torch.no_grad():
        scores = backbone(backbone.preprocess(images)).softmax(1)
    torch.testing.assert_close(scores, classifier.classify(images))
    assert backbone.classes == ("bright", "dark")


def test_images_in_and_probabilities_out():
    classifier = Classifier(epochs=1, batch=8, resume=False).fit(Squares(8, 1))
    image = Squares(1, 5).image(0)
    assert classifier.classify(image).shape == (2,) and classifier.classify([]).shape == (0, 2)
    assert classifier.classify([image, image[:70]]).sum(1).tolist() == pytest.approx([1, 1])
    for wrong in (torch.zeros(3, 8, 8), image / 255, image[..., 0], [image, "x"]):
        with pytest.raises(DataError, match=r"classify\(\) wants"):
            classifier.classify(wrong)
    with pytest.raises(CourseError, match="learned nothing yet"):
        Classifier().classify(image)


def test_the_same_seed_learns_the_same_and_an_interruption_changes_nothing(monkeypatch):
    data = Squares(24, 1)
    how = {"epochs": 3, "batch": 8}
    first = Classifier(**how, resume=False).fit(data)
    monkeypatch.setattr("course_utils.training.KEEP_EVERY", 0.0)
    calls = []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 8:  # in the third epoch
            raise KeyboardInterrupt
        return varied(*args)

    monkeypatch.setattr(classification, "learning_key", lambda *a: "k")  # the planted function has another hash
    monkeypatch.setattr(classification, "varied", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Classifier(**how).fit(data)
    monkeypatch.setattr(classification, "varied", varied)
    second, third = Classifier(**how).fit(data), Classifier(**how, seed=1, resume=False).fit(data)
    assert all(torch.equal(first.parameters[name], second.parameters[name]) for name in first.parameters)
    assert not torch.equal(first.parameters["fc8.weight"], third.parameters["fc8.weight"])


def test_settings_that_make_no_sense_are_told():
    with pytest.raises(DataError, match="standin wants epochs"):
        Classifier(epochs=0)
    with pytest.raises(CourseError, match="no device 'tpu9'"):
        Classifier(device="tpu9")
    assert SYSTEMS["standin"].task == "classification" and "device" not in Classifier().config


# -------------------------------------------------------------------------------------------------------- measuring


def classified(right, n, n_classes=6):
    """The first ``right`` of ``n`` pictures right, the others with the truth in last place."""
    labels = torch.arange(n) % n_classes + 1
    probabilities = torch.full((n, n_classes), 0.1)
    for i, label in enumerate(labels.tolist()):
        probabilities[i, label - 1] = 0.9 if i < right else 0.01
    info = {"classes": list("abcdefgh"[:n_classes]), "label": "x", "data": {"name": "d", "split": "s"}}
    return Classified(info | {"learned_from_too": 2}, probabilities, labels, torch.full((n,), 0.01))


def test_accuracy_and_its_interval_by_hand():
    found = classified(30, 40).metrics
    assert found["accuracy"] == 0.75 and found["top5"] == 0.75
    p, n, z = 0.75, 40, 1.959964
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert found["accuracy_interval"] == pytest.approx([centre - half, centre + half], abs=1e-6)
    assert found["n"] == {"a": 7, "b": 7, "c": 7, "d": 7, "e": 6, "f": 6}
    assert found["accuracy_of"]["a"] == pytest.approx(5 / 7)
    assert classified(0, 12, n_classes=5).metrics["top5"] == 1
    text = str(classified(30, 40))
    assert "accuracy 0.750" in text and "trained on 2 of these" in text


def test_other_data_is_measured_by_the_names_of_the_classes(tmp_path):
    classifier = Classifier(epochs=1, batch=8, resume=False).fit(Squares(8, 1))
    with pytest.raises(DataError, match="knows bright, dark, and no picture"):
        evaluate(classifier, tiny_voc(tmp_path / "voc"))

    class Turned(Squares):
        """The same classes under other numbers, and one more."""

        def __init__(self):
            super().__init__(9, 4)
            self.classes = ("other", "dark", "bright")

        def target(self, i):
            target = super().target(i)
            target["labels"] = 4 - target["labels"] if i else torch.tensor([1])
            return target

    found, plain = evaluate(classifier, Turned()), evaluate(classifier, Squares(9, 4))
    assert torch.equal(found.labels, plain.labels[1:])
    assert torch.equal(found.probabilities, plain.probabilities[1:])


# --------------------------------------------------------------------------------------------------------- commands


def test_train_and_evaluate_from_the_command_line(tmp_path, capsys):
    write_tiny_voc(tmp_path / "voc", {"train": 12, "test": 6})
    out, data = tmp_path / "standin.safetensors", str(tmp_path / "voc")
    assert cli.main(["train", "standin", "--data", data, "--epochs", "1", "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["task"] == "classification" and read_info(out)["config"]["epochs"] == 1
    assert cli.main(["evaluate", "standin", "--data", data, "--parameters", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    low, high = told["metrics"]["accuracy_interval"]
    assert told["task"] == "classification" and low <= told["metrics"]["accuracy"] <= high
    assert cli.main(["evaluate", "standin", "--data", data, "--parameters", str(out)]) == 0
    assert "guessing would have" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, told",
    [
        (["train", "hog_svm", "--epochs", "3"], "hog_svm has no setting 'epochs'; leave out --epochs"),
        (["train", "mean_box", "--device", "cuda"], "mean_box has no setting 'device'"),
        (["train", "mean_box", "--no-resume"], "mean_box has no setting 'resume'"),
        (["train", "standin", "--device", "nowhere"], "no device 'nowhere'"),
        (["evaluate", "hog_svm", "--device", "cpu"], "hog_svm has no setting 'device'"),
        (["detect", "standin", "photo.jpg"], "standin finds no boxes; its task is classification"),
    ],
)
def test_options_that_a_system_does_not_have_are_one_error(arguments, told, capsys, tmp_path):
    if arguments[0] != "detect":
        write_tiny_voc(tmp_path / "voc", {"train": 12, "test": 6})
        arguments = [*arguments, "--data", str(tmp_path / "voc")]
    assert cli.main(arguments) == 2
    assert told in capsys.readouterr().err


# ------------------------------------------------------------------------------------- on ToyNet, and what ships


def test_a_short_training_on_toynet_beats_chance():
    classes = ("dice", "rocket", "snowman", "umbrella")
    train = Scenes("train", range(160), classes, difficulty=0.3)
    held_out = Scenes("val", range(60), classes, difficulty=0.3)
    classifier = fit_or_recall(Classifier(epochs=30, batch=16), train)
    low, _ = evaluate(classifier, held_out).metrics["accuracy_interval"]
    assert low > 1 / 4


def card(line):
    """A figure of the stand-in's card in data/README.md."""
    text = (repo_root() / "data" / "README.md").read_text()
    [row] = [row for row in text.splitlines() if row.startswith(f"| {line} |")]
    return row.split("|")[2].strip()


def test_the_shipped_file_is_as_accurate_as_its_card_says():
    classifier, scenes = Classifier.load(SHIPPED), Scenes("val", range(72))
    found = evaluate(classifier, scenes)
    low, high = found.metrics["accuracy_interval"]
    stated = float(card("held-out accuracy").split()[0])
    assert low <= stated <= high


def test_the_card_tells_of_the_file_that_ships():
    import hashlib

    info = read_info(SHIPPED)
    assert card("SHA-256").strip("`") == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert SHIPPED.stat().st_size < 6e6
    assert info["classes"] == list(NET_CLASSES) and info["config"] == Classifier().config
    assert info["trained_on"]["data"] == "toynet" and info["trained_on"]["n_images"] == 4800
    assert card("command").strip("`").startswith("course train standin")
    assert open_backbone().classes == NET_CLASSES


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_no_picture_of_toyvoc_is_among_those_it_learned_from(split):
    hashes = set(open_dataset("toyvoc", split).image_hashes)
    assert not hashes & set(read_info(SHIPPED)["trained_on"]["images"])
