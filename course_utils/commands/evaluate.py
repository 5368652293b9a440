"""``course evaluate``: the same ruler for every system."""

import argparse

from course_utils.commands.systems import (
    TEST_SPLITS,
    add_device,
    add_json,
    add_origin,
    add_system,
    command_line,
    data_of,
    open_part,
    print_json,
    ready_system,
)
from course_utils.detectors import SYSTEMS, measure_of

NOTED = ("trained_on", "learned_from_too", "config", "stage_seconds", "hardware", "versions", "key", "date")
HELP = "Measure a system: AP50 per class and mAP of a detector, accuracy of a classifier; seconds per image."
EXAMPLE = "course evaluate mean_box --data toyvoc --split test --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course evaluate`` takes."""
    add_system(parser)
    parser.add_argument("--data", help="data set: a name or a path (default: the system's own, mostly toyvoc)")
    parser.add_argument("--split", help="part of it to measure on (default: the first there is of test, holdout, val)")
    add_origin(parser)
    add_device(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Train or recall the system, run it on the part, print what the ruler says."""
    data, task = data_of(args), SYSTEMS[args.system].task
    dataset = open_part(data, args.split, TEST_SPLITS, "--split")  # first: a wrong name must not cost a training
    row = measure_of(args.system)(ready_system(args, data), dataset, command=command_line())
    if not args.json:
        print(row)
        return 0
    metrics = row.metrics | ({"mAP_interval": list(row.interval)} if task == "detection" else {})
    print_json(
        task=task, system=row.info["system"], data=data, split=dataset.split, n_images=len(dataset),
        classes=row.classes, seconds_per_image=row.seconds_per_image, metrics=metrics,
        **{name: row.info[name] for name in NOTED},
    )  # fmt: skip
    return 0
