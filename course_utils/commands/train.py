"""``course train``: fit one system on one data set."""

import argparse
import time
from pathlib import Path

from course_utils.commands.systems import (
    TRAINING_SPLITS,
    add_device,
    add_json,
    add_system,
    add_training,
    data_of,
    open_part,
    print_json,
    settings,
)
from course_utils.detectors import SYSTEMS, detector_class
from course_utils.paths import build_dir

HELP = "Train a system and save its parameters."
EXAMPLE = "course train mean_box --data toyvoc --split train --seed 0 --out build/mean_box.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course train`` takes."""
    add_system(parser)
    parser.add_argument("--data", help="data set: a name or a path (default: the system's own, mostly toyvoc)")
    parser.add_argument("--split", help="part to learn from (default: the first there is of fit, train, trainval)")
    parser.add_argument("--out", metavar="FILE", help="where to save (default: build/SYSTEM.safetensors)")
    add_training(parser)
    add_device(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Train, or recall from the store what the same code learned before from the same data; save."""
    from course_utils.detectors.base import fit_or_recall
    from course_utils.training import joined_processes, processes

    data = data_of(args)
    system = detector_class(args.system)(**settings(args, ("seed", "device", "epochs", "resume")))
    dataset = open_part(data, args.split, TRAINING_SPLITS, "--split")
    start = time.perf_counter()
    with joined_processes(args.device or "cpu"):
        learned = fit_or_recall(system, dataset)
        first = processes()[0] == 0
    seconds = time.perf_counter() - start
    if not first:
        return 0
    out = Path(args.out) if args.out else build_dir() / f"{args.system}.safetensors"
    learned.save(out)
    if args.json:
        print_json(
            task=SYSTEMS[args.system].task, system=args.system, data=data, split=dataset.split,
            n_images=len(dataset), classes=learned.classes,
            seconds_per_image=None, metrics={}, seconds=seconds, out=str(out),
        )  # fmt: skip
    else:
        print(f"{args.system}, learned from {dataset.name}/{dataset.split} ({len(dataset)} images): {out}")
    return 0
