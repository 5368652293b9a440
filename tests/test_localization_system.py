"""The system `localization`: learns, detects one box, saves and loads, goes on where it was stopped, is measured."""

import numpy as np
import pytest
import torch
from test_localization import Rectangles

from course_utils.datasets.base import make_target
from course_utils.datasets.single import LargestObject
from course_utils.detectors.base import learning_key
from course_utils.detectors.localization import Localization
from course_utils.errors import CourseError
from course_utils.experiments import localization_photographs as photographs
from course_utils.experiments.localization import AtOnce, SolvedLocalization, details, systems
from course_utils.localization import NAMES, examples, proper, to_pixels
from course_utils.localization.evaluation import evaluate
from course_utils.metrics import paired_bootstrap
from course_utils.networks import open_backbone
from course_utils.networks.backbone import normalized, resized
from course_utils.results import Row
from course_utils.store import Store

ONE = {"most": 1, "size": (128, 128)}


@pytest.fixture(scope="module")
def solved():
    return SolvedLocalization(stage="conv3", random=True).fit(Rectangles(60, **ONE))


def test_it_finds_new_rectangles_better_than_the_mean_box(solved, tmp_path):
    found = evaluate(solved, Rectangles(40, seed=1, **ONE), store=Store(tmp_path))
    assert list(found.metrics) == list(NAMES)
    box, label = found.metrics["box"], found.metrics["label"]
    assert box["gained"][0] == pytest.approx(box["share"] - box["mean_box"])
    assert box["gained"][1] > 0
    assert label["share"] > 0.9
    assert found.metrics["both"]["share"] <= min(box["share"], label["share"]) + 1e-9
    assert "box, the class given" in str(found)
    (one,) = details([found.row])
    assert one["box"][0] == box["share"]
    assert one["box"][1:] == box["interval"]


def test_one_box_per_picture_inside_it(solved):
    solved.guesses = 1
    for size in ((60, 200), (128, 128)):
        image = Rectangles(2, most=1, size=size, seed=3).image(0)
        found = solved.detect(image)
        assert found["boxes"].shape == (1, 4)
        assert found["boxes"].min() >= 0
        assert found["boxes"][0, 2] <= size[1]
        assert found["boxes"][0, 3] <= size[0]


def test_guesses_are_the_likeliest_classes_each_with_its_own_box():
    system = Localization(random=True, specific=True, hidden=0, epochs=1, guesses=2, stage="conv2")
    system.fit(Rectangles(16, **ONE))
    image = Rectangles(3, seed=5, **ONE).image(0)
    found = system.detect(image)
    with torch.no_grad():
        boxes, scores = system.model(normalized(resized([image], 128)))
    order = scores[0].argsort(descending=True)
    assert found["labels"].tolist() == (order + 1).tolist()
    assert torch.allclose(found["boxes"], to_pixels(proper(boxes[0][order]), torch.tensor([128, 128])))
    assert torch.allclose(found["scores"], scores[0].softmax(0)[order])


def test_saved_and_loaded_it_says_the_same(solved, tmp_path):
    solved.save(tmp_path / "x.safetensors")
    again = SolvedLocalization.load(tmp_path / "x.safetensors")
    image = Rectangles(2, seed=9, **ONE).image(0)
    a, b = solved.detect(image), again.detect(image)
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_heads_alone_leave_the_network_as_it_was_and_joint_training_does_not():
    data = Rectangles(16, **ONE)
    heads = Localization(random=True, epochs=3, hidden=0, stage="conv2").fit(data)
    joint = Localization(random=True, epochs=3, hidden=0, stage="conv2", joint=True, resume=False).fit(data)
    fresh = Localization(random=True, hidden=0, stage="conv2", epochs=3)
    fresh.classes = data.classes
    fresh._build(open_backbone(random=True))
    begin = fresh.model.state_dict()
    lower = [name for name in begin if name.startswith("lower") and name.endswith("weight")]
    assert all(torch.equal(heads.model.state_dict()[name], begin[name]) for name in lower)
    assert not any(torch.equal(joint.model.state_dict()[name], begin[name]) for name in lower)
    for system in (heads, joint):
        assert not torch.equal(system.model.state_dict()["box.layers.1.weight"], begin["box.layers.1.weight"])


