"""The sliding window of HoG and SVM: windows and boxes, crops that equal the scan, mining, the whole on scenes."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.signal import correlate
from torchvision.ops import box_iou

from course_utils.datasets import open_dataset
from course_utils.datasets.base import Dataset, make_target
from course_utils.detectors.hog_svm import Faces, HogSvm, box_of, features_of, window_of
from course_utils.errors import DataError
from course_utils.hog import hog, pyramid, window_boxes

RNG = np.random.default_rng(5)


class Crosses(Dataset):
    """Noise with one bright cross or ring per picture, boxes known; the last picture is empty."""

    def __init__(self, n: int = 24, seed: int = 0) -> None:
        super().__init__("crosses", "all", ("cross", "ring"), [f"{seed}_{i}" for i in range(n)])
        rng = np.random.default_rng(seed)
        self.images, self.targets = [], []
        for i in range(n):
            image = rng.integers(90, 130, (96, 120, 3)).astype(np.uint8)
            side = int(rng.integers(36, 60))
            y, x = int(rng.integers(0, 96 - side)), int(rng.integers(0, 120 - side))
            u, v = np.meshgrid(*[(np.arange(side) + 0.5) / side * 2 - 1] * 2)
            ring = i % 2
            shape = np.abs(np.hypot(u, v) - 0.75) < 0.2 if ring else np.minimum(abs(u), abs(v)) < 0.2
            if i < n - 1:
                image[y : y + side, x : x + side][shape] = 230
            empty = i == n - 1
            self.images.append(image)
            self.targets.append(make_target([] if empty else [(x, y, x + side, y + side)], [] if empty else [1 + ring]))

    def image(self, i):
        return self.images[i]

    def target(self, i):
        return self.targets[i]


SMALL = {"area": 36, "step": 1.15, "largest": 1.0, "rounds": 1}


@pytest.fixture(scope="module")
def trained():
    return HogSvm(**SMALL).fit(Crosses())


# ----------------------------------------------------------------------------------------------- windows and boxes


@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_a_box_of_the_templates_shape_comes_back(margin):
    cells = (12, 6)
    for _ in range(20):
        x, y, width = RNG.uniform(0, 200, 3)
        box = np.array([x, y, x + width, y + 2 * width])
        window = window_of(box, cells, margin)
        assert (window[2:] - window[:2]) / (box[2:] - box[:2]) == pytest.approx([1 + 2 * margin] * 2)
        assert box_of(torch.tensor(window)[None], margin)[0].numpy() == pytest.approx(box)


def test_another_shape_gets_the_smallest_window_around_it():
    box = np.array([10.0, 20.0, 50.0, 30.0])  # 40 wide, 10 high
    window = window_of(box, (4, 4), 0.0)
    assert window == pytest.approx([10, 5, 50, 45])
    window = window_of(box, (4, 4), 0.25)
    assert window == pytest.approx([0, -5, 60, 55])


def test_the_margin_of_dalal_and_triggs_costs_iou_unless_it_is_taken_away():
    # a person of 32 x 96 px in a window of 64 x 128: the trap of the facts, IoU .375
    person, window = torch.tensor([[16.0, 16, 48, 112]]), torch.tensor([[0.0, 0, 64, 128]])
    assert box_iou(window, person).item() == pytest.approx(0.375)
    square = torch.tensor([[20.0, 20.0, 60.0, 60.0]])
    window = torch.tensor(window_of(square[0].numpy().astype(float), (6, 6), 0.25))[None].float()
    assert box_iou(window, square).item() == pytest.approx(1 / 1.5**2)
    assert box_iou(box_of(window, 0.25), square).item() == pytest.approx(1)


def test_a_crop_has_the_features_of_the_scan():
    image = RNG.integers(0, 256, (160, 200, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(image).resize((200, 160), Image.BILINEAR))
    grid = hog(image)
    for row, column in ((1, 1), (3, 7), (8, 10)):
        window = np.array([8 * column, 8 * row, 8 * (column + 6), 8 * (row + 5)], float)
        wanted = grid[row : row + 4, column : column + 5]
        assert np.abs(features_of(image, window, (5, 6)) - wanted).max() < 1e-5


def test_a_window_beyond_the_border_repeats_the_outermost_pixels():
    image = RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    window = np.array([-16.0, -8.0, 32.0, 40.0])
    wide = np.pad(image, ((40, 40), (40, 40), (0, 0)), mode="edge")
    inside = features_of(wide, window + 40, (6, 6))
    assert np.abs(features_of(image, window, (6, 6)) - inside).max() < 1e-5


# ------------------------------------------------------------------------------------------------------ the whole


def test_it_finds_crosses_and_rings_it_has_not_seen(trained):
    test = Crosses(20, seed=1)
    found = trained.detect([test.image(i) for i in range(len(test))])
    for i in range(len(test) - 1):
        assert found[i]["labels"][0] == test.target(i)["labels"][0]
        assert box_iou(found[i]["boxes"][:1], test.target(i)["boxes"]).item() > 0.6
    assert not len(found[-1]["scores"]) or found[-1]["scores"][0] < min(f["scores"][0] for f in found[:-1])


def test_detections_are_windows_scored_one_by_one(trained):
    image = Crosses(4, seed=2).image(0)
    found = trained.detect(image)
    best = None
    for label, name in enumerate(trained.classes, 1):
        template = trained.parameters[f"{name}.template"].numpy()
        rows, columns = (size + 1 for size in template.shape[:2])
        for level in pyramid(image, (8 * 5, 8 * 5), step=1.15):
            if level.features.shape[0] < rows - 1 or level.features.shape[1] < columns - 1:
                continue
            scores = correlate(level.features.astype(float), template.astype(float), mode="valid")[:, :, 0]
            scores += trained.parameters[f"{name}.bias"].item()
            place = np.unravel_index(scores.argmax(), scores.shape)
            if best is None or scores[place] > best[0]:
                window = window_boxes(*np.array(place)[:, None], template.shape[:2], level.scale)
                best = scores[place], label, box_of(window, trained.margin)[0]
    assert found["scores"][0].item() == pytest.approx(best[0], abs=1e-4)
    assert found["labels"][0] == best[1]
    height, width = image.shape[:2]
    assert found["boxes"][0].numpy() == pytest.approx(
        np.clip(best[2].numpy(), 0, [width, height, width, height]), abs=1e-3
    )


def test_an_object_in_the_last_row_and_column_of_windows_is_seen():
    data = Crosses(25, seed=3)
    for i in range(len(data) - 1):  # all in the lower right corner
        x1, y1, x2, y2 = (int(v) for v in data.targets[i]["boxes"][0])
        patch = data.images[i][y1:y2, x1:x2].copy()
        data.images[i] = np.random.default_rng(i).integers(90, 130, data.images[i].shape).astype(np.uint8)
        data.images[i][96 - (y2 - y1) :, 120 - (x2 - x1) :] = patch
        data.targets[i]["boxes"] = torch.tensor([[120.0 - (x2 - x1), 96.0 - (y2 - y1), 120, 96]])
    detector = HogSvm(**SMALL | {"margin": 0.0}).fit(Crosses())
    overlap = [box_iou(detector.detect(data.image(i))["boxes"][:1], data.target(i)["boxes"]).item() for i in range(20)]
    assert np.mean(overlap) > 0.6


def test_a_picture_smaller_than_the_window_has_nothing(trained):
    found = trained.detect(np.zeros((20, 20, 3), np.uint8))
    assert len(found["boxes"]) == len(found["labels"]) == len(found["scores"]) == 0 and found["boxes"].shape == (0, 4)


def test_negatives_overlap_no_object_of_the_class_and_come_once():
    data, detector = Crosses(), HogSvm(**SMALL)
    seen = []
    draw = detector._negatives

    def watch(image, target, cells, turn, rng):
        for key, label, features in draw(image, target, cells, turn, rng):
            level = detector._levels(image, cells.values())[key[0]]
            rows, columns = cells[label]
            window = window_boxes(*np.array(key[1:])[:, None], (rows - 1, columns - 1), level.scale)
            own = target["boxes"][target["labels"] == label]
            if len(own):
                assert box_iou(box_of(window, detector.margin), own).max() < 0.3
            assert np.array_equal(features, level.features[key[1] :, key[2] :][: rows - 1, : columns - 1].ravel())
            seen.append((turn, label))
            yield key, label, features

    learned = []
    learn = detector._learn

    def count(label, cells, positives, negatives):
        learned.append((label, len(positives), len(negatives)))
        assert len(np.unique(negatives, axis=0)) == len(negatives)
        learn(label, cells, positives, negatives)

    detector._negatives, detector._learn = watch, count
    detector.fit(data)
    assert {turn for turn, _ in seen} == {0, 1}
    crosses = sum(int((data.target(i)["labels"] == 1).sum()) for i in range(len(data)))
    assert learned[0][:2] == (1, 2 * crosses)  # each with its mirror image
    assert learned[2][2] >= learned[0][2]


def test_mining_lowers_the_false_alarms():
    data, other = Crosses(seed=4), Crosses(20, seed=9)
    alarms = []
    for rounds in (0, 2):
        detector = HogSvm(**SMALL | {"rounds": rounds, "seed": 1}).fit(data)
        found = [detector.detect(other.image(i)) for i in range(len(other))]
        hits = torch.stack([f["scores"][0] for f in found[:-1]])
        wrong = [f["scores"][(box_iou(f["boxes"], other.target(i)["boxes"]) < 0.3).all(1)] for i, f in enumerate(found)]
        alarms.append(int((torch.cat(wrong) > hits.median()).sum()))
    assert alarms[1] <= alarms[0]


def test_the_same_seed_gives_the_same_bytes(trained, tmp_path):
    again = HogSvm(**SMALL).fit(Crosses())
    assert all(torch.equal(again.parameters[name], value) for name, value in trained.parameters.items())
    other = HogSvm(**SMALL, seed=1).fit(Crosses())
    assert not torch.equal(other.parameters["cross.template"], trained.parameters["cross.template"])
    trained.save(tmp_path / "t")
    image = Crosses(2, seed=6).image(0)
    loaded = HogSvm.load(tmp_path / "t").detect(image)
    assert all(torch.equal(loaded[key], value) for key, value in trained.detect(image).items())


def test_each_class_has_a_window_of_its_own_shape():
    class Tall(Crosses):
        def target(self, i):
            target = dict(self.targets[i])
            if len(target["labels"]) and target["labels"][0] == 2:
                x1, y1, x2, y2 = target["boxes"][0].tolist()
                target["boxes"] = torch.tensor([[x1, y1, x1 + (x2 - x1) / 4, y2]])
            return target

    detector = HogSvm(**SMALL | {"rounds": 0}).fit(Tall())
    assert detector.parameters["cross.template"].shape == (5, 5, 36)
    assert detector.parameters["ring.template"].shape == (11, 2, 36)  # 12 x 3 cells


def test_a_class_without_examples_has_no_template():
    class Yeti(Crosses):
        def __init__(self):
            super().__init__()
            self.classes = ("cross", "ring", "yeti")

    detector = HogSvm(**SMALL | {"rounds": 0}).fit(Yeti())
    assert not any(name.startswith("yeti") for name in detector.parameters)
    assert set(detector.detect(Yeti().image(0))["labels"].tolist()) <= {1, 2}


@pytest.mark.parametrize(
    "wrong", [{"area": 1}, {"margin": -1}, {"step": 1.0}, {"C": 0}, {"rounds": -1}, {"scanned": 0}]
)
def test_wrong_settings_are_one_error(wrong):
    with pytest.raises(DataError, match="hog_svm wants area >= 4"):
        HogSvm(**wrong)


def test_nothing_to_learn_from_is_one_error():
    data = Crosses()
    for target in data.targets:
        target["truncated"] = torch.ones_like(target["truncated"])
    with pytest.raises(DataError, match="neither difficult nor truncated"):
        HogSvm(**SMALL).fit(data)


# ----------------------------------------------------------------------------------------------------------- faces


def test_face_scenes_keep_train_and_test_apart():
    train, test = open_dataset("faces", "train"), open_dataset("faces", "test")
    assert len(train) == 2 * 80 * 3 + 9 and len(test) == 2 * 20 * 3 + 5
    crops = [{name.rsplit("_", 1)[0] for name in part.ids} for part in (train, test)]
    assert not crops[0] & crops[1]
    with pytest.raises(DataError, match="train, test; asked for None"):
        open_dataset("faces")


def test_face_scenes_hold_the_crop_where_the_box_says():
    faces, crops = open_dataset("faces", "test"), open_dataset("lfw_faces")
    for i in (0, 3, 60, 63):
        _, number, variant = faces.ids[i].split("_")
        assert variant == "0"  # upright
        image, target = faces[i]
        assert image.shape == (144, 144, 3) and (image[..., 0] == image[..., 2]).all()
        crop = Image.fromarray(crops.image(int(number))).resize((80, 80), Image.BICUBIC)
        middle = slice(20, 60)  # where the weight of the crop is 1
        assert np.abs(image[32:112, 32:112].astype(int) - np.asarray(crop)).max(2)[middle, middle].max() <= 1
        assert target["boxes"].tolist() == ([[32, 32, 112, 112]] if i < 60 else [])
        assert np.array_equal(image, open_dataset("faces", "test").image(i))
    assert not len(faces.target(len(faces) - 1)["boxes"]) and faces.image(len(faces) - 1).shape[0] > 1000


def test_faces_is_hog_svm_with_other_settings():
    assert Faces().config.keys() == HogSvm().config.keys()
    assert Faces(area=50).area == 50 and Faces().margin > HogSvm().margin
