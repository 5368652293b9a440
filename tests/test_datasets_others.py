"""imglab files, the pictures that come with libraries, class names, and open_dataset itself."""

import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from course_utils.datasets import DATASETS, open_dataset, toyvoc
from course_utils.datasets.names import TOYVOC_CLASSES, map_class, vocabulary
from course_utils.errors import DataError
from course_utils.photographs import PHOTOGRAPHS, photograph

# imglab


def write_imglab(tmp_path, boxes, attributes=""):
    (tmp_path / "pictures").mkdir(exist_ok=True)
    Image.new("RGB", (60, 40)).save(tmp_path / "pictures" / "a.png")
    path = tmp_path / "faces.xml"
    path.write_text(
        "<?xml version='1.0' encoding='ISO-8859-1'?><?xml-stylesheet type='text/xsl' href='x.xsl'?>"
        "<dataset><name>é</name><images>"
        f"<image file='pictures\\a.png' {attributes}>{boxes}</image></images></dataset>",
        encoding="latin-1",
    )
    return path


def test_imglab_boxes_labels_and_flags(tmp_path):
    boxes = """<box top='5' left='10' width='20' height='30'><part name='0' x='12' y='7'/></box>
        <box top='0' left='0' width='7' height='8' ignore='1'><label>dog</label></box>
        <box top='0' left='-1' width='7' height='8' truncated='1' occluded='1'><label>dog</label></box>"""
    dataset = open_dataset(write_imglab(tmp_path, boxes))
    assert dataset.classes == ("dog", "face") and dataset.split == "faces"
    image, target = dataset[0]
    assert image.shape == (40, 60, 3)
    assert target["boxes"].tolist() == [[10, 5, 30, 35], [0, 0, 7, 8], [0, 0, 6, 8]]
    assert target["labels"].tolist() == [2, 1, 1]
    assert target["difficult"].tolist() == [False, True, False]
    assert target["truncated"].tolist() == target["occluded"].tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ("<box top='5' left='10' width='0' height='30'/>", "zero-size or inverted box"),
        ("<box top='5' left='10' width='20' height='90'/>", "box sticks out of the image"),
        ("<box top='5' left='100' width='20' height='9'/>", "box outside the image"),
        ("<box top='5' left='10' width='20'/>", "box is not a number"),
    ],
)
def test_imglab_bad_boxes(tmp_path, box, kind):
    path = write_imglab(tmp_path, box + "<box top='1' left='1' width='2' height='2'/>")
    with pytest.raises(DataError, match=kind) as caught:
        open_dataset(path)
    assert "faces.xml" in str(caught.value) and "a.png box 1" in str(caught.value)
    assert open_dataset(path, strict=False).report.counts == {kind: 1}


def test_imglab_bad_files(tmp_path):
    path = write_imglab(tmp_path, "", attributes="width='40' height='60'")
    with pytest.raises(DataError, match="stated as 40 x 60 but has 60 x 40"):
        open_dataset(path)
    path = write_imglab(tmp_path, "")
    (tmp_path / "pictures" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png .*no such file"):
        open_dataset(path)
    with pytest.raises(DataError, match="no usable image"):
        open_dataset(path, strict=False)
    for text in ("<dataset>", "<annotation/>", "<!DOCTYPE x [<!ENTITY a 'b'>]><dataset><images/></dataset>"):
        path.write_text(text)
        with pytest.raises(DataError, match=r"faces\.xml"):
            open_dataset(path)


def test_dlib_faces(shared):
    sets = [open_dataset(shared / "data" / "dlib_faces" / f"{name}.xml") for name in ("training", "testing")]
    assert [len(dataset) for dataset in sets] == [4, 5]
    assert [sum(len(target["boxes"]) for _, target in dataset) for dataset in sets] == [18, 25]
    assert {dataset.classes for dataset in sets} == {("face",)}
    assert sets[0].target(0)["boxes"][0].tolist() == [194, 90, 194 + 37, 90 + 37]


# pictures that come with libraries


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*arguments, **keywords):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs(name, no_network):
    image = photograph(name)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
    assert min(image.shape[:2]) >= 150 and image.std() > 5


