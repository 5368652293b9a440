"""The reader of VOC folders against hand-made folders, bad ones, and real ones."""

import re
import time
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from course_utils.datasets import open_dataset
from course_utils.datasets.base import make_target
from course_utils.datasets.voc import (
    VOC_CLASSES,
    VocFolder,
    write_annotation,
    write_imageset,
    write_masks,
)
from course_utils.errors import CourseError, DataError
from course_utils.joints import JOINTS, LIMBS

WIDTH, HEIGHT = 60, 40


def object_xml(name="cat", box=(11, 6, 30, 25), extra=""):
    corners = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box))
    return f"<object><name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def annotation_xml(*objects, size=(WIDTH, HEIGHT), filename="a.jpg"):
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation><filename>{filename}</filename>{stated}{''.join(objects)}</annotation>"


@pytest.fixture
def folder(tmp_path):
    """Add images to a VOC folder: ``folder("a", object_xml())``; gives the folder back."""
    root = tmp_path / "small"
    (root / "JPEGImages").mkdir(parents=True)
    (root / "Annotations").mkdir()

    def add(image_id="a", *objects, xml=None, image=True, **keywords):
        text = annotation_xml(*objects, **keywords) if xml is None else xml
        path = root / "Annotations" / f"{image_id}.xml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if image:
            noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / "JPEGImages" / f"{image_id}.jpg")
        return root

    return add


def kinds(root, **keywords):
    """Faults that are counted with strict=False, and the strict error's message."""
    with pytest.raises(DataError) as caught:
        VocFolder(root, **keywords)
    return VocFolder(root, strict=False, **keywords), str(caught.value)


def test_one_based_inclusive_corners_become_edges(folder):
    dataset = VocFolder(folder("a", object_xml(box=(11, 6, 30, 25)), object_xml("dog", (1, 1, WIDTH, HEIGHT))))
    target = dataset.target(0)
    assert target["boxes"].tolist() == [[10, 5, 30, 25], [0, 0, WIDTH, HEIGHT]]
    assert target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [1, 2] and target["labels"].dtype == torch.int64
    assert dataset.classes == ("cat", "dog")
    image, again = dataset[0]
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    assert set(again) == {"boxes", "labels", "difficult", "truncated", "occluded"}
    assert dataset.size(0) == (HEIGHT, WIDTH) and dataset.file_name(0) == "a.jpg"


def test_flags_default_to_false_and_are_read_one_by_one(folder):
    one = "<truncated>1</truncated><occluded>0</occluded>"
    two = "<difficult>1</difficult><occluded>1</occluded><truncated>Unspecified</truncated>"
    target = VocFolder(folder("a", object_xml(), object_xml(extra=one), object_xml(extra=two))).target(0)
    assert target["difficult"].tolist() == [False, False, True]
    assert target["truncated"].tolist() == [False, True, False]
    assert target["occluded"].tolist() == [False, False, True]


def test_a_target_can_be_changed_without_harm(folder):
    dataset = VocFolder(folder("a", object_xml()))
    dataset.target(0)["boxes"].zero_()
    assert dataset.target(0)["boxes"].tolist() == [[10, 5, 30, 25]]


def test_boxes_of_parts_are_not_the_objects_box(folder):
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
    part = f"<part><name>head</name><bndbox>{corners}</bndbox></part>"
    target = VocFolder(folder("a", object_xml("person", extra=part))).target(0)
    assert target["boxes"].tolist() == [[10, 5, 30, 25]]
    assert len(target["labels"]) == 1
    # an object that has only a part's box has no box
    dataset, message = kinds(folder("b", object_xml("person"), f"<object><name>person</name>{part}</object>"))
    assert dataset.report.counts == {"object without bndbox": 1}
    assert "Annotations/b.xml object 2 (person)" in message


def test_float_corners_are_read_exactly(folder):
    target = VocFolder(folder("a", object_xml(box=("1.5", "6.25", "30.125", " 25.0 ")))).target(0)
    assert target["boxes"].tolist() == [[0.5, 5.25, 30.125, 25]]


