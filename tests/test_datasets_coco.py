"""COCO's JSON: reading, writing, and there and back again."""

import io
import json
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from course_utils.datasets import open_dataset
from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.coco import (
    CocoFile,
    detections_from_coco,
    detections_to_coco,
    to_coco,
    write_coco,
)
from course_utils.errors import DataError
from course_utils.joints import JOINTS
from course_utils.metrics import coco_metrics

SQUARE = [[10, 10, 20, 10, 20, 20, 10, 20]]


def annotation(number, image=5, category=7, bbox=(1, 2, 3, 4), **more):
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": list(bbox),
        "iscrowd": 0,
        **more,
    }


def perfect(target):
    return {key: target[key] for key in ("boxes", "labels")} | {"scores": torch.ones(len(target["labels"]))}


@pytest.fixture
def write(tmp_path):
    """Write a COCO file of two images and three categories with gaps between the ids; gives its path."""

    def write(*annotations, **changes):
        content = {
            "images": [
                {"id": 5, "file_name": "b.png", "width": 60, "height": 40},
                {"id": 3, "file_name": "a.png", "width": 60, "height": 40},
            ],
            "categories": [
                {"id": 90, "name": "toothbrush"},
                {"id": 7, "name": "train"},
                {"id": 16, "name": "bird"},
            ],
            "annotations": list(annotations),
        } | changes
        for name in ("a", "b"):
            Image.new("RGB", (60, 40), "red").save(tmp_path / f"{name}.png")
        path = tmp_path / "small.json"
        path.write_text(json.dumps(content))
        return path

    return write


def test_boxes_labels_and_order(write, capsys):
    path = write(annotation(1, category=90, bbox=(1.5, 2, 3, 4.25)), annotation(2, image=3, category=16), annotation(3))
    dataset = open_dataset(path)
    assert capsys.readouterr().out == ""  # pycocotools keeps quiet
    assert dataset.classes == ("train", "bird", "toothbrush")  # by rising id
    assert dataset.ids == ["b", "a"] and dataset.image_ids == [5, 3] and dataset.category_ids == [7, 16, 90]
    image, target = dataset[0]
    assert image.shape == (40, 60, 3)
    assert target["boxes"].tolist() == [[1.5, 2, 4.5, 6.25], [1, 2, 4, 6]]
    assert target["labels"].tolist() == [3, 1]
    assert dataset.target(1)["labels"].tolist() == [2]
    assert set(target) == {
        "boxes",
        "labels",
        "difficult",
        "truncated",
        "occluded",
        "iscrowd",
        "area",
    }  # no masks here


def test_area_is_the_annotations(write):
    path = write(
        annotation(1, bbox=(1, 2, 30, 30.5), area=210.25),
        annotation(2, bbox=(1, 2, 3, 4.5)),
        annotation(3, area=None),
        annotation(4, image=3, bbox=(0, 0, 40, 40), area=1000),
    )
    dataset = CocoFile(path)
    area = dataset.target(0)["area"]
    assert area.tolist() == [210.25, 13.5, 12]
    assert dataset.target(1)["area"].dtype == torch.float32  # whole numbers too
    # the box is of medium size, what it holds is small: so does pycocotools count
    metrics = coco_metrics([perfect(dataset.target(i)) for i in range(2)], [dataset.target(i) for i in range(2)], 3)
    assert metrics["AP_small"] == 1 and np.isnan(metrics["AP_medium"])
    assert CocoFile(write(annotation(1, area=5))).digest != CocoFile(write(annotation(1, area=6))).digest


def test_area_of_masks_goes_before_that_of_boxes(tmp_path):
    masks = np.zeros((1, 50, 70), bool)
    masks[0, 3:5, 3:10] = True
    bare, masked = make_target([[0, 0, 9.5, 9]], [1]), make_target([[0, 0, 9.5, 9]], [1], masks=masks)
    stated = make_target([[0, 0, 9.5, 9]], [1], masks=masks, area=[7.5])
    written = to_coco(Made(tmp_path, [bare, masked, stated], ("one",)))["annotations"]
    assert [one["area"] for one in written] == [85.5, 14, 7.5]