def test_photographs_are_those_of_the_libraries():
    from skimage import data
    from sklearn.datasets import load_sample_image

    assert np.array_equal(photograph("astronaut"), data.astronaut())
    assert np.array_equal(photograph("chelsea"), data.chelsea())
    assert np.array_equal(photograph("coins"), np.dstack([data.coins()] * 3))
    assert np.array_equal(photograph("china"), load_sample_image("china.jpg"))
    left, right, _ = data.stereo_motorcycle()
    assert np.array_equal(photograph("motorcycle_left"), left)
    assert np.array_equal(photograph("motorcycle_right"), right)
    with pytest.raises(DataError, match=r"no photograph 'mona_lisa'.*astronaut"):
        photograph("mona_lisa")


def test_annotated_photographs():
    dataset = open_dataset("photographs")
    assert dataset.name == "photographs" and not dataset.report.counts
    names = {}
    for image_id, (image, target) in zip(dataset.ids, dataset):
        assert np.array_equal(image, photograph(image_id))
        names[image_id] = [dataset.classes[label - 1] for label in target["labels"]]
        for mask, box in zip(target.get("masks", ()), target["boxes"]):
            rows, columns = torch.where(mask)
            frame = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert (frame - box).abs().max() <= 1  # the box is the frame of the mask
    assert names["astronaut"] == ["person", "face", "helmet", "rocket"]
    assert names["chelsea"] == ["cat"] and names["coffee"] == ["cup", "saucer", "spoon"]
    assert names["coins"] == ["coin"] * 24
    masks = dataset.target(dataset.ids.index("astronaut"))["masks"]
    person, face, helmet, rocket = masks
    assert (face & ~person).sum() < 0.01 * face.sum()  # the face is a part of the person
    assert (helmet & person).sum() < 0.01 * helmet.sum() and not (rocket & person).any()
    cup, saucer, spoon = dataset.target(dataset.ids.index("coffee"))["masks"]
    assert max((cup & saucer).sum(), (cup & spoon).sum(), (saucer & spoon).sum()) < 0.03 * spoon.sum()
    # the suit is orange, the saucer red, and the rim of the cup white: masks lie where their things are
    photo = torch.tensor(photograph("astronaut")).float()
    assert photo[person][:, 0].mean() - photo[person][:, 2].mean() > 60 > photo[helmet].mean()


def test_lfw_faces():
    dataset = open_dataset("lfw_faces")
    assert len(dataset) == 200 and dataset.classes == ("face",)
    image, target = dataset[0]
    assert image.shape == (25, 25, 3) and image.dtype == np.uint8
    assert target["boxes"].tolist() == [[0, 0, 25, 25]]
    assert dataset[150][1]["boxes"].shape == (0, 4)
    assert [len(target["labels"]) for _, target in dataset] == [1] * 100 + [0] * 100
    # a witness for which half is which: faces resemble their mean, pieces of background do not
    pixels = np.array([image[..., 0].ravel().astype(float) for image, _ in dataset])
    pixels = (pixels - pixels.mean(1, keepdims=True)) / (pixels.std(1, keepdims=True) + 1)
    likeness = pixels @ pixels[:50].mean(0)
    assert np.median(likeness[50:100]) > 3 * np.median(likeness[100:])


# class names


def test_vocabularies():
    assert [len(vocabulary(name)) for name in ("toyvoc", "voc", "coco", "imagenet")] == [10, 20, 80, 1000]
    assert TOYVOC_CLASSES == toyvoc.CLASSES == tuple(sorted(TOYVOC_CLASSES))
    with pytest.raises(DataError, match="no vocabulary 'lvis'"):
        vocabulary("lvis")