def test_joint_training_begins_with_trained_heads_unless_the_network_is_random(monkeypatch):
    monkeypatch.setattr(
        Localization, "_backbone", lambda self: open_backbone(random=True)
    )  # stands for a pretrained one
    data = Rectangles(16, **ONE)
    how = {"hidden": 0, "stage": "conv2", "resume": False}
    heads = Localization(**how).fit(data).model.state_dict()
    still = Localization(**how, joint=True, epochs=1, joint_rate=1e-9).fit(data).model.state_dict()
    fresh = Localization(**how, epochs=1).fit(data).model.state_dict()
    for name in ("box.layers.1.weight", "what.weight"):
        assert torch.allclose(heads[name], still[name], atol=1e-6)
        assert not torch.allclose(heads[name], fresh[name], atol=1e-6)
    at_once = AtOnce(**how, joint=True, epochs=1, joint_rate=1e-9).fit(data).model.state_dict()
    assert at_once["what.weight"].abs().max() < 1e-6  # as it begins
    random = Localization(**how, random=True, joint=True, epochs=1, joint_rate=1e-9).fit(data).model.state_dict()
    assert random["what.weight"].abs().max() < 1e-6  # as it begins


def test_a_vision_transformers_box_is_read_from_its_vector():
    data = Rectangles(4, **ONE)
    system = Localization(backbone="vit_b_32", random=True, hidden=0, epochs=1).fit(data)
    assert system.parameters["model.box.layers.1.weight"].shape == (4, 768)


def test_features_of_networks_without_normalization_are_scaled():
    data = Rectangles(8, **ONE)
    scaled = Localization(backbone="squeezenet1_1", random=True, hidden=0, epochs=1).fit(data).model
    plain = Localization(random=True, hidden=0, epochs=1).fit(data).model
    assert plain.normalizes and plain.scale == 1 and not scaled.normalizes
    at = torch.cat([scaled.features(one.pixels)[0] for one in (examples(data, 224), examples(data, 224).mirrored())])
    assert torch.allclose(scaled.scale, at.square().mean().sqrt(), rtol=1e-4)
    top = torch.zeros(16, scaled.what.in_features)
    assert torch.allclose(scaled.heads(at, top)[0], scaled.box(at / scaled.scale))


def test_same_seed_same_parameters():
    data = Rectangles(16, **ONE)
    a, b, c = (
        Localization(random=True, epochs=1, joint=True, hidden=8, seed=seed, resume=False).fit(data).parameters
        for seed in (3, 3, 4)
    )
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_another_backbone_is_another_key(monkeypatch):
    data = Rectangles(4, **ONE)
    keys = set()
    for seed in (0, 0, 1):
        network = open_backbone(random=True, seed=seed)
        monkeypatch.setattr(Localization, "_backbone", lambda self, network=network: network)
        keys.add(Localization().starts_from)
        assert learning_key(Localization(), data)
    assert len(keys) == 2
    monkeypatch.setattr(Localization, "starts_from", "one")
    one = learning_key(Localization(), data)
    monkeypatch.setattr(Localization, "starts_from", "other")
    assert one != learning_key(Localization(), data)


def test_pictures_without_a_known_object_do_not_count(solved, tmp_path):
    data = Rectangles(20, most=3, size=(128, 128))
    found = evaluate(solved, data, store=Store(tmp_path))
    assert len(found.row.targets) == len(LargestObject(data))
    assert np.isfinite(found.metrics["box"]["share"])


def test_wrong_settings_are_told():
    with pytest.raises(CourseError, match="l2, smooth_l1, giou"):
        Localization(loss="iou")
    with pytest.raises(CourseError, match="guesses >= 1"):
        Localization(guesses=0)
    with pytest.raises(CourseError, match="no stage 'conv9'"):
        Localization(random=True, stage="conv9").fit(Rectangles(4, **ONE))


def test_the_experiment_compares_what_its_notebook_draws():
    there = systems()
    assert len(there) == 7 * 4 + 15
    assert len({(type(one).system, str(one.config)) for one in there}) == len(there)


def experiment_row(share, *, n=30, draw=0, system="localization", **config):
    """A row with the very box in about this share of the pictures, and far from the object in the others; and which."""
    hit = np.random.default_rng(draw).random(n) < share
    truth = torch.tensor([[0.0, 0, 10, 10]])
    targets = [make_target(truth.numpy(), [1]) for _ in range(n)]
    boxes = [truth if one else truth + 50 for one in hit]
    found = [
        {"boxes": b.repeat(2, 1), "labels": torch.tensor([1, 2]), "scores": torch.tensor([0.6, 0.4])} for b in boxes
    ]
    usual = Localization().config
    return Row({"classes": ("a", "b"), "system": system, "config": usual | config}, found, targets, torch.ones(n)), hit