@pytest.mark.parametrize(
    ("thing", "kind"),
    [
        (object_xml(box=(11, 6, 11, 6)), "zero-size or inverted box"),
        (object_xml(box=(30, 6, 11, 25)), "zero-size or inverted box"),
        (object_xml(box=(11, 25, 30, 6)), "zero-size or inverted box"),
        (object_xml(box=(101, 6, 130, 25)), "box outside the image"),
        (object_xml(box=(-50, 6, -20, 25)), "box outside the image"),
        (object_xml(box=("x", 6, 30, 25)), "box is not a number"),
        (object_xml(box=("nan", 6, 30, 25)), "box is not a number"),
        (object_xml(box=(11, 6, "inf", 25)), "box is not a number"),
        (object_xml(box=(11, 6, "", 25)), "box is not a number"),
        ("<object><name>cat</name></object>", "object without bndbox"),
        (object_xml(name=" "), "object without name"),
        (object_xml(extra="<difficult>maybe</difficult>"), "unreadable flag"),
        (object_xml(extra='<joints><joint name="tail" x="1" y="2" v="2"/></joints>'), "unreadable joints"),
        (object_xml(extra='<joints><joint name="neck" x="nan" y="2" v="2"/></joints>'), "unreadable joints"),
        (object_xml(extra='<joints><joint name="neck" x="1" y="2" v="3"/></joints>'), "unreadable joints"),
    ],
)
def test_a_bad_object_is_one_error_or_is_left_out_and_counted(folder, thing, kind):
    dataset, message = kinds(folder("a", object_xml(), thing, object_xml("dog")))
    assert dataset.report.counts == {kind: 1}
    assert dataset.target(0)["labels"].tolist() == [1, 2]
    assert kind in message and "Annotations/a.xml object 2" in message and "strict=False" in message
    assert kind in str(dataset.report)


def test_boxes_that_stick_out(folder):
    # by one pixel: cut, whether strict or not
    dataset = VocFolder(folder("a", object_xml(box=(0, 1, WIDTH + 1, HEIGHT))))
    assert dataset.target(0)["boxes"].tolist() == [[0, 0, WIDTH, HEIGHT]]
    assert not dataset.report.counts and len(dataset.report.notes) == 1
    # by more: an error, or cut and counted
    dataset, message = kinds(folder("b", object_xml(box=(41, 6, WIDTH + 9, 25))))
    assert dataset.report.counts == {"box sticks out of the image": 1}
    assert dataset.target(1)["boxes"].tolist() == [[40, 5, WIDTH, 25]]
    assert "Annotations/b.xml" in message


def test_unknown_class_only_when_the_classes_are_stated(folder):
    root = folder("a", object_xml("cat"), object_xml("yeti"))
    assert VocFolder(root).classes == ("cat", "yeti")
    dataset, message = kinds(root, classes=("dog", "cat"))
    assert dataset.report.counts == {"unknown class": 1} and "yeti" in message
    assert dataset.classes == ("dog", "cat") and dataset.target(0)["labels"].tolist() == [2]
    (root / "classes.txt").write_text("yeti\ncat\n\n")
    assert VocFolder(root).classes == ("yeti", "cat")
    assert VocFolder(root).target(0)["labels"].tolist() == [2, 1]
    with pytest.raises(DataError, match="twice"):
        VocFolder(root, classes=("cat", "cat"))


def test_labels_agree_between_splits_that_hold_different_classes(folder):
    folder("a", object_xml("zebra"))
    root = folder("b", object_xml("ant"))
    write_imageset(root, "train", ["a"])
    write_imageset(root, "val", ["b"])
    train, val = open_dataset(root, "train"), open_dataset(str(root), "val")
    assert train.classes == val.classes == ("ant", "zebra")
    assert (train.ids, train.split, val.ids, val.split) == (["a"], "train", ["b"], "val")
    assert train.target(0)["labels"].tolist() == [2] and val.target(0)["labels"].tolist() == [1]


