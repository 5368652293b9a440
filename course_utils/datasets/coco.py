"""COCO's JSON: a reader, a writer for any data set, and detections as a COCO results list."""

import contextlib
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO

from course_utils.datasets.base import FLAGS, Dataset, make_target, usable_box
from course_utils.errors import DataError
from course_utils.files import atomic_write
from course_utils.images import read_image, read_shape
from course_utils.joints import JOINTS, LIMBS


class CocoFile(Dataset):
    """A data set in COCO's JSON.

    Parameters
    ----------
    path : str or Path
        The JSON file.
    images : str or Path, optional
        Folder of the pictures. None looks beside the JSON file, in ``images``, ``JPEGImages`` and the folder that
        the file is named after (``instances_val2017.json``: ``val2017``), and in the same places one folder higher.
    strict : bool
        As in `course_utils.datasets.voc.VocFolder`.

    Notes
    -----
    Boxes ``x, y, width, height`` become ``x, y, x + width, y + height``. Labels 1..K follow the
    category ids in rising order, whatever their gaps; ``category_ids[label - 1]`` leads back,
    ``image_ids[i]`` is COCO's number of image ``i``. A crowd is ``iscrowd`` and also ``difficult``, so that
    every metric passes over it; our writer's ``difficult``, ``truncated`` and ``occluded`` are read where
    present. ``area`` is the annotation's, which COCO counts from its segmentation, or else that of the box.
    Targets have masks where every object of the image has a segmentation, and joints where the
    file's categories have our 14.
    """

    def __init__(self, path: str | Path, *, images: str | Path | None = None, strict: bool = True) -> None:
        self.path = Path(path)
        content = _load_json(self.path)
        super().__init__(self.path.parent.name, self.path.stem, (), ())
        categories = sorted(content["categories"], key=lambda category: category["id"])
        self.category_ids = [category["id"] for category in categories]
        self.classes = tuple(category["name"] for category in categories)
        _must_be_unique(self.path, "category id", self.category_ids)
        _must_be_unique(self.path, "category name", self.classes)
        _must_be_unique(self.path, "image id", [record["id"] for record in content["images"]])
        _must_be_unique(self.path, "annotation id", [record["id"] for record in content["annotations"]])
        self._with_joints = {c["id"] for c in categories if tuple(c.get("keypoints", ())) == JOINTS}
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells its progress to everybody
            self._coco = COCO()
            self._coco.dataset = content
            self._coco.createIndex()

        self.folder = self._find_folder(content["images"]) if images is None else Path(images)
        self._turn = {}
        self._objects: dict[int, list[dict]] = {}
        self._boxes: dict[int, tuple[float, float, float, float]] = {}
        for record in content["images"]:
            self._open_image(record, check_pixels=not strict)
        known_images = {record["id"] for record in content["images"]}
        for annotation in content["annotations"]:
            if annotation["image_id"] not in known_images:
                line = f"{self.path.name} annotation {annotation['id']}: image {annotation['image_id']}"
                self.report.fault("annotation of an unknown image", line)
            elif annotation["image_id"] in self._objects:
                self._open_annotation(annotation)
        if strict:
            self.report.raise_if_faulty(str(self.path))
        if not self._objects:
            raise DataError(f"{self.path} lists no usable image:\n{self.report}")
        self.image_ids = list(self._objects)
        self.ids = [Path(self._coco.imgs[image_id]["file_name"]).stem for image_id in self.image_ids]
        if len(set(self.ids)) < len(self.ids):  # the same name in several folders
            self.ids = [str(Path(self._coco.imgs[i]["file_name"]).with_suffix("")) for i in self.image_ids]

    def image(self, i: int) -> np.ndarray:
        return read_image(self._picture(self.file_name(i)), self._turn[self.image_ids[i]])

    def target(self, i: int) -> dict[str, torch.Tensor]:
        objects = self._objects[self.image_ids[i]]
        crowd = [bool(thing.get("iscrowd", 0)) for thing in objects]
        return make_target(
            [self._boxes[thing["id"]] for thing in objects],
            [self.category_ids.index(thing["category_id"]) + 1 for thing in objects],
            difficult=[bool(thing.get("difficult", 0)) or c for thing, c in zip(objects, crowd)],
            truncated=[bool(thing.get("truncated", 0)) for thing in objects],
            occluded=[bool(thing.get("occluded", 0)) for thing in objects],
            iscrowd=crowd,
            area=[self._area(thing) for thing in objects],
            joints=self._joints(objects) if self._with_joints else None,
            masks=self._masks(i, objects) if self.with_masks else None,
        )

    def size(self, i: int) -> tuple[int, int]:
        record = self._coco.imgs[self.image_ids[i]]
        return record["height"], record["width"]

    def file_name(self, i: int) -> str:
        return self._coco.imgs[self.image_ids[i]]["file_name"]

    def _content(self, i: int) -> Iterable[bytes]:
        yield self._picture(self.file_name(i)).read_bytes()
        shapes = [thing.get("segmentation") for thing in self._objects[self.image_ids[i]]]
        yield json.dumps(shapes, sort_keys=True).encode()

    def _picture(self, file_name: str) -> Path:
        return self.folder / file_name

    def _find_folder(self, records: Sequence[dict]) -> Path:
        if not records:
            raise DataError(f"{self.path} lists no image at all.")
        names = (".", "images", "JPEGImages", self.path.stem.rpartition("_")[2])
        places = [base / name for base in (self.path.parent, self.path.parent.parent) for name in names]
        for place in places:
            # some pictures may be missing, which is told later one by one
            if any((place / record["file_name"]).is_file() for record in records):
                return place
        raise DataError(
            f"The pictures of {self.path} (such as {records[0]['file_name']}) were not found; "
            f"looked in {', '.join(map(str, places))}. Put them there, or give images= the folder."
        )

    def _open_image(self, record: dict, check_pixels: bool) -> None:
        name = record["file_name"]
        try:
            stated = record["width"], record["height"]
            width, height, turn = read_shape(self._picture(name), stated)
            if check_pixels:
                read_image(self._picture(name), turn)
        except DataError as error:
            self.report.fault("image cannot be read", str(error).replace(f"{self.folder}/", ""))
            return
        if stated != (width, height):
            line = f"{name} is stated as {stated[0]} x {stated[1]} but has {width} x {height}"
            self.report.fault("stated size differs from the image", line)
            return
        self._turn[record["id"]] = turn
        self._objects[record["id"]] = []

    def _open_annotation(self, annotation: dict) -> None:
        record = self._coco.imgs[annotation["image_id"]]
        where = f"{record['file_name']} annotation {annotation['id']}"
        if annotation.get("category_id") not in self.category_ids:
            self.report.fault("unknown class", f"{where} has category {annotation.get('category_id')}")
            return
        box = annotation.get("bbox")
        if box is None:
            self.report.fault("object without bbox", where)
            return
        if not (isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)):
            self.report.fault("box is not a number", f"{where} has bbox {box}")
            return
        x, y, across, down = box
        corners = usable_box((x, y, x + across, y + down), record["width"], record["height"], where, self.report)
        if corners is None:
            return
        area = annotation.get("area")
        if area is not None and not (_is_number(area) and area >= 0):
            self.report.fault("area is not a number", f"{where} has area {area}")
            return
        if not _is_segmentation(annotation.get("segmentation"), record):
            self.report.fault("unreadable segmentation", where)
            return
        keypoints = annotation.get("keypoints")
        if annotation["category_id"] in self._with_joints and keypoints is not None and not _are_joints(keypoints):
            self.report.fault("unreadable joints", f"{where} has keypoints other than {3 * len(JOINTS)} numbers")
            return
        self._boxes[annotation["id"]] = corners
        self._objects[annotation["image_id"]].append(annotation)

    def _area(self, annotation: dict) -> float:
        x1, y1, x2, y2 = self._boxes[annotation["id"]]
        stated = annotation.get("area")
        return (x2 - x1) * (y2 - y1) if stated is None else stated

    def _masks(self, i: int, objects: Sequence[dict]) -> np.ndarray | None:
        if not all(thing.get("segmentation") for thing in objects):
            return None
        masks = [self._coco.annToMask(thing) for thing in objects]
        return np.array(masks, bool).reshape(-1, *self.size(i))

    def _joints(self, objects: Sequence[dict]) -> np.ndarray:
        joints = np.zeros((len(objects), len(JOINTS), 3), np.float32)
        for k, thing in enumerate(objects):
            if thing["category_id"] in self._with_joints and thing.get("keypoints"):
                joints[k] = np.reshape(thing["keypoints"], (-1, 3))
        return joints


