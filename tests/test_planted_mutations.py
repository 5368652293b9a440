"""Would the tests notice? Each mistake of the table, planted in a copy of the package, turns the named tests red."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "course_utils"


@dataclass(frozen=True)
class Mutation:
    """One planted mistake: ``old``, which stands exactly once in ``file``, becomes ``new``."""

    breaks: str
    file: str
    old: str
    new: str
    red: str  # tests that must fail: file::name, several divided by spaces


TABLE = [
    # ------------------------------------------------------------------------------------------------------- boxes
    Mutation(
        "an empty box passes the check",
        "boxes.py",
        "(boxes[:, 2:] > boxes[:, :2])",
        "(boxes[:, 2:] >= boxes[:, :2])",
        "test_boxes.py::test_nan_infinite_inverted_and_empty_boxes_raise",
    ),
    Mutation(
        "deltas in units of the box, not the anchor",
        "boxes.py",
        "wx * (x - ax) / aw",
        "wx * (x - ax) / w",
        "test_boxes.py::test_deltas_by_hand test_boxes.py::test_encode_and_decode_equal_torchvision",
    ),
    Mutation(
        "decoding forgets a weight",
        "boxes.py",
        "deltas[:, 1::4] / wy * ah",
        "deltas[:, 1::4] * ah",
        "test_boxes.py::test_decode_undoes_encode test_boxes.py::test_encode_and_decode_equal_torchvision",
    ),
    Mutation(
        "the clip of dw is gone",
        "boxes.py",
        "(deltas[:, 2::4] / ww).clamp(max=DELTA_CLIP)",
        "(deltas[:, 2::4] / ww)",
        "test_boxes.py::test_sizes_grow_at_most_62_and_a_half_times",
    ),
    Mutation(
        "flip counts whole pixels",
        "boxes.py",
        "(width - x2, y1, width - x1, y2)",
        "(width - 1 - x2, y1, width - 1 - x1, y2)",
        "test_boxes.py::test_flip_of_a_box_is_the_box_of_the_flipped_mask",
    ),
    Mutation(
        "jitter moves edges one way only",
        "boxes.py",
        "(2 * u - 1)",
        "u",
        "test_boxes.py::test_jitter_moves_four_edges_uniformly_and_independently",
    ),
    Mutation(
        "soft NMS with exp(-IoU / sigma)",
        "boxes.py",
        "-(iou**2) / sigma",
        "-iou / sigma",
        "test_boxes.py::test_soft_nms_by_hand test_boxes.py::test_soft_nms_gaussian_equals_plain_loops",
    ),
    Mutation(
        "soft NMS lowers no score at the threshold itself",
        "boxes.py",
        "iou >= threshold",
        "iou > threshold",
        "test_boxes.py::test_soft_nms_by_hand",
    ),
    Mutation(
        "DPM's NMS drops what is just half covered",
        "boxes.py",
        "area[left] <= cover",
        "area[left] < cover",
        "test_boxes.py::test_dpm_nms_by_hand",
    ),
    Mutation(
        "DPM's NMS divides by the better box's area",
        "boxes.py",
        "intersection / area[left]",
        "intersection / area[best]",
        "test_boxes.py::test_dpm_nms_by_hand test_boxes.py::test_dpm_nms_equals_plain_loops",
    ),
    # --------------------------------------------------------------------------------------------------------- IoU
    Mutation(
        "IoU counts what is shared twice",
        "metrics/overlaps.py",
        "box_area(a) + box_area(b) - shared",
        "box_area(a) + box_area(b)",
        "test_metrics_voc.py::test_equals_the_rule_as_loops test_metrics_proposals.py::test_equals_loops",
    ),
    Mutation(
        "IoU of whole pixels: a 1 more on the shared sides",
        "metrics/overlaps.py",
        "np.clip(size, 0, None)",
        "np.clip(size + 1, 0, None)",
        "test_metrics_voc.py::test_equals_the_rule_as_loops test_metrics_proposals.py::test_equals_loops",
    ),
    Mutation(
        "the last of equally good objects is taken",
        "metrics/overlaps.py",
        "(iou == best[box]))[::-1]",
        "(iou == best[box]))",
        "test_metrics_voc.py::test_the_first_of_equally_good_objects_is_taken",
    ),
    # ------------------------------------------------------------------------------------------------- matching by VOC
    Mutation(
        "a match is above the threshold",
        "metrics/voc.py",
        "iou >= threshold",
        "iou > threshold",
        "test_metrics_voc.py::test_a_match_is_at_the_threshold_or_above",
    ),
    Mutation(
        "a second detection of an object is a hit",
        "metrics/voc.py",
        "kind[close[first]] = HIT",
        "kind[close] = HIT",
        "test_metrics_voc.py::test_second_hit_is_a_false_alarm_though_another_object_is_free",
    ),
    Mutation(
        "lowest score first",
        "metrics/voc.py",
        "np.argsort(-data.scores[found]",
        "np.argsort(data.scores[found]",
        "test_metrics_voc.py::test_highest_score_first_over_images",
    ),
    Mutation(
        "a detection of a difficult object is a hit",
        "metrics/voc.py",
        "best[close]]]] = IGNORED",
        "best[close]]]] = HIT",
        "test_metrics_voc.py::test_difficult_objects_count_neither_way",
    ),
    Mutation(
        "difficult objects must be found",
        "metrics/voc.py",
        "[things][~data.ignored[things]]",
        "[things]",
        "test_metrics_voc.py::test_difficult_objects_count_neither_way",
    ),
    Mutation(
        "crowds are objects like others",
        "metrics/inputs.py",
        "difficult | crowd, crowd",
        "difficult, crowd",
        "test_metrics_voc.py::test_equals_the_rule_as_loops test_metrics_coco.py::test_equals_pycocotools",
    ),
    # ------------------------------------------------------------------------------------------------------- curves
    Mutation(
        "ignored detections count as false alarms",
        "metrics/curves.py",
        "np.cumsum(kind[kind != IGNORED] == HIT)",
        "np.cumsum(kind == HIT)",
        "test_metrics_curves.py::test_equals_the_definition "
        "test_metrics_voc.py::test_difficult_objects_count_neither_way",
    ),
    Mutation(
        "the best precision at this recall or a lower one",
        "metrics/curves.py",
        "np.maximum.accumulate(precision[::-1])[::-1]",
        "np.maximum.accumulate(precision)",
        "test_metrics_curves.py::test_the_facts_table test_metrics_curves.py::test_equals_the_definition",
    ),
    Mutation(
        "no interpolation",
        "metrics/curves.py",
        "np.maximum.accumulate(precision[::-1])[::-1]",
        "precision",
        "test_metrics_curves.py::test_golden_values test_metrics_curves.py::test_equals_the_definition",
    ),
    Mutation(
        "11 points without tolerance",
        "metrics/curves.py",
        "np.linspace(0, 1, 11) - 1e-9",
        "np.linspace(0, 1, 11)",
        "test_metrics_curves.py::test_recall_of_exactly_three_tenths_counts",
    ),
    Mutation(
        "100 points for 101",
        "metrics/curves.py",
        "np.linspace(0, 1, 101)",
        "np.linspace(0, 1, 100)",
        "test_metrics_curves.py::test_the_facts_table test_metrics_coco.py::test_equals_pycocotools",
    ),
    # ------------------------------------------------------------------ summary, proposals, localization, error types
    Mutation(
        "rare classes count in mAP",
        "metrics/summary.py",
        "max(min_objects, 1)",
        "1",
        "test_metrics_summary.py::test_few_objects_leave_a_class_out_of_the_mean",
    ),
    Mutation(
        "a proposal serves several objects",
        "metrics/proposals.py",
        "iou[thing], iou[:, box] = -1, -1",
        "iou[thing] = -1",
        "test_metrics_proposals.py::test_one_to_one",
    ),
    Mutation(
        "one guess too many",
        "metrics/localization.py",
        "< guesses]",
        "<= guesses]",
        "test_metrics_localization.py::test_by_hand test_metrics_localization.py::test_equals_loops",
    ),
    Mutation(
        "a duplicate is an error of another kind",
        "metrics/diagnosis.py",
        '"correct", "localization", "similar", "other"]',
        '"correct", "similar", "localization", "other"]',
        "test_metrics_diagnosis.py::test_by_hand",
    ),
    # ---------------------------------------------------------------------------------------------------- bootstrap
    Mutation(
        "each detector gets images of its own",
        "metrics/comparison.py",
        "one(weights) - other(weights)",
        "one(weights) - other(weights[::-1])",
        "test_metrics_comparison.py::test_resamples_are_the_same_images_for_both",
    ),
    Mutation(
        "images are drawn without replacement",
        "metrics/comparison.py",
        "rng.integers(n_images, size=n_images)",
        "rng.permutation(n_images)",
        "test_metrics_comparison.py::test_draws_with_replacement",
    ),
    Mutation(
        "half as many images are drawn",
        "metrics/comparison.py",
        "size=n_images)",
        "size=n_images // 2)",
        "test_metrics_comparison.py::test_spread_is_that_of_the_mean",
    ),
    Mutation(
        "the interval holds 90 % and is called 95 %",
        "metrics/comparison.py",
        "[(1 - level) / 2, (1 + level) / 2]",
        "[1 - level, level]",
        "test_metrics_comparison.py::test_spread_is_that_of_the_mean",
    ),
    Mutation(
        "the interval of one detector starts elsewhere",
        "metrics/comparison.py",
        "_resample(mean_ap, len(mean_ap), n, seed, level)",
        "_resample(mean_ap, len(mean_ap), n, seed + 1, level)",
        "test_metrics_comparison.py::test_interval_is_that_of_the_difference_to_zero",
    ),
    Mutation(
        "objects are not drawn with their images",
        "metrics/comparison.py",
        "weights @ matches.objects_per_image",
        "matches.n_objects",
        "test_metrics_comparison.py::test_weights_are_copies_of_images",
    ),
    # ------------------------------------------------ matching by COCO; last, because each change of it compiles anew
    Mutation(
        "medium objects end at 64 pixels",
        "metrics/coco.py",
        '"medium": (32**2, 96**2)',
        '"medium": (32**2, 64**2)',
        "test_metrics_coco.py::test_equals_pycocotools",
    ),
    Mutation(
        "more than 100 detections of an image count",
        "metrics/coco.py",
        "found[rank < 100], rank[rank < 100]",
        "found, rank",
        "test_metrics_coco.py::test_equals_pycocotools_beyond_100_detections",
    ),
    Mutation(
        "detections of a size out of range are false alarms",
        "metrics/coco.py",
        "elif own < areas[a, 0] or own > areas[a, 1]:",
        "elif False:",
        "test_metrics_coco.py::test_equals_pycocotools",
    ),
    Mutation(
        "ignored objects compete with the others",
        "metrics/coco.py",
        "free and neutral[a, begin + g] == (passes == 1) and",
        "free and",
        "test_metrics_coco.py::test_equals_pycocotools",
    ),
    Mutation(
        "a crowd or a difficult object holds one detection",
        "metrics/coco.py",
        "not taken[g] or endless[begin + g]",
        "not taken[g]",
        "test_metrics_coco.py::test_a_crowd_swallows_many_detections "
        "test_metrics_coco.py::test_a_difficult_object_swallows_many_detections",
    ),
    Mutation(
        "a second detection of a difficult object is a false alarm",
        "metrics/coco.py",
        "        data.ignored[things],\n",
        "        data.crowd[things],\n",
        "test_metrics_coco.py::test_a_difficult_object_swallows_many_detections "
        "test_metrics_coco.py::test_another_detection_of_a_difficult_object_changes_nothing "
        "test_metrics_coco.py::test_equals_pycocotools",
    ),
    Mutation(
        "overlap with a difficult object is that with a crowd",
        "metrics/coco.py",
        "        data.crowd[things],\n",
        "        data.ignored[things],\n",
        "test_metrics_coco.py::test_equals_pycocotools",
    ),
    Mutation(
        "an object of a size out of range holds many detections",
        "metrics/coco.py",
        "not taken[g] or endless[begin + g]",
        "not taken[g] or neutral[a, begin + g]",
        "test_metrics_coco.py::test_equals_pycocotools",
    ),
    Mutation(
        "overlap with a crowd is IoU",
        "metrics/coco.py",
        "union = own if crowd[begin + g] else own",
        "union = own",
        "test_metrics_coco.py::test_a_crowd_swallows_many_detections",
    ),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """How the tests end, from the name of each mutation to a list of (test, outcome); "" is the package as it is.

    All runs share one process, because PyTorch takes seconds to import.
    """
    folder = tmp_path_factory.mktemp("mutations")
    shutil.copytree(PACKAGE, folder / "course_utils", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        [sys.executable, __file__, folder], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return json.loads((folder / "outcomes.json").read_text())


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.breaks)
def test_text_stands_exactly_once(mutation):
    count = (PACKAGE / mutation.file).read_text().count(mutation.old)
    assert count == 1, f"the table is out of date: {mutation.old!r} stands {count} times in {mutation.file}"


def test_names_are_unique():
    assert len({mutation.breaks for mutation in TABLE}) == len(TABLE)


def test_package_as_it_is_passes(outcomes):
    assert outcomes[""] and all(outcome == "passed" for _, outcome in outcomes[""])
    assert {test for test, _ in outcomes[""]} == {test for mutation in TABLE for test in mutation.red.split()}


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.breaks)
def test_mistake_is_noticed(outcomes, mutation):
    green = set(mutation.red.split()) - {test for test, outcome in outcomes[mutation.breaks] if outcome == "failed"}
    assert not green, f"{mutation.new!r} for {mutation.old!r} in {mutation.file} was not noticed"


class Outcomes:
    """Plugin of pytest: name of each test and how it ended."""

    def __init__(self):
        self.seen = []

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.failed:
            self.seen.append((report.nodeid.rpartition("/")[2].partition("[")[0], report.outcome))


def run_tests(copy, names):
    """Run the tests on the package that stands in the folder ``copy``, imported anew."""
    ours = ("course_utils", "conftest", "metric_cases", "test_boxes", "test_metrics_")
    for name in [name for name in sys.modules if name.startswith(ours)]:
        del sys.modules[name]
    importlib.invalidate_caches()
    plugin = Outcomes()
    # the plugin left out collects garbage after each run, half a second with PyTorch loaded
    arguments = ["-q", "-p", "no:cacheprovider", "-p", "no:unraisableexception", *(str(TESTS / name) for name in names)]
    code = pytest.main(arguments, plugins=[plugin])
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), f"pytest ended with {code!r}"
    modules = [name for name in sys.modules if name.startswith("course_utils")]
    assert modules and all(Path(sys.modules[name].__file__).is_relative_to(copy) for name in modules)
    return plugin.seen


def main(copy):
    from hypothesis import Phase, settings

    # the same examples every time, and no search for the smallest one
    settings.register_profile(
        "once", database=None, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False
    )
    settings.load_profile("once")
    outcomes = {"": run_tests(copy, sorted({test for mutation in TABLE for test in mutation.red.split()}))}
    for mutation in TABLE:
        file = copy / "course_utils" / mutation.file
        source = file.read_text()
        file.write_text(source.replace(mutation.old, mutation.new))
        outcomes[mutation.breaks] = run_tests(copy, mutation.red.split())
        file.write_text(source)
    (copy / "outcomes.json").write_text(json.dumps(outcomes))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
