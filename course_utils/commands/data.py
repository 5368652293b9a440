"""``course data``: make ToyVOC or ToyNet, check it, or make a variant of it elsewhere."""

import argparse
import json
import time
from pathlib import Path

from course_utils.errors import CourseError
from course_utils.paths import data_dir

HELP = "Make ToyVOC (about a minute, once), verify it, or draw a variant of it in another folder."
EXAMPLE = """course data                                  # data/toyvoc: train, val, test and the small lists
  course data --verify                         # every file against its checksum
  course data --out data/toyvoc-hard --difficulty 1.5 --seed 7 --classes cat dog duck"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course data`` takes."""
    parser.add_argument(
        "--verify", action="store_true", help="only check the files that are there; exit 1 if one is damaged"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="where to (default: the world's own in the data folder)"
    )
    parser.add_argument(
        "--world", choices=["toyvoc", "toynet"], default="toyvoc", help="toynet: 24 other classes for pretraining"
    )
    parser.add_argument("--seed", type=int, help="another world (default: 2016)")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="pixels per side (default: 256)")
    parser.add_argument("--difficulty", type=float, metavar="D", help="0 stiff and empty, 1 ToyVOC, up to 2")
    parser.add_argument("--classes", nargs="+", metavar="CLASS", help="some of the world's classes")
    parser.add_argument(
        "--quarters", type=int, metavar="K", help="0 to 3: which quarters of the photographs serve which split"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def main(args: argparse.Namespace) -> int:
    """Run the verb; exit code 1 if --verify found damage."""
    from course_utils.datasets import toyvoc

    if args.verify:
        damaged = toyvoc.verify(args.out or data_dir() / args.world)
        if args.json:
            print(json.dumps(damaged))
        for name, ids in ({} if args.json else damaged).items():
            print(f"{name:12s} " + (f"{len(ids)} damaged or missing: {', '.join(ids[:3])}" if ids else "whole"))
        if any(damaged.values()) and not args.json:
            print(f"Mend it with: course data --world {args.world}", end="")
            print(f" --out {args.out}, and the options that it was made with" if args.out else "")
        return int(any(damaged.values()))

    names = ("seed", "size", "difficulty", "quarters")
    asked = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.classes:
        asked["classes"] = tuple(sorted(args.classes))
    if asked and args.out is None:
        raise CourseError("a variant needs a folder of its own: add --out FOLDER.")
    start = time.perf_counter()
    recipe = toyvoc.Recipe(world=args.world, **asked)
    root = toyvoc.ensure(recipe=recipe, root=args.out)
    seconds = time.perf_counter() - start
    counts = {name: len(ids) for name, ids in toyvoc.WORLDS[recipe.world].lists().items()}
    if args.json:
        print(json.dumps({"folder": str(root), "lists": counts, "seconds": round(seconds, 1)}))
    else:
        print(f"{root}: " + ", ".join(f"{name} {n}" for name, n in counts.items()) + f" ({seconds:.0f} s)")
    return 0
