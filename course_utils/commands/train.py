"""``course train``: fit one system on one data set."""

import argparse
import time
from pathlib import Path

from course_utils.commands.systems import TRAINING_SPLITS, add_json, add_system, data_of, open_part, print_json
from course_utils.detectors import detector_class
from course_utils.paths import build_dir

HELP = "Train a system and save its parameters."
EXAMPLE = "course train mean_box --data toyvoc --split train --seed 0 --out build/mean_box.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course train`` takes."""
    add_system(parser)
    parser.add_argument("--data", help="data set: a name or a path (default: the system's own, mostly toyvoc)")
    parser.add_argument("--split", help="part to learn from (default: the first there is of fit, train, trainval)")
    parser.add_argument("--out", metavar="FILE", help="where to save (default: build/SYSTEM.safetensors)")
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Train, or recall from the store what the same code learned before from the same data; save."""
    from course_utils.detectors.base import fit_or_recall

    data = data_of(args)
    dataset = open_part(data, args.split, TRAINING_SPLITS, "--split")
    start = time.perf_counter()
    detector = fit_or_recall(detector_class(args.system)(seed=args.seed or 0), dataset)
    seconds = time.perf_counter() - start
    out = Path(args.out) if args.out else build_dir() / f"{args.system}.safetensors"
    detector.save(out)
    if args.json:
        print_json(
            system=args.system, data=data, split=dataset.split, n_images=len(dataset), classes=detector.classes,
            seconds_per_image=None, metrics={}, seconds=seconds, out=str(out),
        )  # fmt: skip
    else:
        print(f"{args.system}, learned from {dataset.name}/{dataset.split} ({len(dataset)} images): {out}")
    return 0