def test_vocs_own_twenty(tmp_path, folder):
    root = folder("a", object_xml("tvmonitor")).rename(tmp_path / "VOC2007")
    dataset = VocFolder(root)
    assert dataset.classes == VOC_CLASSES and len(VOC_CLASSES) == 20
    assert dataset.target(0)["labels"].tolist() == [20]


def test_lists_of_images(folder):
    for image_id in ("a", "b", "c", "file with spaces"):
        root = folder(image_id, object_xml())
    lists = root / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "cat_train.txt").write_text("a -1\nb  1\nc  0\n")
    (lists / "train.txt").write_bytes(b"\xef\xbb\xbfa\r\nfile with spaces\r\n\r\n")
    (lists / "twice.txt").write_text("a\nb\na\n")
    (lists / "empty.txt").write_text("\n")
    assert VocFolder(root, "cat_train").ids == ["b", "c"]
    assert VocFolder(root, "train").ids == ["a", "file with spaces"]
    assert VocFolder(root).ids == ["a", "b", "c", "file with spaces"] and VocFolder(root).split == "all"
    dataset, message = kinds(root, split="twice")
    assert dataset.ids == ["a", "b"] and dataset.report.counts == {"image listed twice": 1} and "twice.txt" in message
    with pytest.raises(DataError, match=r"no split 'test'.*cat_train, empty, train, twice"):
        VocFolder(root, "test")
    with pytest.raises(DataError, match=r"split empty.*no image at all"):
        VocFolder(root, "empty")


def test_missing_annotation_and_missing_image(folder):
    root = folder("a", object_xml())
    folder("b", object_xml(), image=False)
    write_imageset(root, "train", ["a", "b", "c"])
    dataset, message = kinds(root, split="train")
    assert dataset.ids == ["a"]
    assert dataset.report.counts == {"missing annotation": 1, "missing image": 1}
    assert "Annotations/c.xml" in message and "JPEGImages/b" in message
    (root / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"Nothing in .* can be used"):
        VocFolder(root, "train", strict=False)


def test_image_without_annotation_is_only_noted(folder):
    root = folder("a", object_xml())
    Image.new("RGB", (9, 9)).save(root / "JPEGImages" / "b.png")
    (root / "JPEGImages" / "notes.txt").write_text("not an image")
    assert VocFolder(root).report.notes == {"image without annotation": ["JPEGImages/b.png is not used"]}


@pytest.mark.parametrize(
    "xml",
    [
        "<annotation><object></annotation>",
        "",
        "\x00\x01",
        b"<?xml version='1.0' encoding='klingon'?><annotation/>",
        b"<?xml version='1.0' encoding='utf-8'?><annotation>\xff\xfe</annotation>",
        "<html><body>404</body></html>",
        '<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;&l;&l;&l;&l;&l;">]><annotation>&m;</annotation>',
        '<!DOCTYPE a [<!ENTITY f SYSTEM "file:///etc/hostname">]><annotation>&f;</annotation>'.encode("utf-16"),
    ],
)
def test_unparsable_annotation(folder, xml):
    folder("a", object_xml())
    dataset, message = kinds(folder("b", xml=xml))
    assert dataset.ids == ["a"] and dataset.classes == ("cat",)
    assert dataset.report.counts == {"annotation is no readable XML": 1} and "Annotations/b.xml" in message
    if b"DOCTYPE" in (xml if isinstance(xml, bytes) else xml.encode()).replace(b"\x00", b""):
        assert "DOCTYPE" in message


def test_size_that_disagrees_with_the_image(folder):
    folder("a", object_xml())
    dataset, message = kinds(folder("b", object_xml(), size=(HEIGHT, WIDTH)))
    assert dataset.ids == ["a"] and dataset.report.counts == {"<size> differs from the image": 1}
    assert "Annotations/b.xml says 40 x 60, JPEGImages/b.jpg has 60 x 40" in message


@pytest.mark.parametrize("size", [None, (0, 0), ("?", 3)])
def test_without_a_size_the_image_tells_it(folder, size):
    dataset = VocFolder(folder("a", object_xml(box=(1, 1, WIDTH, HEIGHT)), size=size))
    assert dataset.size(0) == (HEIGHT, WIDTH)


