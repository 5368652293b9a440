"""``course experiment``: the long comparisons whose results ship with the course."""

import argparse

from course_utils.errors import CourseError

HELP = "Repeat one of the course's long experiments and write its result file."
EXAMPLE = "course experiment rcnn_ablations"

EXPERIMENTS: dict[str, str] = {}  # the notebooks that compare things add theirs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course experiment`` takes."""
    parser.add_argument("name", metavar="NAME", help=f"name of the experiment: {_known()}")


def main(args: argparse.Namespace) -> int:
    """Refuse every name: no experiment is registered yet."""
    raise CourseError(f"there is no experiment {args.name!r}. Registered experiments: {_known()}.")


def _known() -> str:
    return ", ".join(sorted(EXPERIMENTS)) or "none yet; they come with the notebooks"
