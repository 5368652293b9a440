"""``course sync``: write synced cells and exercise stubs into notebooks, or say which differ."""

import argparse
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.notebook.sync import sync
from course_utils.paths import repo_root

HELP = "Write the package's functions and exercise stubs into the notebooks' tagged cells."
EXAMPLE = "course sync --check notebooks/01_boxes_and_metrics.ipynb"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course sync`` takes."""
    parser.add_argument("notebooks", nargs="*", type=Path, metavar="NOTEBOOK", help="default: all in notebooks/")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a cell differs")


def main(args: argparse.Namespace) -> int:
    """Write, or with --check only tell; exit code 1 if --check found a difference."""
    paths = args.notebooks or sorted((repo_root() / "notebooks").glob("*.ipynb"))
    if not paths:
        raise CourseError("There is no notebook in notebooks/; give the path of one.")
    changed = [line for path in paths for line in sync(path, write=not args.check)]
    for line in changed:
        print(("differs: " if args.check else "written: ") + line)
    if args.check and changed:
        print("Run `course sync` to write these cells from the package.")
        return 1
    if not changed:
        print(f"{len(paths)} notebook(s) already in sync.")
    return 0