def test_broken_images(folder):
    root = folder("a", object_xml())
    for image_id in ("cut", "empty", "text"):
        folder(image_id, object_xml())
    (root / "JPEGImages" / "text.jpg").write_text("<html>not found</html>")
    (root / "JPEGImages" / "empty.jpg").write_bytes(b"")
    # headers are read at opening, so these two are known at once
    with pytest.raises(DataError) as caught:
        VocFolder(root)
    assert "JPEGImages/text.jpg" in str(caught.value) and "JPEGImages/empty.jpg" in str(caught.value)
    for image_id in ("empty", "text"):
        (root / "Annotations" / f"{image_id}.xml").unlink()
    # cut short behind its header: noticed when it is asked for, or at opening with strict=False
    whole = (root / "JPEGImages" / "cut.jpg").read_bytes()
    (root / "JPEGImages" / "cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    dataset = VocFolder(root)
    with pytest.raises(DataError, match=r"cut\.jpg .*truncated"):
        dataset.image(dataset.ids.index("cut"))
    dataset = VocFolder(root, strict=False)
    assert dataset.ids == ["a"] and dataset.report.counts == {"image cannot be read": 1}
    assert "cut.jpg" in dataset.report.faults["image cannot be read"][0]


def test_several_suffixes(folder):
    root = folder("a", object_xml(), filename="a.png")
    Image.new("RGB", (WIDTH, HEIGHT), "blue").save(root / "JPEGImages" / "a.png")
    dataset = VocFolder(root)  # <filename> decides
    assert dataset.file_name(0) == "a.png" and dataset.image(0)[0, 0].tolist() == [0, 0, 255]
    (root / "JPEGImages" / "a.png").rename(root / "JPEGImages" / "a.PNG")
    dataset, message = kinds(folder("b", object_xml()))
    assert dataset.report.counts == {"two images for one annotation": 1} and "JPEGImages/a.*" in message
    (root / "JPEGImages" / "a.jpg").unlink()
    assert VocFolder(root).file_name(0) == "a.PNG"


@pytest.mark.parametrize("stated", ["stored", "upright"])
def test_exif_orientation_follows_the_stated_size(folder, stated):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    size = (WIDTH, HEIGHT) if stated == "stored" else (HEIGHT, WIDTH)
    root = folder("a", object_xml(box=(1, 1, 8, 30)), size=size)
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:, :10] = 255  # a white stripe on the left, which is on top once turned
    Image.fromarray(pixels).save(root / "JPEGImages" / "a.jpg", exif=exif, quality=95)
    dataset = VocFolder(root)
    image = dataset.image(0)
    assert image.shape[:2] == dataset.size(0) == size[::-1]
    white = image[:, :5] if stated == "stored" else image[:5]
    assert white.mean() > 250 and image.mean() < 60
    assert bool(dataset.report.notes) == (stated == "upright")


def test_masks_keep_their_number_when_an_object_is_left_out(folder):
    root = folder("a", object_xml("cat"), object_xml("dog", (5, 5, 5, 5)), object_xml("cow", (31, 1, 40, 10)))
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[5:25, 10:30], numbers[4, 4], numbers[0:10, 30:40], numbers[30:] = 1, 2, 3, 255
    (root / "SegmentationObject").mkdir()
    picture = Image.fromarray(numbers)
    picture.putpalette(list(range(256)) * 3)
    picture.save(root / "SegmentationObject" / "a.png")
    dataset = VocFolder(root, strict=False)
    masks = dataset.target(0)["masks"]
    assert masks.shape == (2, HEIGHT, WIDTH) and masks.dtype == torch.bool
    assert masks[0].sum() == 400 and masks[1].sum() == 100 and masks[1, 0, 35]
    dataset.with_masks = False
    assert "masks" not in dataset.target(0)


