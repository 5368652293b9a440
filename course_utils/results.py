"""Rows of results: what a detector found, beside what was there; tables, drawings and comparisons are made of them.

All figures are computed from the raw detections when they are asked for, by one ruler (`course_utils.metrics`), and any
two rows over the same pictures can be compared.
"""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.ops import box_area

from course_utils.bundle import read_bundle, write_bundle
from course_utils.errors import CourseError, DataError
from course_utils.metrics import (
    MIN_OBJECTS,
    Comparison,
    MeanAP,
    evaluate_boxes,
    interval,
    match,
    paired_bootstrap,
    precision_recall,
)
from course_utils.store import Store

FORMAT = "row 1"
DETECTION = ("boxes", "labels", "scores")
TARGET = ("boxes", "labels", "difficult")
OPTIONAL = ("iscrowd", "area")


class Measured:
    """What the results of all tasks have in common; a subclass is a dataclass with these two fields.

    Attributes
    ----------
    info : dict
        With ``classes``, see `Row`.
    seconds : Tensor
        float32 ``(N,)``: of each measurement.
    """

    info: dict[str, Any]
    seconds: Tensor

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(self.info["classes"])

    @property
    def seconds_per_image(self) -> float:
        """Median over the measurements: images, or persons where those are looked at one by one."""
        return float(np.median(self.seconds))


@dataclasses.dataclass(frozen=True)
class Row(Measured):
    """What one detector found on one part of a data set.

    Attributes
    ----------
    info : dict
        JSON: ``system``, ``config``, ``trained_on``, ``data`` (name, split, digest), ``classes``,
        ``stage_seconds`` (mean per image), ``hardware``, ``versions``, ``key``, ``date``, ``command``, and
        ``learned_from_too``, how many of these images the detector was trained on as well.
    detections, targets : list of dict
        One per image; labels are those of ``info["classes"]``.
    seconds : Tensor
        float32 ``(n_images,)``: how long `detect` took for each.
    """

    info: dict[str, Any]
    detections: list[dict[str, Tensor]]
    targets: list[dict[str, Tensor]]
    seconds: Tensor

    @property
    def name(self) -> str:
        """The system, and what sets it apart: its configuration where it is not the usual one."""
        return self.info["label"]

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """All of `course_utils.metrics.evaluate_boxes`."""
        return evaluate_boxes(self.detections, self.targets, self.classes)

    @cached_property
    def mean_ap(self) -> MeanAP:
        """mAP (AP50, classes with at least 30 objects) as something to resample."""
        return MeanAP(self.detections, self.targets)

    @cached_property
    def interval(self) -> tuple[float, float]:
        """95 % interval of mAP under resampling of the images."""
        return interval(self.mean_ap)

    def save(self, path: str | Path) -> None:
        """Write the row to one file (safetensors with the JSON in its header)."""
        write_bundle(path, *pack(self))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The row that `save` wrote; raises `DataError` if the file is missing, damaged or no row."""
        tensors, info = read_bundle(path)
        if info.get("format") != FORMAT:
            raise DataError(f"{path} is no row of results (wanted a file that `course evaluate` or save(path) wrote).")
        return unpack(tensors, info)

    def __str__(self) -> str:
        found, data = self.metrics, self.info["data"]
        lines = [f"{self.name} on {data['name']}/{data['split']}: {len(self.targets)} images"]
        lines += [f"{'class':14s} {'objects':>7s}  AP50"]
        lines += [f"{c:14s} {found['n'][c]:7d}  {_figure(found['AP50'][c])}" for c in self.classes]
        low, high = self.interval
        over = f"mean of {len(found['mAP_classes'])} classes with {MIN_OBJECTS} objects or more"
        coco = ", ".join(f"{key} {_figure(found['COCO'][key])}" for key in ("AP", "AP50", "AP75"))
        lines += [f"mAP {_figure(found['mAP'])}   95 % interval {_figure(low)} to {_figure(high)}; {over}"]
        lines += [f"by COCO's rules, over all classes that occur: {coco}", f"{self.seconds_per_image:.2g} s per image"]
        if seen := self.info["learned_from_too"]:
            lines += [f"Beware: the detector was trained on {seen} of these images."]
        return "\n".join(lines)

    def draw(self) -> Figure:
        """Precision over recall for each class, and AP50 per class; hand it to `show_figure`."""
        fig, (curves, bars) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for label, name in enumerate(self.classes, 1):
            matches = match(self.detections, self.targets, label)
            if matches.n_objects:
                line = "-" if label <= 10 else "--"  # the style has ten colours
                curves.plot(*precision_recall(matches.kind, matches.n_objects), line, label=name)
        curves.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        if curves.lines:
            curves.legend(ncols=2, fontsize="small")
        ap, n = self.metrics["AP50"], self.metrics["n"]
        bars.barh([f"{c} ({n[c]})" for c in self.classes], [ap[c] for c in self.classes])
        bars.invert_yaxis()
        bars.set(xlabel="AP50 (in brackets: objects)", xlim=(0, 1))
        fig.suptitle(f"{self.name} on {self.info['data']['name']}/{self.info['data']['split']}")
        return fig


def _figure(value: float) -> str:
    return "  -  " if np.isnan(value) else f"{value:.3f}"


def flat(images: Sequence[dict[str, Tensor]], keys: Iterable[str], prefix: str) -> dict[str, Tensor]:
    """Per-image tensors one after the other, and how many each image has."""
    columns = {f"{prefix}{key}": torch.cat([image[key] for image in images]) for key in keys}
    return columns | {f"{prefix}counts": torch.tensor([len(image["boxes"]) for image in images])}


def per_image(tensors: dict[str, Tensor], prefix: str) -> list[dict[str, Tensor]]:
    """What `flat` laid in one, as one dictionary per image again."""
    counts = tensors[f"{prefix}counts"].tolist()
    keys = [key.removeprefix(prefix) for key in tensors if key.startswith(prefix) and key != f"{prefix}counts"]
    parts = {key: tensors[f"{prefix}{key}"].split(counts) for key in keys}
    return [{key: parts[key][i] for key in keys} for i in range(len(counts))]


def pack(row: Row) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and JSON that hold a row in a file."""
    given = [key for key in OPTIONAL if any(key in target for target in row.targets)]
    targets = [{key: _usual(key, target["boxes"]) for key in given} | target for target in row.targets]
    tensors = flat(row.detections, DETECTION, "found.") | flat(targets, (*TARGET, *given), "target.")
    return tensors | {"seconds": row.seconds}, row.info


