"""ToyVOC on disk: drawn once, whole or mended, the same bytes every time; and ``course data``."""

import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from course_utils import cli
from course_utils.datasets import open_dataset, toyvoc
from course_utils.datasets.toyvoc import WORLDS, Recipe, draw, ensure, verify
from course_utils.datasets.voc import VocFolder
from course_utils.errors import CourseError, DataError

# The split names stay, so that a worker process, which knows the real worlds, draws the same scenes.
REAL = dict(WORLDS)  # before the fixture makes them tiny
TINY = {
    "toyvoc": replace(
        REAL["toyvoc"],
        splits={"train": 6, "val": 3, "test": 3},
        part_lists={"small_train": ("train", 2), "small_test": ("val", 1)},
    ),
    "toynet": replace(REAL["toynet"], splits={"train": 4, "val": 2}),
}
SMALL = Recipe(size=96)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch, tmp_path):
    """Tiny worlds, drawn in this process, and no way to the real data folder."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    for name, world in TINY.items():
        monkeypatch.setitem(WORLDS, name, world)
    monkeypatch.setattr(toyvoc, "Parallel", lambda **options: joblib.Parallel(n_jobs=1, return_as="generator"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """All lists of the tiny ToyVOC, undisturbed. Do not write into it."""
    root = tmp_path_factory.mktemp("drawn") / "toys"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WORLDS, "toyvoc", TINY["toyvoc"])
        return ensure(recipe=SMALL, root=root)  # in worker processes, as a student's machine does it


@pytest.fixture
def folder(drawn, tmp_path):
    return shutil.copytree(drawn, tmp_path / "toys")


def files(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def times(root):
    return {p.relative_to(root).as_posix(): p.stat().st_mtime_ns for p in root.rglob("*")}


def redrawn(monkeypatch):
    """The ids that are drawn from now on."""
    ids, real = [], toyvoc.draw
    monkeypatch.setattr(toyvoc, "draw", lambda recipe, image_id: ids.append(image_id) or real(recipe, image_id))
    return ids


# --- what stands there ---


def test_layout(drawn):
    lists = TINY["toyvoc"].lists()
    scenes = sorted(lists["train"] + lists["val"] + lists["test"])
    assert len(scenes) == 12
    for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml"), ("SegmentationObject", ".png")):
        assert sorted(p.name for p in (drawn / folder).iterdir()) == [i + suffix for i in scenes]
    assert {p.name for p in drawn.iterdir() if p.is_file()} == {"classes.txt", "toyvoc.json", "checksums.json"}
    assert (drawn / "classes.txt").read_text().split() == list(toyvoc.CLASSES)
    for name, ids in lists.items():
        assert (drawn / "ImageSets" / "Main" / f"{name}.txt").read_text().split() == ids
    assert verify(drawn) == {name: [] for name in lists}


@pytest.mark.parametrize("name", ["train", "val", "test", "small_train", "small_test"])
def test_voc_folder_reads_the_scenes_back(drawn, name):
    dataset = VocFolder(drawn, name)
    assert dataset.classes == toyvoc.CLASSES and not dataset.report.notes
    joints = 0
    for image_id, (image, target) in zip(dataset.ids, dataset, strict=True):
        scene = draw(SMALL, image_id)
        assert np.abs(image.astype(int) - scene.image).mean() < 10, "JPEG changes noise, but not that much"
        np.testing.assert_array_equal(target["boxes"], scene.boxes)
        np.testing.assert_array_equal(target["labels"], scene.labels)
        for flag in ("difficult", "truncated", "occluded"):
            np.testing.assert_array_equal(target[flag], getattr(scene, flag))
        np.testing.assert_array_equal(target["masks"], scene.masks)
        if "joints" in target:
            np.testing.assert_array_equal(target["joints"][..., 2], scene.joints[..., 2])
            np.testing.assert_allclose(target["joints"], scene.joints, atol=0.051)
        else:
            assert not scene.joints.any()
        joints += int((scene.joints[..., 2] > 0).sum())
    assert joints or name != "train"


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # inside pycocotools
@pytest.mark.parametrize("name", ["train", "test", "small_test"])
def test_coco_json_says_the_same(drawn, name):
    path = drawn / "coco" / f"{name}.json"
    dataset, coco = VocFolder(drawn, name), COCO(str(path))
    assert [coco.cats[k]["name"] for k in sorted(coco.cats)] == list(dataset.classes)
    assert [coco.imgs[k]["file_name"] for k in sorted(coco.imgs)] == [f"{i}.jpg" for i in dataset.ids]
    for i, target in enumerate(dataset.target(k) for k in range(len(dataset))):
        found = coco.loadAnns(coco.getAnnIds(imgIds=[i + 1]))
        boxes = np.array([a["bbox"] for a in found])
        np.testing.assert_array_equal(np.hstack([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]]), target["boxes"])
        assert [a["category_id"] for a in found] == target["labels"].tolist()
        np.testing.assert_array_equal([rle.decode(a["segmentation"]) for a in found], target["masks"])
        joints = target["joints"][..., 2] if "joints" in target else np.zeros((len(found), 14))
        assert [a.get("num_keypoints", 0) for a in found] == (joints > 0).sum(1).tolist()
    image, target = open_dataset(path)[0]
    np.testing.assert_array_equal(image, dataset.image(0))
    np.testing.assert_array_equal(target["boxes"], dataset.target(0)["boxes"])


def test_toynet_has_one_object_a_scene(tmp_path):
    root = ensure(recipe=Recipe("toynet", size=96), root=tmp_path / "net")
    for split, n in TINY["toynet"].splits.items():
        dataset = VocFolder(root, split)
        assert dataset.classes == toyvoc.NET_CLASSES and len(dataset) == n
        assert [len(dataset.target(i)["labels"]) for i in range(n)] == [1] * n


def test_lists_of_the_real_worlds():
    for classes, least in ((toyvoc.CLASSES, 10), (toyvoc.NET_CLASSES, 20)):
        assert list(classes) == sorted(set(classes)) and len(classes) >= least
    lists = REAL["toyvoc"].lists()
    assert {name: len(ids) for name, ids in lists.items()} == {
        "train": 1200, "val": 200, "test": 400, "small_train": 300, "small_test": 100,
    }  # fmt: skip
    assert set(lists["small_train"]) < set(lists["train"])
    assert set(lists["small_test"]) < set(lists["val"]), "playing with the small set must not spend the test set"
    for world in REAL.values():
        splits = [set(world.lists()[split]) for split in world.splits]
        assert sum(map(len, splits)) == len(set().union(*splits))


def test_open_by_name(tmp_path):
    dataset = open_dataset("toyvoc-small", "test")
    assert (dataset.name, dataset.split, len(dataset)) == ("toyvoc-small", "test", 1)
    assert dataset.root == tmp_path / "data" / "toyvoc" and dataset.image(0).shape == (256, 256, 3)
    assert set(dataset.ids) < set(TINY["toyvoc"].lists()["val"])
    assert not list((dataset.root / "JPEGImages").glob("t*")), "only what was asked for is drawn"
    assert len(open_dataset("toyvoc", "val")) == 3
    assert len(open_dataset("toynet", "val")) == 2
    for name, bad, known in (
        ("toyvoc", None, "train, val, test"),
        ("toyvoc-small", "val", "train, test"),
        ("toynet", "small_train", "train, val"),
    ):
        with pytest.raises(CourseError, match=f"{name} has the splits {known}; asked for {bad}"):
            open_dataset(name, bad)


# --- the same again ---


def test_second_call_changes_nothing(folder, monkeypatch):
    ids, before = redrawn(monkeypatch), times(folder)
    assert ensure(recipe=SMALL, root=folder) == folder
    assert ensure(["small_train"], SMALL, folder) == folder
    assert not ids and times(folder) == before


def test_a_scene_depends_on_seed_split_and_number_only(drawn, tmp_path):
    again = ensure(["small_test", "test"], SMALL, tmp_path / "part")
    for name, content in files(again).items():
        if name != "checksums.json":
            assert files(drawn)[name] == content, name
    other = ensure(["small_test"], Recipe(size=96, seed=7), tmp_path / "other")
    assert files(other)["JPEGImages/val_000000.jpg"] != files(drawn)["JPEGImages/val_000000.jpg"]
    # no scene stands twice, not even over another background
    assert len({content for name, content in files(drawn).items() if name.endswith(".png")}) == 12


def test_parts_made_one_after_the_other_are_the_whole(drawn, tmp_path):
    for name in ("small_train", "val", "train", "small_test", "test"):
        ensure([name], SMALL, tmp_path / "toys")
    assert files(tmp_path / "toys") == files(drawn)


# --- damage ---


def edit(path, change):
    path.write_bytes(change(path.read_bytes()))


def flip(content, place=0.5):
    k = int(place * len(content))
    return content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :]


DAMAGE = {
    "no picture": lambda r: (r / "JPEGImages/train_000001.jpg").unlink(),
    "no masks": lambda r: (r / "SegmentationObject/train_000001.png").unlink(),
    "no annotation": lambda r: (r / "Annotations/train_000001.xml").unlink(),
    "no scene": lambda r: [p.unlink() for p in r.glob("*/train_000001.*")],
    "truncated masks": lambda r: edit(r / "SegmentationObject/train_000001.png", lambda c: c[: len(c) // 2]),
    "empty picture": lambda r: edit(r / "JPEGImages/train_000001.jpg", lambda c: b""),
    "flipped byte": lambda r: edit(r / "Annotations/train_000001.xml", flip),
    "wrong picture": lambda r: shutil.copy(r / "JPEGImages/train_000002.jpg", r / "JPEGImages/train_000001.jpg"),
    "files swapped": lambda r: (r / "JPEGImages/train_000001.jpg").write_bytes(
        (r / "Annotations/train_000001.xml").read_bytes()
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_noticed_and_mended(drawn, folder, monkeypatch, kind):
    DAMAGE[kind](folder)
    assert {name: ids for name, ids in verify(folder).items() if ids} == {
        "train": ["train_000001"], "small_train": ["train_000001"],
    }  # fmt: skip
    ids = redrawn(monkeypatch)
    ensure(recipe=SMALL, root=folder)
    assert ids == ["train_000001"] and files(folder) == files(drawn)
    assert not any(verify(folder).values())


@pytest.mark.parametrize("record", [b"", b"{}", b"[]", b"null", b'{"train_000001": "', b"\xff\xfe", b"[1, 2]", None])
def test_a_lost_record_is_noticed_and_mended(drawn, folder, record):
    path = folder / "checksums.json"
    path.unlink() if record is None else path.write_bytes(record)
    assert all(verify(folder).values())
    ensure(recipe=SMALL, root=folder)
    assert files(folder) == files(drawn) and not any(verify(folder).values())


@pytest.mark.parametrize("record", [b"", b"{}", b"[]"])
def test_a_damaged_record_does_not_excuse_a_damaged_scene(drawn, folder, record):
    (folder / "checksums.json").write_bytes(record)
    DAMAGE["truncated masks"](folder)
    DAMAGE["empty picture"](folder)
    ensure(recipe=SMALL, root=folder)
    assert files(folder) == files(drawn)


def test_verify_without_a_record_tells_of_missing_scenes(folder):
    """A scene that neither stands nor is recorded must not pass for whole."""
    record = json.loads((folder / "checksums.json").read_text())
    for value in ("absent", None):
        changed = {k: v for k, v in record.items() if k != "test_000002"} | ({} if value else {"test_000002": None})
        (folder / "checksums.json").write_text(json.dumps(changed))
        for path in folder.glob("*/test_000002.*"):
            path.unlink()
        assert verify(folder)["test"] == ["test_000002"]
        ensure(["test"], SMALL, folder)
        assert not verify(folder)["test"]


@pytest.mark.parametrize("name", ["coco/train.json", "ImageSets/Main/train.txt", "classes.txt"])
@pytest.mark.parametrize("change", [None, lambda c: c[: len(c) // 2], flip, lambda c: b"\xff" + c])
def test_lists_and_coco_files_are_mended(drawn, folder, name, change):
    path = folder / name
    path.unlink() if change is None else edit(path, change)
    if name.startswith("coco"):
        assert verify(folder)["train"] == [name]
    ensure(recipe=SMALL, root=folder)
    assert files(folder) == files(drawn)


# --- interruption, company, other owners ---

SCRIPT = """
import sys, time, joblib
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_toyvoc
from course_utils.datasets import toyvoc
toyvoc.WORLDS["toyvoc"] = test_toyvoc.TINY["toyvoc"]
toyvoc.Parallel = lambda **options: joblib.Parallel(n_jobs=1, return_as="generator")
scenes, write_masks = [], toyvoc.write_masks
def write_and_stop(path, masks):
    scenes.append(path)
    if len(scenes) == int(sys.argv[3]):
        print("stopped", flush=True)
        time.sleep(600)
    write_masks(path, masks)
