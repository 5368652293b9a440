"""``course train``, ``evaluate`` and ``detect``, end to end on a small VOC folder and on real photographs."""

import json
from argparse import Namespace

import numpy as np
import pytest
from PIL import Image
from tiny_voc import write_tiny_voc

from course_utils import cli
from course_utils.commands.systems import settings
from course_utils.errors import CourseError

KEYS = {"task", "system", "data", "split", "n_images", "classes", "seconds_per_image", "metrics", "command"}


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COURSE_STATIC", "1")  # no progress bars


@pytest.fixture
def folder(tmp_path):
    return str(write_tiny_voc(tmp_path / "voc", {"train": 12, "test": 6}))


def run(capsys, *argv):
    assert cli.main(list(argv)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("system", ["mean_box", "random_boxes"])
def test_train_evaluate_detect(system, folder, tmp_path, capsys):
    out = tmp_path / "own" / "parameters"
    trained = json.loads(run(capsys, "train", system, "--data", folder, "--out", str(out), "--json"))
    assert set(trained) >= KEYS and trained["n_images"] == 12 and trained["split"] == "train" and out.is_file()

    found = json.loads(run(capsys, "evaluate", system, "--data", folder, "--json"))
    assert set(found) >= KEYS
    assert found["task"] == "detection" and found["system"] == system and found["split"] == "test"
    assert found["n_images"] == 6 and found["classes"] == ["cat", "dog", "duck"]
    assert set(found["metrics"]) == {"AP50", "n", "mAP", "mAP_classes", "COCO", "mAP_interval"}
    assert found["metrics"]["mAP"] is None  # no class has 30 objects
    assert found["learned_from_too"] == 0 and found["seconds_per_image"] > 0
    from_file = json.loads(
        run(capsys, "evaluate", system, "--data", folder, "--split", "test", "--parameters", str(out), "--json")
    )
    assert from_file["key"] == found["key"] and from_file["metrics"] == found["metrics"]
    assert run(capsys, "evaluate", system, "--data", folder).startswith(f"{system} on voc/test: 6 images")

    photo, picture = tmp_path / "photo.png", tmp_path / "drawn" / "found.png"
    Image.fromarray(np.zeros((50, 80, 3), np.uint8)).save(photo)
    seen = json.loads(
        run(capsys, "detect", system, str(photo), "--data", folder, "--out", str(picture), "--top", "2", "--json")
    )
    assert set(seen) >= KEYS and len(seen["detections"]) == 2
    assert set(seen["detections"][0]) == {"class", "score", "box"}
    assert Image.open(picture).size[0] > 300
    assert len(run(capsys, "detect", system, str(photo), "--parameters", str(out), "--top", "3").splitlines()) == 4


def test_fit_and_holdout_are_taken_before_the_list_that_holds_both(tmp_path, capsys):
    root = write_tiny_voc(tmp_path / "voc", {"fit": 8, "holdout": 5})
    names = [(root / "ImageSets" / "Main" / f"{part}.txt").read_text() for part in ("fit", "holdout")]
    (root / "ImageSets" / "Main" / "train.txt").write_text("".join(names))
    found = json.loads(run(capsys, "evaluate", "mean_box", "--data", str(root), "--json"))
    assert found["split"] == "holdout" and found["trained_on"]["split"] == "fit" and found["learned_from_too"] == 0
    leaky = run(capsys, "evaluate", "mean_box", "--data", str(root), "--train-split", "train")
    assert "trained on 5 of these images" in leaky


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate", "mean_box", "--data", "no_such_data"], "no data set 'no_such_data'"),
        (["evaluate", "mean_box", "--data", "FOLDER", "--split", "dev"], "dev"),
        (
            ["train", "mean_box", "--data", "ODD"],
            "has the parts odd and none of fit, train, trainval; choose one with --split",
        ),
        (["detect", "mean_box", "no_photo.jpg"], "no_photo.jpg cannot be read"),
        (["evaluate", "mean_box", "--data", "FOLDER", "--parameters", "nothing"], "nothing"),
        (["evaluate", "mean_box", "--data", "FOLDER", "--parameters", "p", "--seed", "1"], "leave out --seed"),
        (["evaluate", "mean_box", "--data", "FOLDER", "--parameters", "p", "--train-split", "x"], "--train-split"),
        (["detect", "mean_box", "no_photo.jpg", "--data", "FOLDER", "--parameters", "p"], "leave out --data"),
        (["detect", "mean_box", "no_photo.jpg", "--out", "found.xyz"], "found.xyz: wanted a file that ends in"),
    ],
)
def test_wrong_input_is_one_clear_error(argv, message, folder, tmp_path, capsys):
    odd = write_tiny_voc(tmp_path / "odd_voc", {"odd": 3})
    argv = [{"FOLDER": folder, "ODD": str(odd)}.get(word, word) for word in argv]
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("course: ") and message in err and "Traceback" not in err


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--seed", "x"], ["--top", "-1"]])
def test_numbers_are_checked(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["detect", "mean_box", "photo.jpg", *words])
    assert stop.value.code == 2 and "wanted a whole number from 0" in capsys.readouterr().err


def test_a_very_long_photograph_is_drawn_small(folder, tmp_path, capsys):
    Image.fromarray(np.zeros((4000, 1, 3), np.uint8)).save(tmp_path / "line.png")
    run(capsys, "detect", "mean_box", str(tmp_path / "line.png"), "--data", folder, "--out", str(tmp_path / "o.png"))
    assert max(Image.open(tmp_path / "o.png").size) < 2000


def test_parameters_of_another_system_are_refused(folder, tmp_path, capsys):
    run(capsys, "train", "mean_box", "--data", folder, "--out", str(tmp_path / "p"))
    assert cli.main(["evaluate", "random_boxes", "--data", folder, "--parameters", str(tmp_path / "p")]) == 2
    assert "holds a mean_box, not a random_boxes" in capsys.readouterr().err


def test_real_photographs(shared, capsys):
    folder = str(shared / "data" / "voc2012_animals_train")
    found = json.loads(run(capsys, "evaluate", "mean_box", "--data", folder, "--split", "holdout", "--json"))
    assert found["n_images"] == 185 and found["trained_on"]["split"] == "fit" and found["learned_from_too"] == 0
    assert set(found["metrics"]["mAP_classes"]) == {"cat", "cow", "dog", "horse", "person", "sheep"}
    low, high = found["metrics"]["mAP_interval"]
    assert 0 <= low < found["metrics"]["mAP"] < high < 0.2  # it has not looked at a single picture


def test_any_setting_of_a_system_can_be_given_and_none_that_it_has_not():
    def of(*texts):
        return settings(Namespace(system="dpm", seed=None, set=list(texts)), ("seed",))

    assert of("parts=6", "mirrored=false", 'only=["cat"]', "C=0.1") == {
        "parts": 6, "mirrored": False, "only": ["cat"], "C": 0.1,
    }  # fmt: skip
    assert settings(Namespace(system="localization", set=["weights=a/b.npz"]), ()) == {"weights": "a/b.npz"}
    for wrong in ("part=6", "parts", "parts="):
        with pytest.raises(CourseError, match=r"--set part.*wanted NAME=VALUE, .* aspects, mirrored, parts"):
            of(wrong)
    with pytest.raises(CourseError, match="dpm has no setting 'epochs'; leave out --epochs"):
        settings(Namespace(system="dpm", epochs=3, set=[]), ("epochs",))
