"""Annotations of dlib's imglab tool."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from course_utils.datasets.base import FLAGS, Dataset, make_target, usable_box
from course_utils.datasets.voc import UNPARSABLE, parse_xml
from course_utils.errors import DataError
from course_utils.images import read_image, read_shape


@dataclass
class _Image:
    path: Path
    width: int
    height: int
    turn: bool
    boxes: list[tuple[float, float, float, float]]
    names: list[str]
    flags: dict[str, list[bool]]


class ImglabFile(Dataset):
    """An imglab XML file: ``<image file=...>`` with ``<box top left width height>`` inside.

    Image paths are relative to the file. A box reaches from ``left`` to ``left + width``. The class is the
    box's ``<label>``, "face" without one; ``classes`` are the names found, sorted. ``ignore='1'`` and
    ``difficult='1'`` become ``difficult``. ``strict`` as in `course_utils.datasets.voc.VocFolder`.
    """

    def __init__(self, path: str | Path, *, strict: bool = True) -> None:
        self.path = Path(path)
        try:
            root = parse_xml(self.path.read_bytes())
        except FileNotFoundError as error:
            raise DataError(f"There is no file {self.path}.") from error
        except UNPARSABLE as error:
            raise DataError(f"{self.path} is no readable XML: {error}.") from error
        if root.tag != "dataset" or root.find("images") is None:
            raise DataError(
                f"{self.path} is no imglab file: wanted <dataset> with <images> inside, found <{root.tag}>."
            )
        super().__init__(self.path.parent.name, self.path.stem, (), ())
        images: dict[str, _Image] = {}
        for element in root.findall("images/image"):
            name = element.get("file", "").replace("\\", "/")
            if name in images:
                self.report.fault("image listed twice", f"{self.path.name} lists {name} more than once")
                continue
            image = self._read_element(element, name, check_pixels=not strict)
            if image is not None:
                images[name] = image
        if strict:
            self.report.raise_if_faulty(str(self.path))
        if not images:
            raise DataError(f"{self.path} lists no usable image:\n{self.report}")
        self.ids = list(images)
        self._images = list(images.values())
        self.classes = tuple(sorted({name for image in self._images for name in image.names})) or ("face",)

    def image(self, i: int) -> np.ndarray:
        return read_image(self._images[i].path, self._images[i].turn)

    def target(self, i: int) -> dict[str, torch.Tensor]:
        image = self._images[i]
        return make_target(image.boxes, [self.classes.index(name) + 1 for name in image.names], **image.flags)

    def size(self, i: int) -> tuple[int, int]:
        return self._images[i].height, self._images[i].width

    def file_name(self, i: int) -> str:
        return self.ids[i]

    def _content(self, i: int) -> Iterable[bytes]:
        return [self._images[i].path.read_bytes()]

    def _read_element(self, element, name: str, check_pixels: bool) -> _Image | None:
        path = self.path.parent / name
        try:
            # dlib itself never turns an image; the size that newer versions state decides here as everywhere
            size = [element.get(key, "") for key in ("width", "height")]
            stated = tuple(map(int, size)) if all(text.isdigit() for text in size) else None
            width, height, turn = read_shape(path, stated)
            if check_pixels:
                read_image(path, turn)
        except DataError as error:
            self.report.fault("image cannot be read", str(error).replace(f"{self.path.parent}/", ""))
            return None
        if stated not in (None, (width, height)):
            line = f"{name} is stated as {stated[0]} x {stated[1]} but has {width} x {height}"
            self.report.fault("stated size differs from the image", line)
            return None
        image = _Image(path, width, height, turn, [], [], {flag: [] for flag in FLAGS})
        for k, box in enumerate(element.findall("box"), start=1):
            where = f"{name} box {k}"
            try:
                left, top, across, down = (float(box.get(key, "")) for key in ("left", "top", "width", "height"))
            except ValueError:
                self.report.fault("box is not a number", f"{where} has {dict(box.attrib)}")
                continue
            corners = usable_box((left, top, left + across, top + down), width, height, where, self.report)
            if corners is None:
                continue
            image.boxes.append(corners)
            image.names.append((box.findtext("label") or "").strip() or "face")
            image.flags["difficult"].append("1" in (box.get("ignore"), box.get("difficult")))
            image.flags["truncated"].append(box.get("truncated") == "1")
            image.flags["occluded"].append(box.get("occluded") == "1")
        return image
