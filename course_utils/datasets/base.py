"""What every data set of the course has in common: one face, one target dictionary, one check of boxes."""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from course_utils.errors import DataError
from course_utils.joints import JOINTS

FLAGS = ("difficult", "truncated", "occluded")  # what every target says of every object


@dataclass
class Report:
    """What a reader met in the files.

    Attributes
    ----------
    faults : dict
        Objects and images that cannot be used: from a kind to one line per case, each of which names its file.
    notes : dict
        The same for what was put right.
    """

    faults: dict[str, list[str]] = field(default_factory=dict)
    notes: dict[str, list[str]] = field(default_factory=dict)

    def fault(self, kind: str, line: str) -> None:
        """Count a fault."""
        self.faults.setdefault(kind, []).append(line)

    def note(self, kind: str, line: str) -> None:
        """Count something that was put right and need not stop anybody."""
        self.notes.setdefault(kind, []).append(line)

    @property
    def counts(self) -> dict[str, int]:
        """Number of faults of each kind."""
        return {kind: len(lines) for kind, lines in self.faults.items()}

    def raise_if_faulty(self, what: str, shown: int = 5) -> None:
        """Raise one `DataError` that names the faulty files of the data set ``what``, if there are any."""
        total = sum(self.counts.values())
        if not total:
            return
        lines = [f"{kind}: {line}" for kind, lines in self.faults.items() for line in lines]
        listed = "\n  ".join(lines[:shown]) + (f"\n  ... and {total - shown} more" if total > shown else "")
        raise DataError(
            f"{what} has {total} fault{'s' * (total > 1)}:\n  {listed}\n"
            "Mend the files, or open with strict=False: then what cannot be used is left out, boxes that "
            "stick out are cut, and dataset.report counts it all."
        )

    def __str__(self) -> str:
        if not self.faults and not self.notes:
            return "no faults"
        rows = [f"{len(lines):6d}  {kind}" for kind, lines in self.faults.items()]
        rows += [f"{len(lines):6d}  (put right) {kind}" for kind, lines in self.notes.items()]
        return "\n".join(rows)


class Dataset(ABC):
    """Images with their objects; ``dataset[i]`` is image ``i`` and its target.

    Attributes
    ----------
    name, split : str
        What the data set and its part are called.
    classes : tuple of str
        Label k means ``classes[k - 1]``; 0 is background.
    ids : list of str
        One per image.
    report : Report
        What the reader found wrong with the files.
    with_masks : bool
        Set it to False, and targets leave masks out, which is faster.
    """

    def __init__(self, name: str, split: str, classes: Sequence[str], ids: Sequence[str]) -> None:
        self.name = name
        self.split = split
        self.classes = tuple(classes)
        self.ids = list(ids)
        self.report = Report()
        self.with_masks = True
        self._digest: str | None = None
        self._image_hashes: tuple[str, ...] = ()

    @abstractmethod
    def image(self, i: int) -> np.ndarray:
        """Image ``i``: uint8 ``(H, W, 3)``, RGB. Raises `DataError` if its file cannot be decoded."""

    @abstractmethod
    def target(self, i: int) -> dict[str, Tensor]:
        """Objects of image ``i``, as `make_target` gives them."""

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of image ``i`` in pixels."""
        return self.image(i).shape[:2]

    def file_name(self, i: int) -> str:
        """Name of the file of image ``i``; what is not stored as a file gets a name all the same."""
        return f"{self.ids[i]}.png"

    def _content(self, i: int) -> Iterable[bytes]:
        """Bytes that define image ``i``, then those of its masks; what the target says is added by `digest`."""
        return [self.image(i).tobytes()]

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the content.

        It covers class names, ids, boxes, labels, flags, areas, joints, and the bytes of the image and mask files (of
        the decoded image, where there is no file of its own). Names of folders do not enter.
        """
        if self._digest is None:
            digest, hashes = hashlib.sha256(json.dumps([self.classes, self.ids]).encode()), []
            with self.masks_left_out():
                for i in range(len(self)):
                    for key, value in sorted(self.target(i).items()):
                        digest.update(f"{key}{tuple(value.shape)}".encode() + value.numpy().tobytes())
                    for number, part in enumerate(self._content(i)):
                        digest.update(f"{len(part)}:".encode() + part)
                        if not number:
                            hashes.append(hashlib.sha256(part).hexdigest()[:16])
            self._digest, self._image_hashes = digest.hexdigest(), tuple(hashes)
        return self._digest

    @property
    def image_hashes(self) -> tuple[str, ...]:
        """One hash per image, of its bytes alone: the same picture is known again under any name."""
        _ = self.digest  # reads the same bytes
        return self._image_hashes

    @contextmanager
    def masks_left_out(self) -> Iterator[None]:
        """Inside the block targets come without masks, which is faster."""
        before, self.with_masks = self.with_masks, False
        try:
            yield
        finally:
            self.with_masks = before

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: int) -> tuple[np.ndarray, dict[str, Tensor]]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"{self!r} has no image {i}")
        i %= len(self)
        return self.image(i), self.target(i)

    def __iter__(self) -> Iterator[tuple[np.ndarray, dict[str, Tensor]]]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<{self.name}/{self.split}: {len(self)} images, {len(self.classes)} classes>"


