"""Folders in the layout of PASCAL VOC: a reader, writers, and VOC itself."""

import io
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import file_digest
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import torch
from PIL import Image

from course_utils.datasets.base import FLAGS, Dataset, Report, make_target, usable_box
from course_utils.errors import CourseError, DataError
from course_utils.files import atomic_write
from course_utils.images import IMAGE_SUFFIXES, read_image, read_shape
from course_utils.joints import JOINTS
from course_utils.paths import data_dir

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person",
    "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOID = 255  # pixels of a mask file that belong to nobody
_FLAG_WORDS = {
    "": False, "0": False, "false": False, "no": False, "unspecified": False, "1": True, "true": True, "yes": True,
}  # fmt: skip
_CORNERS = ("xmin", "ymin", "xmax", "ymax")

# What `parse_xml` raises; the last two for unknown encodings.
UNPARSABLE = (ET.ParseError, ValueError, LookupError)


class _NoDoctype(ET.TreeBuilder):
    """Refuses a DOCTYPE, the only place where entities (and entity bombs) can be declared."""

    def doctype(self, *_: str | None) -> None:
        raise ET.ParseError("it has a DOCTYPE, which annotations do not need and which can hide entity bombs")


def parse_xml(content: bytes) -> ET.Element:
    """Root of an XML document from an untrusted file; raises one of `UNPARSABLE`."""
    return ET.fromstring(content, parser=ET.XMLParser(target=_NoDoctype()))


@dataclass
class _Object:
    """One usable object; ``place`` is k for the k-th <object> of the file, its number in the mask file."""

    name: str
    box: tuple[float, float, float, float]
    flags: dict[str, bool]
    joints: np.ndarray | None
    place: int


@dataclass
class _Image:
    """One image of a folder; ``total`` counts its <object> elements, usable or not."""

    path: Path
    width: int
    height: int
    turn: bool
    objects: list[_Object]
    total: int