def test_masks_from_polygons_and_run_lengths(write):
    runs = {"size": [40, 60], "counts": [0, 40, 40 * 59]}  # the first column; run lengths go down the columns
    path = write(
        annotation(1, bbox=(10, 10, 10, 10), segmentation=SQUARE),
        annotation(2, bbox=(0, 0, 1, 40), segmentation=runs, iscrowd=1),
        annotation(3, image=3, segmentation=SQUARE),
        annotation(4, image=3),
    )
    dataset = CocoFile(path)
    target = dataset.target(0)
    assert target["masks"].dtype == torch.bool and target["masks"].shape == (2, 40, 60)
    assert target["masks"][0].sum() == 100 and target["masks"][0, 10:20, 10:20].all()
    assert target["masks"][1, :, 0].all() and target["masks"][1].sum() == 40
    assert target["iscrowd"].tolist() == [False, True] and target["difficult"].tolist() == [False, True]
    assert "masks" not in dataset.target(1)  # one of its objects has none
    dataset.with_masks = False
    assert "masks" not in dataset.target(0)


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (annotation(2, bbox=(1, 2, 0, 4)), "zero-size or inverted box"),
        (annotation(2, bbox=(1, 2, 5, -4)), "zero-size or inverted box"),
        (annotation(2, bbox=(99, 2, 5, 4)), "box outside the image"),
        (annotation(2, bbox=(1, 2, None, 4)), "box is not a number"),
        (annotation(2, bbox=(1, 2, 3)), "box is not a number"),
        (annotation(2, category=8), "unknown class"),
        (annotation(2, image=4), "annotation of an unknown image"),
        ({"id": 2, "image_id": 5, "category_id": 7}, "object without bbox"),
        (annotation(2, area="large"), "area is not a number"),
        (annotation(2, area=-1), "area is not a number"),
        (annotation(2, segmentation=[[1, 1, 2, 2]]), "unreadable segmentation"),
        (annotation(2, segmentation={"size": [60, 40], "counts": "a"}), "unreadable segmentation"),
    ],
)
def test_a_bad_object_is_one_error_or_is_left_out_and_counted(write, bad, kind):
    path = write(annotation(1), bad)
    with pytest.raises(DataError, match=kind) as caught:
        open_dataset(path)
    assert "annotation 2" in str(caught.value) and "small.json" in str(caught.value)
    dataset = open_dataset(path, strict=False)
    assert dataset.report.counts == {kind: 1}
    assert len(dataset.target(0)["labels"]) == 1 and len(dataset) == 2


def test_bad_images(write, tmp_path):
    path = write(annotation(1), annotation(2, image=3))
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:-30])
    dataset = open_dataset(path, strict=False)
    assert dataset.ids == ["b"] and dataset.report.counts == {"image cannot be read": 1}
    Image.new("RGB", (61, 40)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is stated as 60 x 40 but has 61 x 40"):
        open_dataset(path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.png").unlink()
    with pytest.raises(DataError, match=r"b\.png.* were not found"):
        open_dataset(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "no readable JSON"),
        ("[]", "results"),
        ('{"images": []}', "no list 'annotations'"),
        ('{"images": [], "annotations": [], "categories": []}', "no image at all"),
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "no file_name, width, height"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": 1}, {"id": 1, "name": 2}]}',
            "once",
        ),
    ],
)
def test_no_coco_file(tmp_path, text, match):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(DataError, match=match) as caught:
        open_dataset(tmp_path / "x.json")
    assert "x.json" in str(caught.value)


def test_pictures_are_found_in_the_usual_places(write, tmp_path):
    path = write(annotation(1))
    (tmp_path / "annotations").mkdir()
    moved = path.rename(tmp_path / "annotations" / "instances_val2017.json")
    for place in ("val2017", "JPEGImages", "images"):
        (tmp_path / place).mkdir()
        for name in ("a.png", "b.png"):
            (tmp_path / name).rename(tmp_path / place / name)
        assert len(open_dataset(moved)) == 2
        assert open_dataset(moved).split == "instances_val2017"
        for name in ("a.png", "b.png"):
            (tmp_path / place / name).rename(tmp_path / name)
    with pytest.raises(DataError, match="without splits"):
        open_dataset(moved, "train")


class Made(Dataset):
    """A data set in memory, whose images are also saved in a folder."""

    def __init__(self, folder, targets, classes):
        super().__init__("made", "all", classes, [f"i{i}" for i in range(len(targets))])
        self.targets = targets
        for i in range(len(targets)):
            Image.fromarray(self.image(i)).save(folder / self.file_name(i))

    def image(self, i):
        return np.full((50, 70, 3), i, np.uint8)

    def target(self, i):
        return self.targets[i]


edges = st.tuples(*[st.integers(0, 50 * 64)] * 4).filter(lambda e: e[0] != e[2] and e[1] != e[3])
things = st.tuples(edges, st.integers(1, 3), st.booleans(), st.booleans())


