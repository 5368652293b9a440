"""From a detector and a data set to a row, and from rows to tables and comparisons."""

import math
import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from tiny_voc import tiny_voc

from course_utils import evaluation
from course_utils.detectors.base import Detector
from course_utils.detectors.trivial import MeanBox, RandomBoxes
from course_utils.errors import CourseError, DataError
from course_utils.evaluation import evaluate
from course_utils.metrics import evaluate_boxes
from course_utils.results import ResultTable, Row, compare, rows
from course_utils.store import Store


class Oracle(Detector):
    """Knows the truth of the pictures that it was fitted on; ``shift`` moves its boxes."""

    system = "oracle"

    def __init__(self, *, shift: float = 0.0, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.shift = shift
        self.looked = []

    def _fit(self, dataset) -> None:
        self.parameters = {}
        for i in range(len(dataset)):
            target = dataset.target(i)
            keep = ~target["difficult"]
            name = str(dataset.image(i).astype(np.int64).sum())
            self.parameters |= {f"{name}.boxes": target["boxes"][keep], f"{name}.labels": target["labels"][keep]}

    def _detect(self, image):
        self.looked.append(str(image.astype(np.int64).sum()))
        with self.stages("look"):
            boxes = self.parameters[f"{self.looked[-1]}.boxes"] + self.shift
        labels = self.parameters[f"{self.looked[-1]}.labels"]
        return {"boxes": boxes, "labels": labels, "scores": torch.linspace(1, 0.5, len(boxes))}


@pytest.fixture
def data(tmp_path):
    return tiny_voc(tmp_path / "voc")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def equal(first: Row, second: Row) -> bool:
    pairs = list(zip(first.detections + first.targets, second.detections + second.targets, strict=True))
    return all(a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a) for a, b in pairs)


# -------------------------------------------------------------------------------------------------------- evaluate


def test_a_perfect_detector_is_perfect_and_a_shifted_one_is_not(data, store):
    row = evaluate(Oracle().fit(data), data, store=store)
    assert all(value == 1 for name, value in row.metrics["AP50"].items() if row.metrics["n"][name])
    assert row.metrics["COCO"]["AP"] == pytest.approx(1)
    shifted = evaluate(Oracle(shift=30.0).fit(data), data, store=store)
    assert shifted.metrics["COCO"]["AP50"] < 0.5


def test_a_row_holds_what_the_ruler_needs_and_says_how_it_came_to_be(data, store):
    detector = RandomBoxes(n=20, seed=3).fit(data)
    row = evaluate(detector, data, store=store, command="made by hand")
    by_hand = [detector.detect(data.image(i)) for i in range(len(data))]
    for own, wanted in zip(row.detections, by_hand, strict=True):
        assert all(torch.equal(own[key], wanted[key]) for key in wanted)
    wanted = evaluate_boxes(by_hand, [data.target(i) for i in range(len(data))], data.classes)
    assert row.metrics["AP50"] == pytest.approx(wanted["AP50"], nan_ok=True)
    assert row.metrics["n"] == wanted["n"] and sum(wanted["n"].values()) < sum(len(t["labels"]) for t in row.targets)
    info = row.info
    assert info["system"] == "random_boxes" and info["config"] == {"n": 20, "seed": 3}
    assert row.name == "random_boxes(n=20, seed=3)"
    assert info["data"] == {"name": "voc", "split": "train", "digest": data.digest}
    assert info["command"] == "made by hand" and info["trained_on"]["digest"] == data.digest
    assert info["hardware"]["cores"] == os.cpu_count() and info["versions"]["torch"] == torch.__version__.split("+")[0]
    assert len(info["key"]) == 64 and len(row.seconds) == len(data) and (row.seconds > 0).all()
    assert not {"masks", "joints"} & set(row.targets[0])