def _usual(key: str, boxes: Tensor) -> Tensor:
    """What the ruler takes where an image's target does not say."""
    return box_area(boxes) if key == "area" else torch.zeros(len(boxes), dtype=torch.bool)


def unpack(tensors: dict[str, Tensor], info: dict[str, Any]) -> Row:
    """The row that `pack` took apart."""
    return Row(info, per_image(tensors, "found."), per_image(tensors, "target."), tensors["seconds"])


def rows(store: Store | None = None, **wanted: Any) -> list[Row]:
    """The rows of a store; ``system``, ``data`` and ``split`` choose among them, by name."""
    unknown = set(wanted) - {"system", "data", "split"}
    if unknown:
        raise CourseError(f"rows() can choose by system, data and split, not by {', '.join(sorted(unknown))}.")
    found = []
    for entry in (store or Store()).entries("rows"):
        info = entry.info
        if info.get("format") != FORMAT:
            print(
                f"{entry.path} is of another version of the course and left out; "
                "`course doctor --clear-store` removes such files with all others.",
                file=sys.stderr,
            )
            continue
        facts = {"system": info["system"], "data": info["data"]["name"], "split": info["data"]["split"]}
        if all(facts[key] == value for key, value in wanted.items()):
            found.append(Row.load(entry.path))
    return sorted(found, key=lambda row: (row.name, row.info["data"]["name"], row.info["data"]["split"]))


def compare(first: Row, second: Row, n: int = 1000, seed: int = 0) -> Comparison:
    """mAP of two rows over the same pictures, and the 95 % interval of their difference (paired bootstrap).

    Raises `DataError` if the rows are over other pictures or other classes.
    """
    if first.info["data"]["digest"] != second.info["data"]["digest"]:
        one, other = (f"{row.info['data']['name']}/{row.info['data']['split']}" for row in (first, second))
        raise DataError(f"The rows are over other pictures ({one} and {other}); only the same can be compared.")
    if first.classes != second.classes:
        raise DataError(f"The rows are over other classes: {first.classes} and {second.classes}.")
    return paired_bootstrap(first.mean_ap, second.mean_ap, n=n, seed=seed)


class ResultTable:
    """Rows below one another: mAP with its interval, COCO's AP and AP75, seconds per image.

    Parameters
    ----------
    rows : sequence of Row
        At least one.
    """

    def __init__(self, rows: Sequence[Row]) -> None:
        if not rows:
            raise CourseError("a table needs at least one row; `course evaluate SYSTEM` makes one.")
        self.rows = list(rows)

    def cells(self) -> list[tuple[str, ...]]:
        """The table's lines, the first of them its head."""
        lines = [("system", "data", "images", "classes", "mAP", "95 % interval", "COCO AP", "COCO AP75", "s/image")]
        for row in self.rows:
            found, (low, high) = row.metrics, row.interval
            lines.append(
                (
                    row.name, f"{row.info['data']['name']}/{row.info['data']['split']}", str(len(row.targets)),
                    str(len(found["mAP_classes"])), _figure(found["mAP"]), f"{_figure(low)} to {_figure(high)}",
                    _figure(found["COCO"]["AP"]), _figure(found["COCO"]["AP75"]), f"{row.seconds_per_image:.2g}",
                )
            )  # fmt: skip
        return lines

    def __str__(self) -> str:
        lines = self.cells()
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)

    def _repr_html_(self) -> str:
        head, *body = self.cells()
        lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head) + "</tr>"]
        lines += ["<tr>" + "".join(f"<td>{cell}</td>" for cell in line) + "</tr>" for line in body]
        return f"<table>{''.join(lines)}</table>"

    def draw(self) -> Figure:
        """mAP of each row as a dot with its interval; hand it to `show_figure`."""
        fig, ax = plt.subplots(figsize=(7, 0.8 + 0.4 * len(self.rows)), layout="constrained")
        for place, row in enumerate(self.rows):
            low, high = row.interval
            ax.plot([low, high], [place, place], linewidth=2)
            ax.plot(row.metrics["mAP"], place, "o", color=ax.lines[-1].get_color())
        places = {(row.info["data"]["name"], row.info["data"]["split"]) for row in self.rows}
        names = [
            row.name if len(places) == 1 else f"{row.name} on {row.info['data']['name']}/{row.info['data']['split']}"
            for row in self.rows
        ]
        ax.set_yticks(range(len(self.rows)), names)
        ax.invert_yaxis()
        ax.set(xlabel="mAP (AP50), with its 95 % interval over images", xlim=(0, 1))
        return fig