toyvoc.write_masks = write_and_stop
print("ready", flush=True)
sys.stdin.readline()
toyvoc.ensure(recipe=test_toyvoc.SMALL, root=Path(sys.argv[2]))
"""


def start(root, stop_in=0, hash_seed=0):
    """A process that waits for a line, then draws into *root* and stops in the middle of the *stop_in*-th scene."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(root), str(stop_in)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"COURSE_STATIC": "1", "PYTHONHASHSEED": str(hash_seed)},
    )  # fmt: skip


def go(*processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def test_killed_in_the_middle_it_goes_on_where_it_stopped(drawn, tmp_path, monkeypatch):
    root = tmp_path / "toys"
    process = start(root, stop_in=4)
    go(process)
    assert process.stdout.readline() == "stopped\n"
    process.kill()
    process.communicate()
    (root / "JPEGImages" / ".test_000000.jpg.k3x").write_bytes(b"half a file")  # as atomic_write leaves it
    with pytest.raises(DataError, match="never finished"):
        verify(root)
    done = {p.stem for p in root.glob("Annotations/*.xml")}
    assert len(done) == 3 and len(list(root.glob("JPEGImages/t*.jpg"))) == 4
    ids = redrawn(monkeypatch)
    ensure(recipe=SMALL, root=root)
    assert done.isdisjoint(ids) and len(ids) == 9
    left = {name: content for name, content in files(root).items() if not Path(name).name.startswith(".")}
    assert left == files(drawn) and not any(verify(root).values())
    VocFolder(root, "train")


def test_interrupted_at_any_step(drawn, tmp_path, monkeypatch):
    """Stop after the k-th file was put in place, for every k: the next call ends with the same bytes."""
    real, count = os.replace, [0]

    class Stop(BaseException):
        pass

    def counted(source, target):
        count[0] -= 1
        if count[0] < 0:
            raise Stop
        real(source, target)

    monkeypatch.setattr(toyvoc, "draw", functools.cache(draw))
    for steps in range(len(files(drawn))):
        root = tmp_path / f"toys{steps}"
        count[0] = steps
        with monkeypatch.context() as patch, pytest.raises(Stop):
            patch.setattr(os, "replace", counted)
            ensure(recipe=SMALL, root=root)
        ensure(recipe=SMALL, root=root)
        assert files(root) == files(drawn), steps


def test_two_at_once_end_whole(drawn, tmp_path):
    """And in processes of their own, with another order of sets and dictionaries, the pixels are the same."""
    root = tmp_path / "toys"
    both = [start(root, hash_seed=1), start(root, hash_seed=2)]
    go(*both)
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert files(root) == files(drawn)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Recipe(size=96, seed=7), "seed 2016"),
        (Recipe(size=128), "size 96"),
        (Recipe(size=96, difficulty=0.5), "difficulty 1.0"),
        (Recipe(size=96, quarters=2), "quarters 0"),
        (Recipe(size=96, classes=("cat", "dog")), "classes"),
        (Recipe("toynet", size=96), "world toyvoc"),
    ],
)
def test_another_recipe_is_refused(drawn, folder, other, told):
    with pytest.raises(DataError) as error:
        ensure(recipe=other, root=folder)
    assert told in str(error.value) and str(folder) in str(error.value) and "--out" in str(error.value)
    for name in ("world", "seed", "size", "difficulty", "quarters"):
        same = getattr(other, name) == getattr(SMALL, name)
        assert (f"{name} " in str(error.value).split("(")[1].split(")")[0]) == (not same)
    assert files(folder) == files(drawn)


