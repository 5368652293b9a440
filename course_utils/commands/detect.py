"""``course detect``: one system on one photograph."""

import argparse
import time
from pathlib import Path

from course_utils.commands.systems import (
    add_device,
    add_json,
    add_origin,
    add_system,
    data_of,
    learned_option,
    natural,
    print_json,
    ready_system,
)
from course_utils.detectors import SYSTEMS, detector_class
from course_utils.errors import CourseError

HELP = "Detect objects in a photograph and draw them."
KINDS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
EXAMPLE = "course detect mean_box photo.jpg --out found.png --json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what ``course detect`` takes."""
    add_system(parser)
    parser.add_argument("photo", metavar="PHOTO", help="an image file")
    parser.add_argument(
        "--out", metavar="FILE", help="where to write the picture with its boxes (.png, .jpg, .pdf, .svg)"
    )
    parser.add_argument(
        "--top", type=natural, default=10, metavar="N", help="how many of the best detections (default: %(default)s)"
    )
    parser.add_argument("--data", help="data set to learn from (default: the system's own, mostly toyvoc)")
    add_origin(parser)
    add_device(parser)
    add_json(parser)


def main(args: argparse.Namespace) -> int:
    """Print and draw the best detections."""
    from course_utils.detectors.base import Detector
    from course_utils.images import read_image

    data = data_of(args)
    if not issubclass(detector_class(args.system), Detector):
        raise CourseError(f"{args.system} finds no boxes; its task is {SYSTEMS[args.system].task}.")
    if learned_option(args) and args.data:
        raise CourseError(f"{learned_option(args)} brings what was learned; leave out --data.")
    if args.out and Path(args.out).suffix.lower() not in KINDS:
        raise CourseError(f"--out {args.out}: wanted a file that ends in {', '.join(KINDS)}.")
    image = read_image(args.photo)
    detector = ready_system(args, data)
    start = time.perf_counter()
    found = detector.detect(image)
    seconds = time.perf_counter() - start
    boxes, scores = found["boxes"][: args.top], found["scores"][: args.top].tolist()
    names = [detector.classes[label - 1] for label in found["labels"][: args.top].tolist()]
    if args.out:
        draw(image, boxes, names, scores, Path(args.out))
    if args.json:
        best = [{"class": c, "score": s, "box": b} for c, s, b in zip(names, scores, boxes.tolist())]
        print_json(
            system=args.system, data=args.photo, split=None, n_images=1, classes=detector.classes,
            seconds_per_image=seconds, metrics={}, detections=best,
        )  # fmt: skip
        return 0
    print(f"{len(found['boxes'])} detections; the best {len(names)}:")
    for name, score, box in zip(names, scores, boxes.tolist()):
        print(f"{name:14s} {score:6.2f}   " + " ".join(f"{value:6.1f}" for value in box))
    return 0


def draw(image, boxes, names, scores, out: Path) -> None:
    """Write the picture with its boxes to a file of the kind that its name says."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from course_utils.plots import draw_boxes, show, use_course_style

    use_course_style()
    height, width = image.shape[:2]
    longer = max(height, width)
    fig, ax = plt.subplots(figsize=(max(8 * width / longer, 1), max(8 * height / longer, 1)), layout="tight")
    show(image, ax)
    draw_boxes(ax, boxes, names, scores, kind="candidate")
    out.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(out, dpi=120)
    plt.close(fig)
