"""Experiments: the table, the file of results, the command."""

import json

import pytest
from tiny_voc import tiny_voc

from course_utils import cli, experiments
from course_utils.detectors.trivial import MeanBox, RandomBoxes
from course_utils.errors import CourseError
from course_utils.evaluation import evaluate
from course_utils.results import Row
from course_utils.store import Store


@pytest.fixture
def rows(tmp_path):
    data, store = tiny_voc(tmp_path / "voc"), Store(tmp_path / "store")
    return [evaluate(detector.fit(data), data, store=store) for detector in (MeanBox(), RandomBoxes(n=5))]


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
def test_results_that_ship_are_whole_and_of_known_origin(name, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))  # moves what is made, not what ships
    shipped = experiments.read_results(name)
    assert shipped
    for one in shipped:
        assert one["command"] == f"course experiment {name}" and len(one["key"]) == 64
        low, high = one["interval"]
        assert 0 <= low <= one["metrics"]["mAP"] <= high <= 1
        assert one["learned_from_too"] == 0 and "images" not in one["trained_on"]
    assert len({one["key"] for one in shipped}) == len(shipped)


def test_the_command_writes_what_the_rows_say(rows, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(experiments, "repo_root", lambda: tmp_path)
    monkeypatch.setattr(experiments, "run", lambda name: rows)
    assert cli.main(["experiment", "hog_svm"]) == 0
    assert "mean_box" in capsys.readouterr().out
    written = json.loads((tmp_path / "data" / "results" / "hog_svm.json").read_text())
    assert written == experiments.read_results("hog_svm")
    for one, row in zip(written, rows, strict=True):
        assert one["system"] == row.info["system"] and one["key"] == row.info["key"]
        for name, value in row.metrics["AP50"].items():
            assert one["metrics"]["AP50"][name] == (None if value != value else pytest.approx(value, abs=1e-6))


def test_missing_results_say_how_to_make_them(tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "repo_root", lambda: tmp_path)
    with pytest.raises(CourseError, match=r"hog_svm.json is missing. `course experiment hog_svm` makes it"):
        experiments.read_results("hog_svm")


def test_an_unknown_experiment_is_one_error():
    with pytest.raises(CourseError, match=r"no experiment 'hog'. Registered experiments: .*hog_svm"):
        experiments.run("hog")


def test_an_experiment_hands_back_rows(monkeypatch):
    from course_utils.experiments import hog_svm

    calls = []
    monkeypatch.setattr(hog_svm, "open_dataset", lambda name, split: f"{name}/{split}")
    monkeypatch.setattr(hog_svm, "fit_or_recall", lambda detector, data: calls.append((detector.config, data)) or 1)
    monkeypatch.setattr(hog_svm, "evaluate", lambda detector, data, command: Row({}, [], [], data))
    assert [row.seconds for row in experiments.run("hog_svm")] == ["toyvoc/test"] * 5
    assert {data for _, data in calls} == {"toyvoc/train"}
    assert [config["seed"] for config, _ in calls] == [0, 1, 2, 0, 0]
    assert [config["rounds"] for config, _ in calls] == [2, 2, 2, 1, 0]
