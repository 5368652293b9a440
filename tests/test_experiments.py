"""Experiments: the table, the file of results, the command."""

import json

import numpy as np
import pytest
import torch
from tiny_voc import tiny_voc

from course_utils import cli, experiments
from course_utils.datasets.base import make_target
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
        if name == "pose":  # keeps its intervals among the metrics
            stages = [value for key, value in one["metrics"].items() if key.startswith("stage")]
            assert stages and all(low <= mean <= high for stage in stages for mean, low, high in stage.values())
        else:
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


def test_dpm_learns_what_rows_share_once_and_then_measures_a_seeds_steps_in_order(monkeypatch):
    from course_utils.experiments import dpm

    calls = []
    monkeypatch.setattr(dpm, "Parallel", lambda n_jobs: lambda tasks: [f(*args) for f, args, _ in tasks])
    monkeypatch.setattr(dpm, "learn", lambda *args: calls.append(args))
    monkeypatch.setattr(dpm, "measure", lambda step, seed: (seed, step))
    assert experiments.run("dpm") == [(seed, step) for seed in (0, 1, 2) for step in dpm.STEPS]
    assert len(set(calls)) == 2 * 3 * len(dpm.CLASSES) and {step for step, _, _ in calls} == {
        "root",
        "+ box prediction",
    }


def test_dpm_details_are_ap_by_size_and_what_each_step_gains(monkeypatch):
    from course_utils.experiments import dpm

    boxes = [(0.0, 0.0, 40.0, 30.0), (50.0, 50.0, 150.0, 110.0)]  # a small object and a large one, in 20 pictures
    targets = [make_target(boxes, [1, 1]) for _ in range(20)]

    def row(found, seed):
        part = torch.tensor(found, dtype=torch.float32).reshape(-1, 4)
        scores = torch.arange(len(found), 0, -1, dtype=torch.float32)
        one = {"boxes": part, "labels": torch.ones(len(found), dtype=torch.int64), "scores": scores}
        return Row({"classes": ["thing"], "config": {"seed": seed}}, [one] * 20, targets, torch.ones(20))

    near = (50.0, 50.0, 150.0, 92.0)  # IoU 0.7 with the large one
    steps = [[], [near], [boxes[1]], boxes]
    found = dpm.details([row(boxes_of_step, seed) for seed in (0, 1) for boxes_of_step in steps])
    assert [(one["seed"], one["step"]) for one in found] == [(seed, step) for seed in (0, 1) for step in dpm.STEPS]
    for i, (loose, strict) in enumerate([((0, 0, 0), (0, 0, 0)), ((0.5, 0, 1), (0, 0, 0)), ((0.5, 0, 1), (0.5, 0, 1))]):
        for threshold, expected in (("0.5", loose), ("0.75", strict)):
            assert [found[i]["AP"][threshold][size]["thing"] for size in ("all", "small", "large")] == list(expected)
    assert found[3]["AP"]["0.75"] == {"all": {"thing": 1.0}, "small": {"thing": 1.0}, "large": {"thing": 1.0}}
    assert found[0]["gain"]["0.5"]["all"] is None and found[4]["gain"]["0.75"]["large"] is None
    assert found[2]["gain"]["0.5"]["large"] == [0, 0, 0] and found[2]["gain"]["0.75"]["large"] == [1, 1, 1]
    assert found[3]["gain"]["0.5"]["small"] == [1, 1, 1]


def test_overfeat_trains_each_network_once_and_then_measures_a_seeds_settings_in_order(monkeypatch):
    from course_utils.experiments import overfeat

    calls = []
    monkeypatch.setattr(overfeat, "Parallel", lambda n_jobs: lambda tasks: [f(*args) for f, args, _ in tasks])
    monkeypatch.setattr(overfeat, "learn", lambda *args: calls.append(args))
    monkeypatch.setattr(overfeat, "measure", lambda setting, seed: (seed, setting))
    assert experiments.run("overfeat") == [(seed, setting) for seed in (0, 1, 2) for setting in overfeat.SETTINGS]
    assert calls == [(setting, seed) for setting in ("as it is", "random weights") for seed in (0, 1, 2)]


def test_overfeat_details_compare_with_the_same_seed_as_it_is():
    from course_utils.experiments import overfeat

    box = (10.0, 10.0, 90.0, 60.0)
    targets = [make_target([box], [1]) for _ in range(40)]

    def row(found, seed):
        boxes = [torch.tensor([box]) + (0 if i < found else 200) for i in range(40)]
        one = [
            {"boxes": b, "labels": torch.tensor([1]), "scores": torch.tensor([1 - i / 100])}
            for i, b in enumerate(boxes)
        ]
        return Row({"classes": ["thing"], "config": {"seed": seed}}, one, targets, torch.ones(40))

    hits = [[20, 10, 20, 30, 20, 20, 20], [8, 8, 8, 8, 8, 8, 16]]
    found = overfeat.details([row(n, seed) for seed, counts in enumerate(hits) for n in counts])
    assert [(one["seed"], one["setting"]) for one in found] == [(seed, s) for seed in (0, 1) for s in overfeat.SETTINGS]
    assert [one["mAP"]["0.5"] for one in found] == pytest.approx([n / 40 for counts in hits for n in counts])
    assert found[0]["gain"]["0.5"] is None and found[7]["gain"]["0.75"] is None
    assert found[1]["gain"]["0.5"][0] == pytest.approx(-0.25) and found[3]["gain"]["0.5"][0] == pytest.approx(0.25)
    assert found[13]["gain"]["0.75"][0] == pytest.approx(0.2) and found[13]["gain"]["0.75"][1] > 0
    assert found[2]["gain"]["0.5"] == [0, 0, 0]
    assert overfeat.ap50_of(*zip(*[(f, t) for f, t in zip(row(20, 0).detections, targets)][:30])) == pytest.approx(
        2 / 3
    )


def test_pose_details_compare_beginnings_of_one_seed():
    from course_utils.experiments import pose
    from course_utils.pose.evaluation import Poses, gained

    rng = np.random.default_rng(0)
    joints = torch.cat([torch.from_numpy(rng.uniform(0, 100, (30, 14, 2))).float(), torch.full((30, 14, 1), 2.0)], 2)

    def row(noise, seed, pretrained):
        found = joints[None, ..., :2] + noise * torch.from_numpy(rng.standard_normal((3, 30, 14, 2))).float()
        return Poses(
            {"classes": ["person"], "config": {"seed": seed, "pretrained": pretrained}}, found, joints, torch.ones(30)
        )

    rows = [row(5, 0, True), row(25, 1, True), row(20, 0, False), row(25, 1, False)]
    found = pose.details(rows)
    assert found[:2] == [{}, {}]
    by_hand = gained(rows[0].found[0], rows[2].found[0], joints)
    assert found[2]["pretrained less random"]["PCP"] == [by_hand["PCP"].mean, by_hand["PCP"].low, by_hand["PCP"].high]
    assert found[2]["pretrained less random"]["PCK"][1] > 0
    low, high = found[3]["pretrained less random"]["PCK"][1:]
    assert low < 0 < high


def test_details_are_written_beside_the_summaries(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(experiments, "repo_root", lambda: tmp_path)
    monkeypatch.setattr("course_utils.experiments.dpm.details", lambda given: [{"step": row.name} for row in given])
    experiments.write_results("dpm", rows)
    assert [one["details"] for one in experiments.read_results("dpm")] == [{"step": row.name} for row in rows]
    experiments.write_results("hog_svm", rows)
    assert all("details" not in one for one in experiments.read_results("hog_svm"))