@pytest.mark.parametrize("as_file", [False, True])
def test_a_foreign_folder_is_not_touched(tmp_path, as_file):
    root = tmp_path / "thesis"
    if as_file:
        root.write_text("forty pages")
    else:
        (root / "Annotations").mkdir(parents=True)
        (root / "Annotations" / "mine.xml").write_text("forty pages")
    before = files(tmp_path)
    with pytest.raises(DataError, match=r"no ToyVOC folder.*--out"):
        ensure(recipe=SMALL, root=root)
    with pytest.raises(DataError, match="holds no ToyVOC"):
        verify(root)
    assert files(tmp_path) == before


def test_an_empty_folder_is_welcome(drawn, tmp_path):
    root = tmp_path / "toys"
    root.mkdir()
    ensure(recipe=SMALL, root=root)
    assert files(root) == files(drawn)


@pytest.mark.parametrize("stamp", ["older", "field gone", "broken", "no object", "no text"])
def test_scenes_of_another_renderer_are_replaced(drawn, folder, monkeypatch, stamp):
    path = folder / "toyvoc.json"
    made = json.loads(path.read_text())
    path.write_bytes({
        "older": json.dumps(made | {"version": 0}).encode(),
        "field gone": json.dumps(made | {"version": 0, "fog": 3}).encode(),
        "broken": b'{"world": "toy',
        "no object": b"[]",
        "no text": b"\xff\xfe",
    }[stamp])  # fmt: skip
    # what an older renderer drew, well recorded
    edit(folder / "coco/small_train.json", lambda c: c.replace(b'"iscrowd":0', b'"iscrowd":1'))
    edit(folder / "Annotations/train_000000.xml", lambda c: c.replace(b"<difficult>0", b"<difficult>1"))
    ids = redrawn(monkeypatch)
    ensure(["train"], SMALL, folder)
    assert ids == TINY["toyvoc"].lists()["train"]
    assert set(verify(folder)) == {"train"}, "the other lists are not there yet"
    ensure(["small_train"], SMALL, folder)
    assert (folder / "coco/small_train.json").read_bytes() == (drawn / "coco/small_train.json").read_bytes()
    ensure(recipe=SMALL, root=folder)
    assert files(folder) == files(drawn)


