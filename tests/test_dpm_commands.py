"""``course detect dpm --model`` and ``course evaluate dpm --model``: the authors' models from the command line."""

import json

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from release5_file import small_model, write_model
from tiny_voc import write_tiny_voc

from course_utils import cli
from course_utils.detectors import load_detector
from course_utils.detectors.dpm import Dpm
from course_utils.dpm.inference import detect_mixtures
from course_utils.dpm.release5 import read_release5
from course_utils.errors import DataError


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("COURSE_STATIC", "1")  # no progress bars


@pytest.fixture
def files(tmp_path):
    """Two models, of a cat and of a dog, that find something somewhere."""
    out = []
    for seed, name in enumerate(("cat", "dog")):
        model = small_model(seed)
        out.append(str(write_model(tmp_path / f"{name}_final.mat", model | {"class": name, "thresh": 2.0})))
    return out


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(skimage.data.astronaut()[:160, 100:320]).save(path)
    return path


def run(capsys, *argv):
    assert cli.main(list(argv)) == 0
    return capsys.readouterr().out


def test_detect_with_models(files, photo, tmp_path, capsys):
    words = [word for path in files for word in ("--model", path)]
    picture = tmp_path / "found.png"
    found = json.loads(run(capsys, "detect", "dpm", *words, str(photo), "--top", "5", "--out", str(picture), "--json"))
    assert found["classes"] == ["cat", "dog"] and len(found["detections"]) == 5 and picture.is_file()
    mixtures = {label: read_release5(path)[1] for label, path in enumerate(files, 1)}
    wanted = detect_mixtures(mixtures, np.asarray(Image.open(photo)))
    assert [one["score"] for one in found["detections"]] == pytest.approx(wanted["scores"][:5].tolist())
    assert [one["class"] for one in found["detections"]] == [
        ("cat", "dog")[label - 1] for label in wanted["labels"][:5].tolist()
    ]


def test_evaluate_with_models(files, tmp_path, capsys):
    folder = str(write_tiny_voc(tmp_path / "voc", {"train": 3, "test": 4}))
    found = json.loads(run(capsys, "evaluate", "dpm", "--model", files[0], "--data", folder, "--json"))
    assert found["classes"] == ["cat"] and found["n_images"] == 4 and found["split"] == "test"
    assert found["trained_on"]["data"] == "voc-release5" and found["learned_from_too"] == 0
    other = json.loads(run(capsys, "evaluate", "dpm", "--model", files[1], "--data", folder, "--json"))
    assert other["classes"] == ["dog"] and other["key"] != found["key"]


def test_models_report_as_far_down_as_their_authors_let_them(files):
    detector = Dpm.from_models(files)
    thresholds = [detector.parameters[f"{name}.threshold"].item() for name in detector.classes]
    assert thresholds == [min(-1.1, read_release5(file)[1].threshold) for file in files]
    assert detector.config == {"enlarged": 1.0}  # what else Dpm is told says nothing about models of others


def test_no_model_at_all_is_one_clear_error():
    with pytest.raises(DataError, match="at least one file"):
        Dpm.from_models([])


def test_models_are_saved_and_loaded_like_what_was_learned(files, photo, tmp_path):
    detector = Dpm.from_models(files)
    detector.save(tmp_path / "authors")
    image = np.asarray(Image.open(photo))
    found, again = detector.detect(image), load_detector(tmp_path / "authors").detect(image)
    assert len(found["boxes"]) and all(torch.equal(found[key], again[key]) for key in found)


def test_wrong_use_is_one_clear_error(files, photo, tmp_path, capsys):
    bad = tmp_path / "bad.mat"
    bad.write_bytes(b"nothing")
    one = ["--model", files[0]]
    for argv, message in [
        (["detect", "hog_svm", str(photo), *one], "hog_svm knows no models of others"),
        (["detect", "dpm", str(photo), "--model", str(bad)], "bad.mat is no .mat file"),
        (["detect", "dpm", str(photo), "--model", "missing.mat"], "missing.mat is not there"),
        (["detect", "dpm", str(photo), *one, *one], "is a second model of cat"),
        (["detect", "dpm", str(photo), *one, "--data", "toyvoc"], "--model brings what was learned; leave out --data"),
        (["detect", "dpm", str(photo), *one, "--seed", "1"], "--model brings what was learned; leave out --seed"),
        (["detect", "dpm", str(photo), *one, "--train-split", "x"], "leave out --train-split"),
        (["detect", "dpm", str(photo), *one, "--parameters", "p"], "leave out --parameters"),
    ]:
        assert cli.main(argv) == 2, argv
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("course: ") and message in err and "Traceback" not in err, argv


def test_the_authors_person_model_finds_the_astronaut(shared, tmp_path, capsys):
    model, photo = shared / "data" / "dpm_voc_release5" / "person_final.mat", tmp_path / "astronaut.png"
    Image.fromarray(skimage.data.astronaut()).save(photo)
    found = json.loads(run(capsys, "detect", "dpm", "--model", str(model), str(photo), "--json"))
    x1, y1, x2, y2 = found["detections"][0]["box"]
    assert found["classes"] == ["person"] and found["detections"][0]["score"] > 0.5
    assert 0 <= x1 < 160 and 290 < x2 < 420 and 0 <= y1 < 60 and 480 < y2 <= 512  # head to elbows
