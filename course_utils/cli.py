"""The console script ``course``: one verb, one module of ``course_utils.commands``."""

import argparse
import importlib
import sys
from types import ModuleType

from course_utils.errors import CourseError

VERBS = ("run", "data", "doctor", "train", "evaluate", "detect", "experiment", "sync")


def _module(verb: str) -> ModuleType:
    return importlib.import_module(f"course_utils.commands.{verb}")


def make_parser(verbs: tuple[str, ...] = VERBS) -> argparse.ArgumentParser:
    """The command line of these verbs."""
    parser = argparse.ArgumentParser(
        prog="course",
        description="Object detection from HoG to YOLO: run the notebooks, make the data, train and measure.",
        epilog="`course VERB --help` shows an example of each.",
    )
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for verb in verbs:
        module = _module(verb)
        sub = subparsers.add_parser(
            verb,
            help=module.HELP,
            description=module.HELP,
            epilog=f"Example:\n  {module.EXAMPLE}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit code: 0 done, 1 a check or notebook failed, 2 a `CourseError`, 130 Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    # Only the verb asked for is imported, so that `course doctor` works where another verb cannot start.
    verbs = (argv[0],) if argv and argv[0] in VERBS else VERBS
    args = make_parser(verbs).parse_args(argv)
    try:
        return _module(args.verb).main(args)
    except CourseError as error:
        print(f"course: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncourse: stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