def test_the_stamp_follows_version_and_recipe(monkeypatch):
    before = toyvoc._stamp(SMALL)
    assert toyvoc._stamp(Recipe(size=100)) != toyvoc._stamp(SMALL)
    monkeypatch.setattr(toyvoc, "VERSION", toyvoc.VERSION + 1)
    assert toyvoc._stamp(SMALL) != before


# --- recipes ---


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"world": "toycoco"}, "toyvoc, toynet; asked for toycoco"),
        ({"seed": -1}, "from 0 on; asked for -1"),
        ({"size": 95}, "96 to 1024 pixels a side; asked for 95"),
        ({"size": 1025}, "96 to 1024 pixels a side; asked for 1025"),
        ({"difficulty": -0.1}, "from 0 to 2; asked for -0.1"),
        ({"difficulty": 2.1}, "from 0 to 2; asked for 2.1"),
        ({"difficulty": float("nan")}, "from 0 to 2; asked for nan"),
        ({"classes": ()}, "asked for none"),
        ({"classes": ("cat", "mug")}, "bus, car, cat, .* asked for cat, mug"),
        ({"classes": ("cat", "cat")}, "each to be named once; asked for cat, cat"),
        ({"world": "toynet", "classes": ("cat",)}, "aeroplane, boat, .* asked for cat"),
        ({"quarters": 4}, "0 to 3; asked for 4"),
        ({"quarters": -1}, "0 to 3; asked for -1"),
    ],
)
def test_bad_recipes(wrong, expected):
    with pytest.raises(CourseError, match=expected) as error:
        Recipe(**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "right", [{"size": 96}, {"size": 1024}, {"difficulty": 0}, {"difficulty": 2}, {"seed": 0}, {"quarters": 3}]
)
def test_good_recipes(right):
    assert Recipe(**right).classes == toyvoc.CLASSES