@pytest.mark.parametrize(
    ("picture", "match"),
    [
        (Image.new("RGB", (WIDTH, HEIGHT)), "mode RGB"),
        (Image.new("L", (HEIGHT, WIDTH)), "40 x 60"),
        (Image.new("L", (WIDTH, HEIGHT), 7), "up to 7"),
    ],
)
def test_bad_masks(folder, picture, match):
    root = folder("a", object_xml())
    (root / "SegmentationObject").mkdir()
    picture.save(root / "SegmentationObject" / "a.png")
    with pytest.raises(DataError, match=match):
        VocFolder(root).target(0)
    (root / "SegmentationObject" / "a.png").write_text("no image")
    with pytest.raises(DataError, match="mask"):
        VocFolder(root).target(0)


def test_joints(folder):
    joints = '<joints><joint name="neck" x="12.3" y="45.6" v="2"/><joint name="l_knee" x="1.5" y="2" v="1"/>'
    joints += '<joint name="r_knee" x="9" y="9" v="0"/></joints>'
    folder("a", object_xml("cat"), object_xml("person", extra=joints))
    dataset = VocFolder(folder("b", object_xml("dog")))
    found = dataset.target(0)["joints"]
    assert found.shape == (2, len(JOINTS), 3) and found.dtype == torch.float32
    assert found[1, JOINTS.index("neck")].tolist() == pytest.approx([12.3, 45.6, 2])
    assert found[1, JOINTS.index("l_knee")].tolist() == [1.5, 2, 1]
    assert (found[..., 2] > 0).sum() == 2
    assert dataset.target(1)["joints"].shape == (1, len(JOINTS), 3)  # every image of the set has the key
    assert len(JOINTS) == 14 and {end for limb in LIMBS for end in limb} == set(JOINTS)


def test_no_voc_folder_at_all(tmp_path):
    with pytest.raises(DataError, match=r"VOC layout.*Annotations"):
        open_dataset(tmp_path)


def test_digest_changes_with_content_only(tmp_path, folder):
    root = folder("a", object_xml())
    first = VocFolder(root).digest
    assert re.fullmatch("[0-9a-f]{64}", first)
    moved = root.rename(tmp_path / "elsewhere")
    assert VocFolder(moved).digest == first
    path = moved / "Annotations" / "a.xml"
    path.write_text(path.read_text().replace("<xmin>11<", "<xmin>12<"))
    second = VocFolder(moved).digest
    Image.new("RGB", (WIDTH, HEIGHT)).save(moved / "JPEGImages" / "a.jpg")
    third = VocFolder(moved).digest
    write_masks(moved / "SegmentationObject" / "a.png", np.ones((1, HEIGHT, WIDTH)))
    dataset = VocFolder(moved)
    assert len({first, second, third, dataset.digest}) == 4
    assert dataset.with_masks  # asking for the digest leaves the setting alone


# writing


edges = st.tuples(*[st.integers(0, 1024 * 200)] * 4).filter(lambda e: abs(e[0] - e[2]) > 1024 < abs(e[1] - e[3]))
things = st.tuples(edges, st.integers(1, 3), st.booleans(), st.booleans(), st.booleans())