def test_details_hold_paired_gains_over_the_rows_that_the_notebook_names():
    solved = "localization_solved"
    made = [
        experiment_row(0.9, draw=1, system=solved, stage="conv5"),
        experiment_row(0.6, draw=2, system=solved, stage="fc7"),
        experiment_row(0.3, draw=3, system=solved, stage="fc7", random=True),
        experiment_row(0.5, draw=4),
        experiment_row(0.8, draw=5, joint=True),
        experiment_row(0.4, draw=6, random=True, joint=True),
        experiment_row(0.7, draw=7, joint=True, system="localization_at_once"),
    ]
    found = details([row for row, _ in made])
    assert [list(one["gain"]) for one in found] == [
        [],
        ["random fc7 0", "pretrained conv5 0"],
        [],
        ["random all at once 0"],
        ["pretrained heads 0", "random all at once 0"],
        [],
        ["pretrained heads 0", "pretrained heads, then all 0", "random all at once 0"],
    ]  # fmt: skip
    hits = [hit.astype(float) for _, hit in made]
    for mine, name, other in (
        (1, "random fc7 0", 2),
        (1, "pretrained conv5 0", 0),
        (6, "pretrained heads, then all 0", 4),
    ):
        difference, low, high = found[mine]["gain"][name]["box"]
        assert difference == pytest.approx(hits[mine].mean() - hits[other].mean())
        by_hand = paired_bootstrap(hits[mine], hits[other])
        assert (low, high) == (by_hand.low, by_hand.high)
    assert found[3]["box"][0] == pytest.approx(hits[3].mean()) and found[3]["gain"]["random all at once 0"][
        "label"
    ] == [
        0,
        0,
        0,
    ]


def test_photographs_are_compared_with_the_mean_box_and_the_heads(monkeypatch, tmp_path):
    settings = [(setting, seed) for setting in photographs.SETTINGS for seed in photographs.SEEDS]
    rows = [experiment_row(0.1, system="mean_box")]
    for k, (setting, seed) in enumerate(settings, 1):
        rows.append(experiment_row(0.1 + 0.06 * k, draw=k, guesses=18, seed=seed, **photographs.SETTINGS[setting]))
    found = photographs.details([row for row, _ in rows])
    assert [one["setting"] for one in found] == ["mean box", *(setting for setting, _ in settings)]
    hits = [hit.mean() for _, hit in rows]
    assert list(found[2]["gain"]) == ["mean box"] and list(found[5]["gain"]) == ["mean box", "heads"]
    assert found[5]["gain"]["heads"]["box"][0] == pytest.approx(hits[5] - hits[2])  # seed 1 of both
    assert found[12]["gain"]["heads"]["box"][0] == pytest.approx(hits[12] - hits[3])
    assert found[12]["gain"]["mean box"]["box"][0] == pytest.approx(hits[12] - hits[0])
    with pytest.raises(CourseError, match="No setting"):
        photographs.details([rows[0][0], experiment_row(0.5, epochs=3)[0]])
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    with pytest.raises(CourseError, match=r"needs .*voc2012_animals_train, which does not come with the course"):
        photographs.run()


def test_with_real_weights_on_photographs(shared, tmp_path):
    from course_utils.datasets import open_dataset

    folder = shared / "data" / "voc2012_animals_train"
    weights = shared / "data" / "squeezenet_v1_0_imagenet" / "squeezenet1_0_torchvision_keys.npz"
    data = open_dataset(folder, "holdout")
    data.ids = data.ids[:24]
    system = Localization(backbone="squeezenet1_0", weights=str(weights), epochs=200).fit(data)
    found = evaluate(system, data, store=Store(tmp_path))
    boxes = torch.stack([one["boxes"][0] for one in found.row.detections])
    # SqueezeNet has no normalization; without a scale the head's units die, and every picture gets the same box
    assert system.model.scale > 10 and (boxes[:, 0] / boxes[:, 2]).std() > 0.02
    assert found.metrics["label"]["share"] > 0.8  # learned by heart: the pictures are those of the training
    assert found.row.info["learned_from_too"] == len(found.row.targets)