def test_a_variant(tmp_path):
    root = ensure(["val"], Recipe(seed=3, size=100, difficulty=1.5, classes=("cat", "dog")), tmp_path / "pets")
    dataset = VocFolder(root, "val")
    assert dataset.classes == ("cat", "dog") and dataset.size(0) == (100, 100)
    assert set(np.concatenate([dataset.target(i)["labels"] for i in range(3)])) <= {1, 2}


# --- course data ---


def course(capsys, *argv):
    code = cli.main(["data", *map(str, argv)])
    out = capsys.readouterr()
    return code, out.out, out.err


def test_course_data_makes_and_verifies(tmp_path, capsys, monkeypatch):
    code, out, err = course(capsys, "--verify")
    assert code == 2 and "course data" in err
    code, out, _ = course(capsys)
    root = tmp_path / "data" / "toyvoc"
    assert code == 0 and out.startswith(f"{root}: train 6, val 3, test 3, small_train 2, small_test 1")
    assert Image.open(io.BytesIO((root / "JPEGImages/train_000000.jpg").read_bytes())).size == (256, 256)
    code, out, _ = course(capsys, "--verify")
    assert code == 0 and out.count("whole") == 5
    DAMAGE["no picture"](root)
    code, out, _ = course(capsys, "--verify")
    assert code == 1 and out.count("whole") == 3
    assert re.search(r"^train +1 damaged or missing: train_000001$", out, re.M) and "Mend it with: course data" in out
    code, out, _ = course(capsys, "--verify", "--json")
    assert code == 1 and json.loads(out)["train"] == ["train_000001"] == json.loads(out)["small_train"]
    code, out, _ = course(capsys, "--json")
    told = json.loads(out)
    assert code == 0 and told["folder"] == str(root) and told["lists"]["train"] == 6 and told["seconds"] >= 0
    code, out, _ = course(capsys, "--verify", "--json")
    assert code == 0 and not any(json.loads(out).values())