def make_target(
    boxes: Iterable,
    labels: Iterable[int],
    *,
    difficult: Iterable[bool] | None = None,
    truncated: Iterable[bool] | None = None,
    occluded: Iterable[bool] | None = None,
    iscrowd: Iterable[bool] | None = None,
    area: Iterable[float] | None = None,
    joints: np.ndarray | None = None,
    masks: np.ndarray | None = None,
) -> dict[str, Tensor]:
    """The target dictionary of one image, CPU tensors.

    Always: ``boxes`` float32 ``(N, 4)`` as x1 y1 x2 y2 on continuous pixel edges, ``labels`` int64 ``(N,)``,
    ``difficult``, ``truncated``, ``occluded`` bool ``(N,)`` (False where not given). If given: ``iscrowd``
    bool ``(N,)``, ``area`` float32 ``(N,)`` in square pixels (COCO's, which decides what is small), ``joints``
    float32 ``(N, 14, 3)`` as x, y, v (v: 0 absent, 1 hidden, 2 visible) and ``masks`` bool ``(N, H, W)``,
    visible pixels. Raises `DataError` if the lengths differ.
    """
    target = {
        "boxes": torch.tensor(np.array(list(boxes), dtype=np.float32).reshape(-1, 4)),
        "labels": torch.tensor(list(labels), dtype=torch.int64),
    }
    n = len(target["labels"])
    for key, flags in zip(FLAGS, (difficult, truncated, occluded)):
        target[key] = torch.tensor([False] * n if flags is None else list(flags), dtype=torch.bool)
    if iscrowd is not None:
        target["iscrowd"] = torch.tensor(list(iscrowd), dtype=torch.bool)
    if area is not None:
        target["area"] = torch.tensor(list(area), dtype=torch.float32)
    if joints is not None:
        target["joints"] = torch.tensor(joints, dtype=torch.float32).reshape(-1, len(JOINTS), 3)
    if masks is not None:
        target["masks"] = torch.tensor(masks, dtype=torch.bool)
    lengths = {key: len(value) for key, value in target.items()}
    if set(lengths.values()) != {n}:
        raise DataError(f"A target needs one entry per object everywhere; these lengths differ: {lengths}.")
    return target


def usable_box(
    box: Sequence[float], width: int, height: int, where: str, report: Report
) -> tuple[float, float, float, float] | None:
    """The box ``(x1, y1, x2, y2)`` cut to the image, or None if it is no box; every reader's boxes pass here.

    A box that sticks out by at most one pixel is cut and noted (1-based and 0-based edges are easily
    confused). One that sticks out further is a fault, and cut if a pixel or more of it lies in the image. Not
    a number, without area, or wholly outside: a fault, and None. ``where`` names file and object in the report.
    """
    corners = ", ".join(f"{key} {value:g}" for key, value in zip(("x1", "y1", "x2", "y2"), box))
    line = f"{where} has {corners} in an image of {width} x {height}"
    if not all(map(math.isfinite, box)):
        report.fault("box is not a number", line)
        return None
    x1, y1, x2, y2 = box
    if x2 <= x1 or y2 <= y1:
        report.fault("zero-size or inverted box", line)
        return None
    sticks_out = max(-x1, -y1, x2 - width, y2 - height)
    if sticks_out <= 0:
        return x1, y1, x2, y2
    cut = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if cut[2] <= cut[0] or cut[3] <= cut[1]:
        report.fault("box outside the image", line)
        return None
    if sticks_out <= 1:
        report.note("box cut at the border by one pixel or less", line)
    else:
        report.fault("box sticks out of the image", line)
        if cut[2] - cut[0] < 1 or cut[3] - cut[1] < 1:
            return None
    return cut
