"""``course experiment``: the long comparisons whose results ship with the course."""

import argparse

from course_utils.commands.systems import EXPERIMENTS, known, unknown

HELP = "Repeat one of the course's long experiments and write its result file."
EXAMPLE = "course experiment rcnn_ablations"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course experiment`` takes."""
    parser.add_argument("name", metavar="NAME", help=f"name of the experiment: {known(EXPERIMENTS)}")


def main(args: argparse.Namespace) -> int:
    """Refuse every name: no experiment is registered yet."""
    raise unknown("experiment", args.name, EXPERIMENTS)