def test_stages_are_seconds_per_image(data, store, monkeypatch):
    clock = iter(range(10_000))
    monkeypatch.setattr(evaluation.time, "perf_counter", lambda: float(next(clock)))
    row = evaluate(Oracle().fit(data), data, store=store)
    # the clock ticks at each look: start of image, start and end of the stage, end of image
    assert row.info["stage_seconds"] == {"look": 1.0}
    assert row.seconds.tolist() == [3.0] * len(data)
    assert row.seconds_per_image == 3.0


def test_the_same_again_comes_from_the_store(data, store):
    detector = Oracle().fit(data)
    first = evaluate(detector, data, store=store)
    seen = len(detector.looked)
    assert equal(first, evaluate(detector, data, store=store))
    assert len(detector.looked) == seen
    evaluate(Oracle(shift=1.0).fit(data), data, store=store)
    detector.parameters = {name: value.clone() for name, value in detector.parameters.items()}
    evaluate(detector, data, store=store)
    assert len(detector.looked) == seen  # equal content, equal key
    next(iter(detector.parameters.values()))[0] += 1
    evaluate(detector, data, store=store)
    assert len(detector.looked) == 2 * seen
    assert len(list(store.entries("rows"))) == 3


def test_what_the_detector_was_trained_on_is_pointed_out(tmp_path, data, store):
    row = evaluate(MeanBox().fit(data), data, store=store)
    assert row.info["learned_from_too"] == len(data)
    assert f"trained on {len(data)} of these images" in str(row)
    other = tiny_voc(tmp_path / "other", "test", 5, seed=1)
    clean = evaluate(MeanBox().fit(data), other, store=store)
    assert clean.info["learned_from_too"] == 0 and "Beware" not in str(clean)
    assert "images" not in row.info["trained_on"]


def test_the_same_pictures_are_known_under_another_name_and_others_under_the_same(tmp_path, store):
    data, copy = tiny_voc(tmp_path / "a" / "voc"), tiny_voc(tmp_path / "b" / "copied", "dev")
    namesake = tiny_voc(tmp_path / "c" / "voc", seed=9)
    assert namesake.ids == data.ids and namesake.name == data.name
    detector = MeanBox().fit(data)
    assert evaluate(detector, copy, store=store).info["learned_from_too"] == len(data)
    assert evaluate(detector, namesake, store=store).info["learned_from_too"] == 0


def test_the_same_pictures_under_another_name_are_another_row(tmp_path, store):
    for name, split in (("one", "train"), ("other", "test")):
        data = tiny_voc(tmp_path / name, split)
        row = evaluate(MeanBox().fit(data), data, store=store, command=name)
        assert row.info["data"]["name"] == name and row.info["data"]["split"] == split and row.info["command"] == name
    assert len(rows(store, split="test")) == len(rows(store, split="train")) == 1


def test_crowds_and_areas_of_some_targets_only_are_kept(data, store, tmp_path):
    look = data.target

    def target(i):
        found = dict(look(i))
        if i % 2:
            found["iscrowd"] = torch.ones(len(found["labels"]), dtype=torch.bool)
        if i % 3 == 0:
            found["area"] = torch.full((len(found["labels"]),), 7.0)
        return found

    data.target = target
    row = evaluate(MeanBox().fit(data), data, store=store)
    for i, kept in enumerate(row.targets):
        assert kept["iscrowd"].tolist() == [bool(i % 2)] * len(kept["labels"])
        boxes = kept["boxes"]
        sides = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        assert torch.equal(kept["area"], sides if i % 3 else torch.full((len(boxes),), 7.0))


def test_class_names_are_translated(tmp_path, store):
    data = tiny_voc(tmp_path / "toys")
    detector = Oracle().fit(data)
    detector.classes = ("cat", "dog", "duck")
    target = tiny_voc(tmp_path / "toys")
    target.classes = ("bird", "cat", "cow", "dog")  # VOC's names; duck is a bird there
    places = {1: 2, 2: 4, 3: 1}
    targets = []
    for i in range(len(data)):
        old = data.target(i)
        targets.append(old | {"labels": torch.tensor([places[k] for k in old["labels"].tolist()])})
    target.target = lambda i: targets[i]
    row = evaluate(detector, target, store=store)
    assert row.classes == ("bird", "cat", "dog")  # the detector does not know cows
    assert all(value == 1 for name, value in row.metrics["AP50"].items() if row.metrics["n"][name])
    target.classes = ("gear", "bolt", "nut", "screw")
    target._digest = None
    with pytest.raises(DataError, match=r"knows cat, dog, duck, and .* has none of them"):
        evaluate(detector, target, store=store)


