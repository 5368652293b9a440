"""What ``train``, ``evaluate`` and ``detect`` have in common: their arguments, and how a system comes to be."""

import argparse
import inspect
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from course_utils.detectors import SYSTEMS, detector_class, load_detector
from course_utils.errors import CourseError
from course_utils.files import plain

if TYPE_CHECKING:
    from course_utils.datasets import Dataset
    from course_utils.detectors.base import Learned

TRAINING_SPLITS = ("fit", "train", "trainval")  # who splits a train list calls the parts fit and holdout: fit first
TEST_SPLITS = ("test", "holdout", "val")


def add_system(parser: argparse.ArgumentParser) -> None:
    """The system's name and the seed."""
    known = "; ".join(f"{name} ({system.about})" for name, system in SYSTEMS.items())
    parser.add_argument("system", metavar="SYSTEM", help=f"name of the system: {known}")
    parser.add_argument("--seed", type=natural, metavar="N", help="seed of all randomness (default: 0)")


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where to compute."""
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda, for systems that are networks")


def add_training(parser: argparse.ArgumentParser) -> None:
    """How to train."""
    parser.add_argument("--epochs", type=positive, metavar="N", help="how often to go through the data, for networks")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any other setting of the system, such as joint=true (localization); may be given several times",
    )
    parser.add_argument(
        "--resume",
        action=argparse.BooleanOptionalAction,
        help="go on where an interrupted training stopped (default), or keep and use no checkpoints",
    )


def add_origin(parser: argparse.ArgumentParser) -> None:
    """Where the system's parameters come from."""
    parser.add_argument("--parameters", metavar="FILE", help="what `course train` saved, instead of training")
    parser.add_argument(
        "--model",
        metavar="FILE",
        action="append",
        help="a model that others have trained, instead of training; one per class (dpm: .mat of voc-release5)",
    )
    parser.add_argument(
        "--train-split",
        metavar="SPLIT",
        help=f"part of the data to learn from (default: the first there is of {', '.join(TRAINING_SPLITS)})",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def natural(text: str) -> int:
    """A whole number from 0, for argparse."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"wanted a whole number from 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """A whole number from 1, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"wanted a whole number from 1, got {text!r}")
    return int(text)


def settings(args: argparse.Namespace, names: tuple[str, ...]) -> dict[str, Any]:
    """Those of the options that were given, for the system's constructor.

    Raises `CourseError` for one that the system does not have.
    """
    given = {name: getattr(args, name) for name in names if getattr(args, name, None) is not None}
    known = inspect.signature(detector_class(args.system)).parameters
    for name in given:
        if name not in known:
            raise CourseError(f"{args.system} has no setting {name!r}; leave out --{name}.")
    for text in getattr(args, "set", ()):
        name, _, value = text.partition("=")
        if name not in known or not value:
            raise CourseError(
                f"--set {text}: wanted NAME=VALUE, and the settings of {args.system} are {', '.join(known)}."
            )
        try:
            given[name] = json.loads(value)
        except json.JSONDecodeError:
            given[name] = value  # text needs no quotes
    return given


def open_part(data: str, split: str | None, usual: tuple[str, ...], option: str) -> "Dataset":
    """The part of ``data`` called ``split``; if nothing is said, the first of the ``usual`` ones that it has.

    ``option`` is what chooses it on the command line, for the message.
    """
    from course_utils.datasets import open_dataset, splits

    there = splits(data)
    if split is None and there:
        split = next((name for name in usual if name in there), None)
        if split is None:
            raise CourseError(
                f"{data} has the parts {', '.join(there)} and none of {', '.join(usual)}; choose one with {option}."
            )
    return open_dataset(data, split)


def learned_option(args: argparse.Namespace) -> str | None:
    """The option that brings what was learned, if one is given: nothing is trained then."""
    return "--model" if args.model else "--parameters" if args.parameters else None


def ready_system(args: argparse.Namespace, data: str) -> "Learned":
    """The system that the arguments mean: from files, or trained on ``data`` (once; the store remembers it)."""
    from course_utils.detectors.base import fit_or_recall

    system = detector_class(args.system)
    option = learned_option(args)
    if option is None:
        return fit_or_recall(
            system(**settings(args, ("seed", "device"))),
            open_part(data, args.train_split, TRAINING_SPLITS, "--train-split"),
        )
    ignored = [name for name in ("seed", "train_split") if getattr(args, name) is not None]
    if args.parameters and args.model:
        ignored = ["parameters"]
    if ignored:
        raise CourseError(f"{option} brings what was learned; leave out --{ignored[0].replace('_', '-')}.")
    how = settings(args, ("device",))
    if args.model:
        return system.from_models(args.model)
    learned = load_detector(args.parameters, **how)
    if learned.system != args.system:
        raise CourseError(f"{args.parameters} holds a {learned.system}, not a {args.system}.")
    return learned


def data_of(args: argparse.Namespace) -> str:
    """``--data``, or what the system learns from if nothing is said."""
    detector_class(args.system)  # an unknown name is told before anything else
    return args.data or SYSTEMS[args.system].data


def command_line() -> str:
    """This very command, for the record."""
    return shlex.join(["course", *sys.argv[1:]])


def print_json(**facts: Any) -> None:
    """One object with the keys that all verbs share: task, system, data, split, n_images, classes, ..., command.

    What is not a number (NaN, where there was nothing to measure) becomes null.
    """
    facts = {"task": "detection", **facts, "command": command_line()}
    print(json.dumps(plain(facts), indent=2, allow_nan=False))