def test_map_class_by_example():
    assert map_class("cat", "toyvoc", "imagenet") == (
        "tabby", "tiger cat", "Persian cat", "Siamese cat", "Egyptian cat",
    )  # fmt: skip
    dogs = map_class("dog", "voc", "imagenet")
    assert len(dogs) == 118 and dogs[0] == "Chihuahua" and dogs[-1] == "Mexican hairless"
    assert map_class("duck", "toyvoc", "imagenet") == ("drake", "red-breasted merganser")
    assert map_class("goose", "toyvoc", "imagenet") == ("goose",)
    assert map_class("duck", "toyvoc", "voc") == map_class("goose", "toyvoc", "coco") == ("bird",)
    assert map_class("bird", "voc", "toyvoc") == ("duck", "goose")
    assert map_class("motorbike", "voc", "coco") == ("motorcycle",)
    assert map_class("couch", "coco", "voc") == ("sofa",)
    assert map_class("Egyptian cat", "imagenet", "toyvoc") == ("cat",)
    assert map_class("drake", "imagenet", "toyvoc") == ("duck",)
    assert map_class("drake", "imagenet", "voc") == ("bird",)
    assert map_class("robin", "imagenet", "toyvoc") == () and map_class("robin", "imagenet", "voc") == ("bird",)
    assert map_class("school bus", "imagenet", "coco") == ("bus",)
    assert map_class("person", "toyvoc", "imagenet") == ()
    assert map_class("tench", "imagenet", "voc") == ()
    assert map_class("cat", "voc", "voc") == ("cat",)


def test_map_class_is_its_own_inverse_and_unambiguous():
    for source in ("toyvoc", "voc", "coco"):
        for target in ("toyvoc", "voc", "coco", "imagenet"):
            for name in vocabulary(source):
                if (source, target) == ("coco", "imagenet") and not map_class(name, "coco", "voc"):
                    with pytest.raises(DataError, match="No counterpart"):
                        map_class(name, source, target)
                    continue
                found = map_class(name, source, target)
                assert set(found) <= set(vocabulary(target))
                assert all(name in map_class(other, target, source) for other in found)
    owners = [map_class(name, "imagenet", "voc") for name in vocabulary("imagenet")]
    assert max(map(len, owners)) == 1
    # every class of VOC and ToyVOC is in COCO, and all but the person in ImageNet
    for source in ("toyvoc", "voc"):
        for name in vocabulary(source):
            assert len(map_class(name, source, "coco")) == 1
            assert bool(map_class(name, source, "imagenet")) == (name != "person")


def test_map_class_refuses_unknown_names():
    with pytest.raises(DataError, match="no class 'Cat'"):
        map_class("Cat", "voc", "coco")
    with pytest.raises(DataError, match="no vocabulary"):
        map_class("cat", "voc", "lvis")


# open_dataset


def test_unknown_data_set_lists_the_names(tmp_path):
    for name in ("toyvok", str(tmp_path / "nowhere.json"), tmp_path / "x.xml"):
        with pytest.raises(DataError) as caught:
            open_dataset(name)
        assert all(known in str(caught.value) for known in DATASETS)
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(DataError, match="VOC layout"):
        open_dataset(tmp_path / "x.csv")
    with pytest.raises(DataError, match="no splits"):
        open_dataset("lfw_faces", "train")


def test_counting_and_iterating():
    dataset = open_dataset("lfw_faces")
    assert len(list(dataset)) == 200
    assert np.array_equal(dataset[-1][0], dataset[199][0])
    for i in (200, -201):
        with pytest.raises(IndexError):
            dataset[i]
    assert repr(dataset) == "<lfw_faces/all: 200 images, 1 classes>"


def test_opening_one_kind_does_not_load_the_others():
    code = "import sys; from course_utils.datasets import open_dataset; open_dataset('lfw_faces');"
    code += "print('torchvision' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