def test_no_images_is_one_error(data, store):
    detector = MeanBox().fit(data)
    data.ids = []
    with pytest.raises(DataError, match="no images to measure on"):
        evaluate(detector, data, store=store)


def test_an_interrupted_run_goes_on_where_it_stopped(data, store, monkeypatch):
    monkeypatch.setattr(evaluation, "KEEP_EVERY", -1.0)  # after every image
    whole = evaluate(Oracle().fit(data), data, store=Store(store.folder.parent / "other"))

    class Stopped(Exception):
        pass

    detector = Oracle().fit(data)
    look = detector._detect

    def stop_at_the_eighth(image):
        if len(detector.looked) == 1 + 7:  # the first look warms up
            raise Stopped
        return look(image)

    detector._detect = stop_at_the_eighth
    with pytest.raises(Stopped):
        evaluate(detector, data, store=store)
    assert not list(store.entries("rows"))
    del detector._detect
    detector.looked.clear()
    row = evaluate(detector, data, store=store)
    assert len(detector.looked) == 1 + len(data) - 7
    assert equal(row, whole) and len(row.seconds) == len(data)
    assert not store.journal("rows", row.info["key"]).parts()


def test_sigkill_loses_nothing(data, store, tmp_path):
    code = textwrap.dedent(
        """
        import sys, time
        from course_utils import evaluation
        from course_utils.datasets import open_dataset
        from course_utils.detectors.trivial import RandomBoxes
        from course_utils.store import Store
        evaluation.KEEP_EVERY = -1.0
        find = RandomBoxes.detect
        def slowly(self, image):
            time.sleep(0.15)
            return find(self, image)
        data = open_dataset(sys.argv[1], "train")
        detector = RandomBoxes(n=3).fit(data)
        RandomBoxes.detect = slowly
        print("begun", flush=True)
        evaluation.evaluate(detector, data, store=Store(sys.argv[2]))
        """
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "voc"), str(store.folder)]
    for kept in (1, 3):  # a busy machine takes its time; with 0.15 s an image neither run can come to its end
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        while len(list((store.folder / "partial").rglob("*.safetensors"))) < kept:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    row = evaluate(RandomBoxes(n=3).fit(data), data, store=store)
    assert equal(row, evaluate(RandomBoxes(n=3).fit(data), data, store=Store(tmp_path / "fresh")))


# ------------------------------------------------------------------------------------------ rows, tables, comparison


def test_a_row_survives_its_file(data, store, tmp_path):
    row = evaluate(RandomBoxes(n=7).fit(data), data, store=store)
    row.save(tmp_path / "row.safetensors")
    again = Row.load(tmp_path / "row.safetensors")
    assert equal(row, again) and again.info == row.info and torch.equal(again.seconds, row.seconds)
    MeanBox().fit(data).save(tmp_path / "no_row")
    with pytest.raises(DataError, match="no row of results"):
        Row.load(tmp_path / "no_row")


def test_images_without_detections_keep_their_place(data, store, tmp_path):
    class Shy(RandomBoxes):
        def _detect(self, image):
            found = super()._detect(image)
            keep = slice(0, int(image[0, 0, 0]) % 3)
            return {key: value[keep] for key, value in found.items()}

    row = evaluate(Shy().fit(data), data, store=store)
    counts = [len(found["boxes"]) for found in row.detections]
    assert counts == [int(data.image(i)[0, 0, 0]) % 3 for i in range(len(data))] and 0 in counts