def to_coco(dataset: Dataset) -> dict:
    """Any data set as a dictionary in COCO's format.

    Category ids are the labels and image ids count from 1; those of a `CocoFile` are kept. Masks become
    compressed run lengths, joints become keypoints; ``area`` is the target's, or else that of the mask or the box.
    ``difficult``, ``truncated`` and ``occluded`` are written beside COCO's own ``iscrowd``. ``file_name`` is the
    name alone; the pictures stay where they are.
    """
    image_ids, category_ids = _coco_ids(dataset)
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in zip(category_ids, dataset.classes)]
    images, annotations = [], []
    for i, image_id in enumerate(image_ids):
        height, width = dataset.size(i)
        images.append({"id": image_id, "file_name": dataset.file_name(i), "height": int(height), "width": int(width)})
        target = dataset.target(i)
        every = zip(target["boxes"].tolist(), target["labels"].tolist(), _areas(target))
        for k, (box, label, area) in enumerate(every):
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": category_ids[label - 1],
                "bbox": _xywh(box),
                "area": area,
                "iscrowd": int(target["iscrowd"][k]) if "iscrowd" in target else 0,
                **{flag: int(target[flag][k]) for flag in FLAGS},
            }
            if "masks" in target:
                runs = rle.encode(np.asfortranarray(target["masks"][k].numpy().astype(np.uint8)))
                annotation["segmentation"] = {"size": runs["size"], "counts": runs["counts"].decode("ascii")}
            if "joints" in target and (target["joints"][k, :, 2] > 0).any():
                annotation["keypoints"] = target["joints"][k].flatten().tolist()
                annotation["num_keypoints"] = int((target["joints"][k, :, 2] > 0).sum())
                skeleton = [[JOINTS.index(a) + 1, JOINTS.index(b) + 1] for a, b in LIMBS]
                categories[label - 1] |= {"keypoints": list(JOINTS), "skeleton": skeleton}
            annotations.append(annotation)
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(dataset: Dataset, path: str | Path) -> None:
    """Write `to_coco` as a JSON file; whole or not at all, and the same data set gives the same bytes."""
    atomic_write(path, (json.dumps(to_coco(dataset), separators=(",", ":")) + "\n").encode())