def test_course_data_makes_variants_elsewhere_only(tmp_path, capsys):
    for option in (["--seed", 7], ["--size", 128], ["--difficulty", 0.5], ["--classes", "cat"], ["--quarters", 1]):
        code, _, err = course(capsys, *option)
        assert code == 2 and "--out FOLDER" in err
    assert not (tmp_path / "data").exists()
    out = tmp_path / "pets"
    code, _, _ = course(capsys, "--out", out, "--size", 96, "--classes", "dog", "cat", "--seed", 7)
    assert code == 0 and (out / "classes.txt").read_text().split() == ["cat", "dog"]
    code, _, err = course(capsys, "--out", out, "--size", 96, "--classes", "dog", "cat", "--seed", 8)
    assert code == 2 and "seed 7" in err
    assert course(capsys, "--out", out, "--verify")[0] == 0
    code, _, err = course(capsys, "--out", tmp_path / "x", "--classes", "mug")
    assert code == 2 and "asked for mug" in err and not (tmp_path / "x").exists()


def test_course_data_knows_toynet(tmp_path, capsys):
    code, out, _ = course(capsys, "--world", "toynet")
    assert code == 0 and out.startswith(f"{tmp_path / 'data' / 'toynet'}: train 4, val 2")
    assert not (tmp_path / "data" / "toyvoc").exists()


def test_a_folder_that_another_process_claims_meanwhile_is_not_foreign(tmp_path, monkeypatch):
    root, recipe, look = tmp_path / "toys", toyvoc.Recipe(), Path.iterdir
    root.mkdir()

    def look_a_moment_too_late(folder):
        if folder == root and not (root / "toyvoc.json").exists():
            (root / "toyvoc.json").write_text(toyvoc._stamp(recipe))
            (root / "classes.txt").write_text("")
        return look(folder)

    monkeypatch.setattr(Path, "iterdir", look_a_moment_too_late)
    toyvoc._claim(root, recipe)
    assert tuple((root / "classes.txt").read_text().split()) == recipe.classes