def test_rows_can_be_asked_for(data, store, tmp_path, capsys):
    other = tiny_voc(tmp_path / "other", "test", 5)
    for dataset in (data, other):
        for detector in (MeanBox().fit(data), RandomBoxes(n=4).fit(data)):
            evaluate(detector, dataset, store=store)
    assert len(rows(store)) == 4
    assert [row.name for row in rows(store, system="mean_box")] == ["mean_box"] * 2
    assert [row.info["data"]["name"] for row in rows(store, system="mean_box", data="other")] == ["other"]
    assert rows(store, split="nowhere") == []
    store.write("rows", "old", {}, {"format": "row 0"})
    assert len(rows(store)) == 4 and "another version" in capsys.readouterr().err
    with pytest.raises(CourseError, match="by system, data and split, not by colour"):
        rows(store, colour="red")


def many_objects(tmp_path):
    """Enough objects of each class for mAP, which wants 30."""
    return tiny_voc(tmp_path / "many", n=70)


def test_two_rows_compare_with_an_interval(tmp_path, store):
    data = many_objects(tmp_path)
    good, bad = (evaluate(Oracle(shift=s).fit(data), data, store=store) for s in (0.5, 2.5))
    found = compare(good, bad, n=200)
    assert found.first == pytest.approx(good.metrics["mAP"]) and found.second == pytest.approx(bad.metrics["mAP"])
    assert 0 < found.low < found.difference < found.high
    low, high = bad.interval
    assert low < bad.metrics["mAP"] < high
    same = compare(good, good, n=50)
    assert same.low == same.high == 0


def test_rows_over_other_pictures_or_classes_do_not_compare(data, store, tmp_path):
    row = evaluate(MeanBox().fit(data), data, store=store)
    other = evaluate(MeanBox().fit(data), tiny_voc(tmp_path / "other", "test", 5), store=store)
    with pytest.raises(DataError, match=r"other pictures \(voc/train and other/test\)"):
        compare(row, other)
    fewer = Row(row.info | {"classes": ["cat", "dog"]}, row.detections, row.targets, row.seconds)
    with pytest.raises(DataError, match="other classes"):
        compare(row, fewer)


def test_a_row_prints_as_a_table(tmp_path, store):
    row = evaluate(Oracle(shift=1.0).fit(many_objects(tmp_path)), many_objects(tmp_path), store=store)
    text = str(row)
    assert text.startswith("oracle(shift=1.0) on many/train: 70 images")
    for name in row.classes:
        assert f"{row.metrics['n'][name]:7d}  {row.metrics['AP50'][name]:.3f}" in text
    assert f"mAP {row.metrics['mAP']:.3f}" in text and "3 classes with 30 objects or more" in text


def test_too_few_objects_print_as_such(data, store):
    text = str(evaluate(MeanBox().fit(data), data, store=store))
    assert "mAP   -" in text and "nan" not in text


def test_a_table_of_rows(tmp_path, store):
    data = many_objects(tmp_path)
    table = ResultTable([evaluate(Oracle(shift=s).fit(data), data, store=store) for s in (0.0, 2.0)])
    head, first, second = str(table).splitlines()
    assert head.split()[:3] == ["system", "data", "images"]
    assert first.startswith("oracle ") and "1.000" in first and second.startswith("oracle(shift=2.0)")
    assert table._repr_html_().count("<tr>") == 3
    ax = table.draw().axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["oracle", "oracle(shift=2.0)"]
    dots = [line.get_xdata()[0] for line in ax.lines if len(line.get_xdata()) == 1]
    assert dots == [row.metrics["mAP"] for row in table.rows]
    with pytest.raises(CourseError, match="at least one row"):
        ResultTable([])


def test_a_row_draws_itself(tmp_path, store):
    row = evaluate(Oracle(shift=1.5).fit(many_objects(tmp_path)), many_objects(tmp_path), store=store)
    curves, bars = row.draw().axes
    assert len(curves.lines) == 3
    assert [bar.get_width() for bar in bars.patches] == list(row.metrics["AP50"].values())
    assert not any(math.isnan(bar.get_width()) for bar in bars.patches)