def detections_to_coco(detections: Sequence[dict], dataset: Dataset) -> list[dict]:
    """Detections as COCO's results list.

    ``detections`` holds one dictionary ``{"boxes", "labels", "scores"}`` per image of ``dataset``. The ids
    are those of `to_coco`. Raises `DataError` if there is not one dictionary per image.
    """
    if len(detections) != len(dataset):
        raise DataError(f"There are {len(detections)} detection dictionaries for {dataset!r}; wanted one per image.")
    image_ids, category_ids = _coco_ids(dataset)
    return [
        {"image_id": image_id, "category_id": category_ids[label - 1], "bbox": _xywh(box), "score": score}
        for image_id, found in zip(image_ids, detections)
        for box, label, score in zip(found["boxes"].tolist(), found["labels"].tolist(), found["scores"].tolist())
    ]


def detections_from_coco(results: Sequence[dict], dataset: Dataset) -> list[dict[str, torch.Tensor]]:
    """The way back: one dictionary ``{"boxes", "labels", "scores"}`` per image, in the order of the list.

    Raises `DataError` for a detection of an image or category that ``dataset`` does not have.
    """
    image_ids, category_ids = _coco_ids(dataset)
    rows: dict[int, list[dict]] = {image_id: [] for image_id in image_ids}
    for result in results:
        if result["image_id"] not in rows or result["category_id"] not in category_ids:
            raise DataError(
                f"A detection belongs to image {result['image_id']}, category {result['category_id']}, "
                f"which {dataset!r} does not have."
            )
        rows[result["image_id"]].append(result)
    detections = []
    for found in rows.values():
        boxes = [[x, y, x + across, y + down] for x, y, across, down in (row["bbox"] for row in found)]
        detections.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(
                    [category_ids.index(row["category_id"]) + 1 for row in found], dtype=torch.int64
                ),
                "scores": torch.tensor([row["score"] for row in found], dtype=torch.float32),
            }
        )
    return detections