@settings(max_examples=40, deadline=None)
@given(images=st.lists(st.lists(things, max_size=5), min_size=1, max_size=3), seed=st.integers(0, 99))
def test_there_and_back_again(tmp_path_factory, images, seed):
    folder = tmp_path_factory.mktemp("coco")
    rng = np.random.default_rng(seed)
    targets = []
    for objects in images:
        boxes = [sorted(e[0::2]) + sorted(e[1::2]) for e, *_ in objects]
        targets.append(
            make_target(
                [[x1 / 64, y1 / 64, x2 / 64, y2 / 64] for x1, x2, y1, y2 in boxes],
                [thing[1] for thing in objects],
                difficult=[thing[2] or thing[3] for thing in objects],
                truncated=[thing[2] for thing in objects],
                iscrowd=[thing[3] for thing in objects],
                masks=rng.random((len(objects), 50, 70)) < 0.5,
            )
        )
    made = Made(folder, targets, ("one", "two", "three"))
    write_coco(made, folder / "made.json")
    read = open_dataset(folder / "made.json")
    assert read.classes == made.classes and read.ids == made.ids
    for i in range(len(made)):
        target = read.target(i)
        assert torch.equal(target.pop("area"), targets[i]["masks"].sum((1, 2)).float())
        assert set(target) == set(targets[i])
        for key, value in targets[i].items():
            assert torch.equal(target[key], value) and target[key].dtype == value.dtype, key
    # and a second round gives the same file
    write_coco(read, folder / "again.json")
    assert (folder / "again.json").read_bytes() == (folder / "made.json").read_bytes()


def test_joints_go_there_and_back(tmp_path):
    joints = np.zeros((2, 14, 3), np.float32)
    joints[1] = np.random.default_rng(0).integers(1, 40, (14, 3)) / 2
    joints[1, :, 2] = 2
    target = make_target([[0, 0, 9, 9], [9, 9, 30, 30]], [1, 2], joints=joints)
    made = Made(tmp_path, [target], ("cat", "person"))
    content = to_coco(made)
    assert content["categories"][1]["keypoints"] == list(JOINTS) and "keypoints" not in content["categories"][0]
    assert content["annotations"][1]["num_keypoints"] == 14
    write_coco(made, tmp_path / "made.json")
    read = open_dataset(tmp_path / "made.json").target(0)
    assert torch.equal(read["joints"], target["joints"])


def test_official_tools_read_what_we_write(write, tmp_path):
    path = write(annotation(1, bbox=(10, 10, 10, 10), segmentation=SQUARE), annotation(2, image=3, category=90))
    dataset = CocoFile(path)
    write_coco(dataset, tmp_path / "again.json")
    detections = [
        {
            "boxes": dataset.target(i)["boxes"],
            "labels": dataset.target(i)["labels"],
            "scores": torch.tensor([0.5]),
        }
        for i in range(2)
    ]
    results = detections_to_coco(detections, dataset)
    assert [(r["image_id"], r["category_id"]) for r in results] == [(5, 7), (3, 90)]  # COCO's own numbers
    assert results[0]["bbox"] == [10, 10, 10, 10]
    with redirect_stdout(io.StringIO()):
        official = COCO(str(tmp_path / "again.json"))
        official.loadRes(json.loads(json.dumps(results)))
    assert official.annToMask(official.anns[1]).sum() == 100
    assert official.anns[2]["bbox"] == [1, 2, 3, 4] and official.anns[2]["area"] == 12
    assert official.cats[90]["name"] == "toothbrush"


def test_detections_go_there_and_back(tmp_path):
    made = Made(tmp_path, [make_target([], [])] * 3, ("one", "two"))
    rng = np.random.default_rng(0)
    detections = []
    for n in (2, 0, 4):
        corners = rng.uniform(0, 25, (n, 4)).astype(np.float32)
        corners[:, 2:] += 25
        labels = torch.tensor(rng.integers(1, 3, n))
        scores = torch.tensor(rng.random(n, dtype=np.float32))
        detections.append({"boxes": torch.tensor(corners), "labels": labels, "scores": scores})
    results = json.loads(json.dumps(detections_to_coco(detections, made)))
    assert [result["image_id"] for result in results] == [1, 1, 3, 3, 3, 3]
    back = detections_from_coco(results, made)
    for before, after in zip(detections, back):
        for key in before:
            assert before[key].dtype == after[key].dtype and torch.equal(before[key], after[key]), key
    with pytest.raises(DataError, match="one per image"):
        detections_to_coco(detections[:2], made)
    with pytest.raises(DataError, match="image 9"):
        detections_from_coco([{**results[0], "image_id": 9}], made)


def test_digest_sees_the_segmentation(write):
    first = CocoFile(write(annotation(1, segmentation=SQUARE))).digest
    assert CocoFile(write(annotation(1, segmentation=SQUARE))).digest == first
    assert CocoFile(write(annotation(1, segmentation=[[10, 10, 20, 10, 20, 21, 10, 20]]))).digest != first