class VocFolder(Dataset):
    """A folder with ``JPEGImages``, ``Annotations``, and perhaps ``ImageSets/Main`` and ``SegmentationObject``.

    Parameters
    ----------
    root : str or Path
        The folder.
    split : str, optional
        A list in ``ImageSets/Main``, without ``.txt``; None reads all annotations. Of a per-class list such as
        ``cat_train`` (lines ``id -1``) the images marked -1, without the class, are left out.
    classes : sequence of str, optional
        Names in the order of the labels. None: those of ``classes.txt`` in the folder if there is one, VOC's
        twenty if the folder is called VOC20 and two digits, otherwise all names in all annotations, sorted; so
        labels agree between splits.
    strict : bool
        True raises one `DataError` that lists the faults; False leaves out faulty objects and images and counts
        them in ``report``.

    Notes
    -----
    ``(xmin, ymin, xmax, ymax)`` of the files, 1-based and inclusive, become ``(xmin - 1, ymin - 1, xmax, ymax)``; a
    file's box with ``xmax <= xmin`` counts as zero-size.

    Opening parses the annotations and reads the headers of the images. Pixels are decoded when an image is asked for,
    so a truncated image raises then; with ``strict=False`` all images are decoded once at opening (about 1 ms each),
    so that broken ones can be left out.

    The picture file of an annotation is the one with the same name, whatever its suffix. Instance masks are
    ``SegmentationObject/<id>.png`` with value k for the k-th object of the annotation, 255 for nobody.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        *,
        classes: Sequence[str] | None = None,
        strict: bool = True,
    ) -> None:
        self.root = Path(root)
        for folder in ("Annotations", "JPEGImages"):
            if not (self.root / folder).is_dir():
                raise DataError(f"{self.root} is no folder in VOC layout: it has no folder {folder}/.")
        report = Report()
        annotated = sorted(path.stem for path in (self.root / "Annotations").glob("*.xml"))
        ids = annotated if split is None else self._read_split(split, report)
        if not ids:
            raise DataError(f"{self._where(split)} holds no image at all.")
        super().__init__(self.root.name, split or "all", (), ids)
        self.report = report
        known = classes if classes is not None else self._stated_classes()
        if known is not None and len(set(known)) < len(known):
            raise DataError(f"The classes of {self.root} hold a name twice: {', '.join(known)}.")

        images, missing_annotation = {}, set(ids) - set(annotated)
        for image_id in ids:
            if image_id in missing_annotation:
                report.fault(
                    "missing annotation",
                    f"Annotations/{image_id}.xml is listed in ImageSets/Main/{split}.txt",
                )
            else:
                image = self._read_annotation(image_id, known)
                if image is not None:
                    images[image_id] = image
        if not strict:
            images = {image_id: image for image_id, image in images.items() if self._decodes(image)}
        if split is None:
            for stem in sorted(set(self._pictures) - set(annotated)):
                report.note("image without annotation", f"JPEGImages/{self._pictures[stem][0]} is not used")
        if strict:
            report.raise_if_faulty(self._where(split))
        if not images:
            raise DataError(f"Nothing in {self._where(split)} can be used:\n{report}")

        self.ids = list(images)
        self._images = list(images.values())
        self.classes = tuple(known) if known is not None else self._found_classes(annotated)
        self._label = {name: k for k, name in enumerate(self.classes, start=1)}
        self._any_joints = any(thing.joints is not None for image in self._images for thing in image.objects)

    def image(self, i: int) -> np.ndarray:
        image = self._images[i]
        return read_image(image.path, image.turn)

    def target(self, i: int) -> dict[str, torch.Tensor]:
        objects = self._images[i].objects
        joints = None
        if self._any_joints:
            absent = np.zeros((len(JOINTS), 3), np.float32)
            joints = np.array([absent if thing.joints is None else thing.joints for thing in objects], np.float32)
        return make_target(
            [thing.box for thing in objects],
            [self._label[thing.name] for thing in objects],
            **{flag: [thing.flags[flag] for thing in objects] for flag in FLAGS},
            joints=joints,
            masks=self._read_masks(i) if self.with_masks else None,
        )

    def size(self, i: int) -> tuple[int, int]:
        return self._images[i].height, self._images[i].width

    def file_name(self, i: int) -> str:
        return self._images[i].path.name

    def _content(self, i: int) -> Iterable[bytes]:
        yield self._images[i].path.read_bytes()
        if self._mask_path(i).exists():
            yield self._mask_path(i).read_bytes()

    def _where(self, split: str | None) -> str:
        return f"{self.root} ({'all annotations' if split is None else f'split {split}'})"

    @cached_property
    def _pictures(self) -> dict[str, list[str]]:
        """Names of the image files by stem: one look into the folder for all images."""
        pictures: dict[str, list[str]] = {}
        for path in sorted((self.root / "JPEGImages").iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                pictures.setdefault(path.stem, []).append(path.name)
        return pictures

    def _read_split(self, split: str, report: Report) -> list[str]:
        lists = self.root / "ImageSets" / "Main"
        path = lists / f"{split}.txt"
        if not path.is_file():
            names = sorted(p.stem for p in lists.glob("*.txt"))
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise DataError(
                f"{self.root} has no split {split!r} in ImageSets/Main; it has {shown or 'no lists at all'}."
            )
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        marked = [re.fullmatch(r"(.*\S)\s+(-1|0|1)", line) for line in lines]
        if lines and all(marked):
            lines = [match[1] for match in marked if match[2] != "-1"]
        listed = Counter(lines)
        for image_id, times in sorted(listed.items()):
            if times > 1:
                report.fault("image listed twice", f"ImageSets/Main/{split}.txt lists {image_id} more than once")
        return list(listed)

    def _stated_classes(self) -> Sequence[str] | None:
        path = self.root / "classes.txt"
        if path.is_file():
            return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        return VOC_CLASSES if re.fullmatch(r"VOC20\d\d", self.root.name) else None

    def _found_classes(self, annotated: Sequence[str]) -> tuple[str, ...]:
        """All names in all annotations, sorted.

        A file that does not parse is told about when its own split is opened.
        """
        names = set()
        for image_id in annotated:
            try:
                root = parse_xml((self.root / "Annotations" / f"{image_id}.xml").read_bytes())
            except UNPARSABLE:
                continue
            names.update(_text(thing, "name") for thing in root.findall("object"))
        return tuple(sorted(names - {""}))

    def _read_annotation(self, image_id: str, known: Sequence[str] | None) -> _Image | None:
        """One annotation with the header of its image; None if the image has to be left out."""
        where = f"Annotations/{image_id}.xml"
        try:
            root = parse_xml((self.root / where).read_bytes())
        except UNPARSABLE as error:
            self.report.fault("annotation is no readable XML", f"{where}: {error}")
            return None
        if root.tag != "annotation":
            self.report.fault(
                "annotation is no readable XML", f"{where} is no VOC annotation: its root is <{root.tag}>"
            )
            return None
        picture = self._find_picture(image_id, _text(root, "filename"))
        if picture is None:
            return None
        picture = self.root / "JPEGImages" / picture
        stated = _stated_size(root)
        try:
            width, height, turn = read_shape(picture, stated)
        except DataError as error:
            self.report.fault("image cannot be read", str(error).replace(f"{self.root}/", ""))
            return None
        if stated not in (None, (width, height)):
            self.report.fault(
                "<size> differs from the image",
                f"{where} says {stated[0]} x {stated[1]}, JPEGImages/{picture.name} has {width} x {height}",
            )
            return None
        if turn:
            self.report.note("turned as the EXIF tag says", f"JPEGImages/{picture.name}")
        things = root.findall("object")
        read = [self._read_object(thing, k, where, known, width, height) for k, thing in enumerate(things, start=1)]
        return _Image(picture, width, height, turn, [thing for thing in read if thing is not None], len(things))

    def _find_picture(self, image_id: str, stated: str) -> str | None:
        candidates = self._pictures.get(image_id, [])
        if len(candidates) > 1:
            candidates = [name for name in candidates if name == stated]
        if not candidates:
            kind = "two images for one annotation" if image_id in self._pictures else "missing image"
            self.report.fault(kind, f"JPEGImages/{image_id}.* for Annotations/{image_id}.xml")
            return None
        return candidates[0]

    def _read_object(
        self, thing: ET.Element, place: int, where: str, known: Sequence[str] | None, width: int, height: int
    ) -> _Object | None:
        name = _text(thing, "name")
        where = f"{where} object {place} ({name or 'no name'})"
        if not name:
            self.report.fault("object without name", where)
            return None
        if known is not None and name not in known:
            self.report.fault("unknown class", f"{where}; known are {', '.join(known)}")
            return None
        # a direct child only: the <part> elements of persons have a bndbox of their own, deeper down
        corners = thing.find("bndbox")
        if corners is None:
            self.report.fault("object without bndbox", where)
            return None
        try:
            xmin, ymin, xmax, ymax = (float(_text(corners, key)) for key in _CORNERS)
        except ValueError:
            texts = ", ".join(f"{key} {_text(corners, key)!r}" for key in _CORNERS)
            self.report.fault("box is not a number", f"{where} has {texts}")
            return None
        if xmax <= xmin or ymax <= ymin:
            line = f"{where} has xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g}"
            self.report.fault("zero-size or inverted box", line)
            return None
        box = usable_box((xmin - 1, ymin - 1, xmax, ymax), width, height, where, self.report)
        if box is None:
            return None
        flags = {}
        for flag in FLAGS:
            text = _text(thing, flag)
            if text.lower() not in _FLAG_WORDS:
                self.report.fault("unreadable flag", f"{where} has <{flag}>{text}</{flag}>, wanted 0 or 1")
                return None
            flags[flag] = _FLAG_WORDS[text.lower()]
        try:
            joints = _read_joints(thing.find("joints"))
        except ValueError as error:
            self.report.fault("unreadable joints", f"{where}: {error}")
            return None
        return _Object(name, box, flags, joints, place)

    def _decodes(self, image: _Image) -> bool:
        try:
            read_image(image.path, image.turn)
        except DataError as error:
            self.report.fault("image cannot be read", str(error).replace(f"{self.root}/", ""))
            return False
        return True

    def _mask_path(self, i: int) -> Path:
        return self.root / "SegmentationObject" / f"{self.ids[i]}.png"

    def _read_masks(self, i: int) -> np.ndarray | None:
        """Instance masks ``(N, H, W)`` of image ``i``, or None if the folder has no mask file for it."""
        path, image = self._mask_path(i), self._images[i]
        if not path.exists():
            return None
        try:
            with Image.open(path) as picture:
                mode, numbers = picture.mode, np.array(picture)
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path} cannot be read as a mask image ({error}).") from error
        if mode not in ("P", "L") or numbers.shape != (image.height, image.width):
            raise DataError(
                f"{path} is no mask for its image: wanted a palette or grey image "
                f"of {image.width} x {image.height}, "
                f"found mode {mode}, {numbers.shape[1]} x {numbers.shape[0]}."
            )
        highest = int(numbers[numbers != VOID].max(initial=0))
        if highest > image.total:
            raise DataError(
                f"{path} numbers its instances up to {highest}, but the annotation has {image.total} objects."
            )
        return np.array([numbers == thing.place for thing in image.objects], bool).reshape(-1, *numbers.shape)


def _text(parent: ET.Element, key: str) -> str:
    """Text of the direct child ``key``, stripped; empty if there is no such child."""
    return (parent.findtext(key) or "").strip()


def _stated_size(root: ET.Element) -> tuple[int, int] | None:
    """Width and height in <size>; None if it is missing, unreadable, or zero (some tools write 0)."""
    try:
        width, height = (int(float(root.findtext(f"size/{key}") or 0)) for key in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _read_joints(element: ET.Element | None) -> np.ndarray | None:
    """Joints float32 ``(14, 3)`` of a <joints> element, absent where it does not name them; or ValueError."""
    if element is None:
        return None
    joints = np.zeros((len(JOINTS), 3), np.float32)
    for joint in element.findall("joint"):
        name, x, y, v = (joint.get(key, "") for key in ("name", "x", "y", "v"))
        if name not in JOINTS or v not in ("0", "1", "2"):
            raise ValueError(f"joint {name!r} with v {v!r}; wanted one of {', '.join(JOINTS)}, and v 0, 1 or 2")
        if v != "0":
            joints[JOINTS.index(name)] = float(x), float(y), int(v)
    if not np.isfinite(joints).all():
        raise ValueError("a joint is not a number")
    return joints


def write_annotation(
    path: str | Path,
    image_id: str,
    size_hw: tuple[int, int],
    target: dict,
    classes: Sequence[str],
    extra: dict[str, str | int | float] | None = None,
) -> None:
    """Write one VOC annotation, which `VocFolder` reads back to the same target.

    The same input gives the same bytes. ``size_hw`` is (height, width); ``target`` as `make_target` gives it
    (``masks`` are left to `write_masks`); ``extra`` holds further elements for the top of the file. Joints
    are written with one decimal. Raises `DataError` for a box that the reader would not take: outside the
    image, or not wider and higher than one pixel (VOC's inclusive corners would coincide).
    """
    height, width = size_hw
    filename = image_id if Path(image_id).suffix.lower() in IMAGE_SUFFIXES else f"{image_id}.jpg"
    lines = ["<annotation>", f"  <filename>{escape(filename)}</filename>"]
    lines += [f"  <{key}>{escape(str(value))}</{key}>" for key, value in (extra or {}).items()]
    lines += [f"  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>"]
    for k, (box, label) in enumerate(zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True)):
        x1, y1, x2, y2 = box
        inside = x1 >= 0 and y1 >= 0 and x2 <= width and y2 <= height
        if not (inside and x2 - x1 > 1 and y2 - y1 > 1):
            raise DataError(
                f"{path}: object {k + 1} has the box {box}; "
                f"wanted one inside {width} x {height} and larger than a pixel both ways."
            )
        if not 1 <= label <= len(classes):
            raise DataError(f"{path}: object {k + 1} has label {label}; wanted 1 to {len(classes)}.")
        lines += ["  <object>", f"    <name>{escape(classes[label - 1])}</name>"]
        lines += [
            f"    <{key}>{int(target[key][k])}</{key}>"
            for key in ("truncated", "difficult", "occluded")
            if key in target
        ]
        corners = zip(_CORNERS, (x1 + 1, y1 + 1, x2, y2))
        lines += [f"    <bndbox>{''.join(f'<{key}>{_number(value)}</{key}>' for key, value in corners)}</bndbox>"]
        if "joints" in target and bool((target["joints"][k, :, 2] > 0).any()):
            lines += ["    <joints>"]
            for name, (x, y, v) in zip(JOINTS, target["joints"][k].tolist(), strict=True):
                lines += [f'      <joint name="{name}" x="{x:.1f}" y="{y:.1f}" v="{int(v)}"/>']
            lines += ["    </joints>"]
        lines += ["  </object>"]
    atomic_write(path, "\n".join([*lines, "</annotation>", ""]).encode())


def write_masks(path: str | Path, masks: np.ndarray | torch.Tensor) -> None:
    """Write instance masks ``(N, H, W)`` as one palette PNG with value k for the k-th.

    Raises `DataError` for more than 254 masks, and for a pixel in two of them.
    """
    masks = np.asarray(masks).astype(bool)
    if masks.ndim != 3 or len(masks) >= VOID:
        raise DataError(f"{path}: wanted at most {VOID - 1} masks of shape (N, H, W), got shape {masks.shape}.")
    if len(masks) and masks.sum(0).max() > 1:
        raise DataError(f"{path}: two masks share a pixel; a mask file holds the visible pixels of each object.")
    numbers = (masks * np.arange(1, len(masks) + 1).reshape(-1, 1, 1)).sum(0).astype(np.uint8)
    picture = Image.fromarray(numbers)
    picture.putpalette(_palette())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    atomic_write(path, buffer.getvalue())


def write_imageset(root: str | Path, split: str, ids: Iterable[str]) -> None:
    """Write the list ``ImageSets/Main/<split>.txt`` of a folder in VOC layout."""
    atomic_write(
        Path(root) / "ImageSets" / "Main" / f"{split}.txt",
        "".join(f"{image_id}\n" for image_id in ids).encode(),
    )


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _palette() -> list[int]:
    """VOC's colours for 0..255: the bits of a number go to red, green, blue by turns, as their highest bits."""
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= ((np.arange(256) >> bit & 1) << (7 - bit // 3)).astype(np.uint8)
    return palette.ravel().tolist()


def open_voc(year: str, split: str | None = None, *, strict: bool = True) -> VocFolder:
    """PASCAL VOC itself, from ``VOCdevkit`` in the data folder, or downloaded there by torchvision.

    ``year`` is "2007" or "2012", ``split`` is train, val or trainval (the default), and for 2007 test. Raises
    `CourseError` that names files, checksums and the place for putting them by hand, if the download fails.
    """
    from torchvision.datasets import VOCDetection
    from torchvision.datasets.voc import DATASET_YEAR_DICT

    split = split or "trainval"
    places = data_dir()
    root = places / "VOCdevkit" / f"VOC{year}"
    if not (root / "ImageSets" / "Main" / f"{split}.txt").is_file():
        splits = ("train", "val", "trainval") + ("test",) * (year == "2007")
        if split not in splits:
            raise DataError(f"VOC {year} has no split {split!r} to download; it has {', '.join(splits)}.")
        archive = DATASET_YEAR_DICT["2007-test" if split == "test" else year]
        try:
            VOCDetection(places, year=year, image_set=split, download=True)
        except (OSError, RuntimeError) as error:
            raise CourseError(_place_by_hand(year, split, places, archive, error)) from error
    return VocFolder(root, split, strict=strict)


def _place_by_hand(year: str, split: str, folder: Path, archive: dict[str, str], error: Exception) -> str:
    path = folder / archive["filename"]
    if path.is_file() and (found := _md5(path)) != archive["md5"]:
        reason = f"{path} is damaged or incomplete (its MD5 is {found}) and a new download failed ({error})"
    else:
        reason = f"it is not in {folder}, and the download failed ({error})"
    return (
        f"VOC {year} {split} is needed, but {reason}.\n"
        "Fetch the file elsewhere and put it there by hand; it is unpacked on the next call:\n"
        f"  file  {path}\n  from  {archive['url']}\n  MD5   {archive['md5']}\n"
        f"An unpacked copy does as well: {folder / 'VOCdevkit' / f'VOC{year}'} with JPEGImages, Annotations "
        "and ImageSets."
    )


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return file_digest(file, "md5").hexdigest()