def _coco_ids(dataset: Dataset) -> tuple[list[int], list[int]]:
    if isinstance(dataset, CocoFile):
        return dataset.image_ids, dataset.category_ids
    return list(range(1, len(dataset) + 1)), list(range(1, len(dataset.classes) + 1))


def _areas(target: dict[str, torch.Tensor]) -> list[float]:
    """Areas as stated, of the masks, or of the boxes; rounded as targets hold them, so a second round changes none."""
    if "area" in target:
        areas = target["area"]
    elif "masks" in target:
        areas = target["masks"].sum((1, 2))
    else:
        x1, y1, x2, y2 = target["boxes"].double().unbind(1)
        areas = (x2 - x1) * (y2 - y1)
    return [int(area) if area.is_integer() else area for area in areas.float().tolist()]


def _xywh(box: Sequence[float]) -> list[float]:
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def _load_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"There is no file {path}.") from error
    except ValueError as error:  # JSON and UTF-8 errors alike
        raise DataError(f"{path} is no readable JSON: {error}.") from error
    if isinstance(content, list):
        raise DataError(f"{path} holds a list, as COCO's results do; wanted a data set with images and annotations.")
    needed = {
        "images": ("id", "file_name", "width", "height"),
        "annotations": ("id", "image_id"),
        "categories": ("id", "name"),
    }
    for part, keys in needed.items():
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise DataError(f"{path} is no COCO data set: it has no list {part!r}.")
        for record in content[part]:
            missing = [key for key in keys if not isinstance(record, dict) or key not in record]
            if missing:
                raise DataError(f"{path}: an entry of {part!r} has no {', '.join(missing)}: {str(record)[:200]}")
    return content


def _must_be_unique(path: Path, what: str, values: Sequence) -> None:
    if len(set(values)) < len(values):
        twice = Counter(values).most_common(1)[0][0]
        raise DataError(f"{path} has the {what} {twice!r} more than once.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _are_joints(keypoints: object) -> bool:
    return isinstance(keypoints, list) and len(keypoints) == 3 * len(JOINTS) and all(map(_is_number, keypoints))


def _is_segmentation(shape: object, record: dict) -> bool:
    """Whether pycocotools can take a segmentation."""
    if not shape:
        return True
    if isinstance(shape, dict):  # run lengths; otherwise polygons
        return shape.get("size") == [record["height"], record["width"]] and isinstance(shape.get("counts"), str | list)
    return isinstance(shape, list) and all(
        isinstance(part, list) and len(part) >= 6 and len(part) % 2 == 0 and all(map(_is_number, part))
        for part in shape
    )