@settings(max_examples=60, deadline=None)
@given(objects=st.lists(things, max_size=8), whole=st.booleans())
def test_written_annotations_read_back_equal(tmp_path_factory, objects, whole):
    step = 1024 if whole else 1  # whole pixels, or 1/1024 of a pixel
    boxes = []
    for a, b, c, d in (thing[0] for thing in objects):
        x1, y1, x2, y2 = (value // step * step / 1024 for value in (min(a, c), min(b, d), max(a, c), max(b, d)))
        boxes.append([x1, y1, max(x2, x1 + 2), max(y2, y1 + 2)])
    target = make_target(
        boxes,
        [thing[1] for thing in objects],
        difficult=[thing[2] for thing in objects],
        truncated=[thing[3] for thing in objects],
        occluded=[thing[4] for thing in objects],
    )
    root = tmp_path_factory.mktemp("voc")
    (root / "JPEGImages").mkdir()
    Image.new("RGB", (202, 202)).save(root / "JPEGImages" / "x.jpg")
    classes = ("b", "a & <c>", "a")
    write_annotation(root / "Annotations" / "x.xml", "x", (202, 202), target, classes)
    read = VocFolder(root, classes=classes).target(0)
    assert set(read) == set(target)
    for key, value in target.items():
        assert torch.equal(read[key], value) and read[key].dtype == value.dtype, key


def test_writer_is_deterministic_and_reads_back_joints_and_masks(tmp_path):
    rng = np.random.default_rng(0)
    joints = np.zeros((2, 14, 3), np.float32)
    joints[1, :, :2] = rng.uniform(1, 30, (14, 2)).round(1)
    joints[1, :, 2] = rng.integers(1, 3, 14)
    masks = np.zeros((2, 40, 60), bool)
    masks[0, 5:25, 10:30], masks[1, 0:4, 0:9] = True, True
    target = make_target([[10, 5, 30, 25], [0, 0, 9, 4]], [1, 2], joints=joints, masks=masks)
    written = []
    for name in ("one", "two"):
        root = tmp_path / name
        Path(root / "JPEGImages").mkdir(parents=True)
        Image.new("RGB", (60, 40)).save(root / "JPEGImages" / "x.png")
        extra = {"seed": 3, "note": "a<b"}
        write_annotation(root / "Annotations" / "x.xml", "x", (40, 60), target, ("cat", "person"), extra=extra)
        write_masks(root / "SegmentationObject" / "x.png", target["masks"])
        write_imageset(root, "train", ["x"])
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.parent.name != "JPEGImages")
        assert [path.name for path in files] == [
            "x.xml",
            "train.txt",
            "x.png",
        ]  # and no temporary file beside them
        written.append([path.read_bytes() for path in files])
    assert written[0] == written[1]
    read = VocFolder(tmp_path / "one", "train").target(0)
    assert all(torch.equal(read[key], value) for key, value in target.items())
    with Image.open(tmp_path / "one" / "SegmentationObject" / "x.png") as picture:
        assert picture.mode == "P"
        colors = np.reshape(picture.getpalette(), (-1, 3))
    # VOC's published colours of the first classes and of the void
    assert colors[[0, 1, 2, 3, 8, 20, 255]].tolist() == [
        [0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [64, 0, 0], [0, 64, 128], [224, 224, 192],
    ]  # fmt: skip


@pytest.mark.parametrize("box", [[0, 0, 61, 9], [-1, 0, 9, 9], [0, 0, 1, 9], [9, 9, 3, 3], [float("nan"), 0, 9, 9]])
def test_writer_refuses_what_the_reader_would(tmp_path, box):
    with pytest.raises(DataError, match="object 1"):
        write_annotation(tmp_path / "x.xml", "x", (40, 60), make_target([box], [1]), ("cat",))
    assert not list(tmp_path.iterdir())


def test_writer_refuses_labels_and_masks_that_cannot_be(tmp_path):
    for label in (0, 2):
        with pytest.raises(DataError, match=f"label {label}"):
            write_annotation(tmp_path / "x.xml", "x", (40, 60), make_target([[0, 0, 9, 9]], [label]), ("cat",))
    with pytest.raises(DataError, match="share a pixel"):
        write_masks(tmp_path / "x.png", np.ones((2, 4, 4)))
    with pytest.raises(DataError, match="254"):
        write_masks(tmp_path / "x.png", np.zeros((255, 4, 4)))


def test_target_wants_one_entry_per_object():
    with pytest.raises(DataError, match="lengths differ"):
        make_target([[0, 0, 1, 1]], [1, 2])


# VOC itself


def test_voc_without_network_names_files_checksums_and_place(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))

    def no_network(*arguments, **keywords):
        raise URLError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.voc.download_and_extract_archive", no_network)
    for split, file in ((None, "VOCtrainval_06-Nov-2007.tar"), ("test", "VOCtest_06-Nov-2007.tar")):
        with pytest.raises(CourseError) as caught:
            open_dataset("voc2007", split)
        message = str(caught.value)
        assert str(tmp_path / file) in message and "Name or service not known" in message
        assert str(tmp_path / "VOCdevkit" / "VOC2007") in message
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    assert DATASET_YEAR_DICT["2007-test"]["md5"] in message
    # a damaged file that was put there is told apart from a missing one
    (tmp_path / file).write_bytes(b"half a tar")
    with pytest.raises(CourseError, match="damaged or incomplete"):
        open_dataset("voc2007", "test")
    with pytest.raises(DataError, match="no split 'tset'"):
        open_dataset("voc2007", "tset")


