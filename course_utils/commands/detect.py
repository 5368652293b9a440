"""``course detect``: one system on one photograph."""

import argparse

from course_utils.commands.systems import SYSTEMS, known, unknown

HELP = "Detect objects in a photograph and draw them."
EXAMPLE = "course detect hog_svm photo.jpg --out found.png --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course detect`` takes."""
    parser.add_argument("system", metavar="SYSTEM", help=f"name of the detector: {known(SYSTEMS)}")
    parser.add_argument("photo", metavar="PHOTO", help="a JPEG or PNG file")
    parser.add_argument("--out", metavar="FILE", help="where to write the picture with its boxes")
    parser.add_argument("--json", action="store_true", help="print the detections as one JSON object")


def main(args: argparse.Namespace) -> int:
    """Refuse every name: no system is registered yet."""
    raise unknown("system", args.system, SYSTEMS)
