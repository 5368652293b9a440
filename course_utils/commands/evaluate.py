"""``course evaluate``: the same ruler for every system."""

import argparse

from course_utils.commands.systems import SYSTEMS, known, unknown

HELP = "Measure a system: AP50 per class, mAP, seconds per image."
EXAMPLE = "course evaluate hog_svm --data toyvoc --split test --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course evaluate`` takes."""
    parser.add_argument("system", metavar="SYSTEM", help=f"name of the detector: {known(SYSTEMS)}")
    parser.add_argument("--data", default="toyvoc", help="data set: a name or a path (default: %(default)s)")
    parser.add_argument("--split", default="test", help="part of it to measure on (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


def main(args: argparse.Namespace) -> int:
    """Refuse every name: no system is registered yet."""
    raise unknown("system", args.system, SYSTEMS)
