"""``course train``: fit one system on one data set."""

import argparse

from course_utils.commands.systems import SYSTEMS, known, unknown

HELP = "Train a system and save its parameters."
EXAMPLE = "course train hog_svm --data toyvoc --split train --seed 0 --out build/hog_svm"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course train`` takes."""
    parser.add_argument("system", metavar="SYSTEM", help=f"name of the detector: {known(SYSTEMS)}")
    parser.add_argument("--data", default="toyvoc", help="data set: a name or a path (default: %(default)s)")
    parser.add_argument("--split", default="train", help="part of it to learn from (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all randomness (default: %(default)s)")
    parser.add_argument("--out", metavar="FOLDER", help="where to save (default: build/SYSTEM)")


def main(args: argparse.Namespace) -> int:
    """Refuse every name: no system is registered yet."""
    raise unknown("system", args.system, SYSTEMS)