def test_voc_in_its_place_is_read_without_download(tmp_path, monkeypatch, folder):
    root = folder("000001", object_xml("dog"))
    write_imageset(root, "trainval", ["000001"])
    (tmp_path / "VOCdevkit").mkdir()
    root.rename(tmp_path / "VOCdevkit" / "VOC2007")
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    dataset = open_dataset("voc2007")
    assert dataset.split == "trainval" and dataset.classes == VOC_CLASSES
    assert dataset.target(0)["labels"].tolist() == [VOC_CLASSES.index("dog") + 1]


# real data


def regex_objects(path):
    """A reader that knows nothing of XML: names, corners and difficult flags by regular expression."""
    text = path.read_text()
    objects = []
    for block in re.findall(r"<object>(.*?)</object>", text, re.S):
        name = re.search(r"<name>\s*(.*?)\s*</name>", block)[1]
        corners = [int(re.search(rf"<{key}>\s*(\d+)\s*</{key}>", block)[1]) for key in ("xmin", "ymin", "xmax", "ymax")]
        objects.append((name, *corners, "<difficult>1</difficult>" in block))
    return objects


@pytest.mark.parametrize(
    ("name", "images", "objects", "faults"), [("voc2012_animals_train", 597, 1466, 0), ("bccd", 364, 4888, 2)]
)
def test_real_folders_read_whole(shared, name, images, objects, faults):
    root = shared / "data" / name
    dataset = open_dataset(root, strict=False)  # decodes every image
    assert len(dataset) == images and sum(dataset.report.counts.values()) == faults
    total = 0
    for i, image_id in enumerate(dataset.ids):
        target = dataset.target(i)
        found = [
            (dataset.classes[label - 1], round(x1) + 1, round(y1) + 1, round(x2), round(y2), difficult)
            for label, (x1, y1, x2, y2), difficult in zip(
                target["labels"].tolist(), target["boxes"].tolist(), target["difficult"].tolist()
            )
        ]
        expected = regex_objects(root / "Annotations" / f"{image_id}.xml")
        total += len(expected)
        assert found == [thing for thing in expected if thing[1] < thing[3] and thing[2] < thing[4]], image_id
    assert total == objects


def test_bccd_names_its_two_zero_size_boxes(shared):
    with pytest.raises(DataError) as caught:
        open_dataset(shared / "data" / "bccd")
    message = str(caught.value)
    assert "BloodImage_00338.xml" in message and "BloodImage_00343.xml" in message and "strict=False" in message
    dataset = open_dataset(shared / "data" / "bccd", strict=False)
    assert dataset.report.counts == {"zero-size or inverted box": 2}
    labels = torch.cat([dataset.target(i)["labels"] for i in range(len(dataset))])
    counts = dict(zip(dataset.classes, torch.bincount(labels).tolist()[1:]))
    assert counts == {"Platelets": 361, "RBC": 4155 - 2, "WBC": 372}
    sizes = [len(open_dataset(shared / "data" / "bccd", split, strict=False)) for split in ("train", "val", "test")]
    assert sizes == [205, 87, 72]


def test_splits_of_the_animals_are_disjoint_and_fast_to_open(shared):
    root = shared / "data" / "voc2012_animals_train"
    start = time.perf_counter()
    fit, holdout = open_dataset(root, "fit"), open_dataset(root, "holdout")
    print(f"two splits opened in {time.perf_counter() - start:.2f} s")
    assert len(fit) == 368 and len(holdout) == 185 and not set(fit.ids) & set(holdout.ids)
    assert fit.classes == holdout.classes
