"""Data sets behind one face: ``open_dataset(name_or_path, split)``."""

from pathlib import Path

from course_utils.datasets.base import Dataset
from course_utils.errors import DataError
from course_utils.joints import JOINTS, LIMBS

__all__ = ["DATASETS", "JOINTS", "LIMBS", "Dataset", "open_dataset", "splits"]

DATASETS = (
    "toyvoc", "toyvoc-small", "toyvoc-closeups", "toyvoc-small-closeups", "toynet", "voc2007", "voc2012", "photographs",
    "lfw_faces", "faces",
)  # fmt: skip


def open_dataset(name_or_path: str | Path, split: str | None = None, *, strict: bool = True) -> Dataset:
    """Open a data set by name (one of `DATASETS`) or by path.

    Paths: a folder in VOC layout, a COCO ``.json``, an imglab ``.xml``. ``split`` names a list of the data
    set ("train", "val", "test", any list in ``ImageSets/Main``); None means all of it, for VOC itself
    "trainval". With ``strict`` a faulty file raises one `DataError`; ``strict=False`` leaves faulty objects
    and images out and counts them in ``dataset.report``.
    """
    # the readers are imported on demand: none needs the others' libraries
    name = str(name_or_path)
    if name in ("toyvoc-closeups", "toyvoc-small-closeups"):
        from course_utils.datasets.single import Closeups

        return Closeups(open_dataset(name.removesuffix("-closeups"), split))
    if name in ("toyvoc", "toyvoc-small", "toynet"):
        from course_utils.datasets.toyvoc import open_world

        return open_world(name, split)
    if name in ("voc2007", "voc2012"):
        from course_utils.datasets.voc import open_voc

        return open_voc(name.removeprefix("voc"), split, strict=strict)
    if name in ("photographs", "lfw_faces"):
        from course_utils.datasets.bundled import open_bundled

        return open_bundled(name, split)
    if name == "faces":
        from course_utils.datasets.faces import FaceScenes

        return FaceScenes(split)

    path = Path(name_or_path)
    if path.is_dir():
        from course_utils.datasets.voc import VocFolder

        return VocFolder(path, split, strict=strict)
    if path.suffix.lower() not in (".json", ".xml") or not path.exists():
        raise DataError(
            f"There is no data set {name!r}. Names are {', '.join(DATASETS)}; "
            "a path may lead to a folder in VOC layout, a COCO .json or an imglab .xml file."
        )
    if split is not None:
        raise DataError(f"{path} is one file without splits; leave split out, instead of {split!r}.")
    if path.suffix.lower() == ".json":
        from course_utils.datasets.coco import CocoFile

        return CocoFile(path, strict=strict)
    from course_utils.datasets.imglab import ImglabFile

    return ImglabFile(path, strict=strict)


def splits(name_or_path: str | Path) -> tuple[str, ...]:
    """The parts that `open_dataset` knows of a data set, by name; none for what is all in one."""
    name = str(name_or_path)
    if name in ("toyvoc-closeups", "toyvoc-small-closeups"):
        return splits(name.removesuffix("-closeups"))
    if name in ("toyvoc", "toyvoc-small", "toynet"):
        from course_utils.datasets.toyvoc import splits_of

        return splits_of(name)
    if name in ("voc2007", "voc2012"):
        return ("train", "val", "trainval") + ("test",) * (name == "voc2007")
    if name == "faces":
        from course_utils.datasets.faces import PARTS

        return tuple(PARTS)
    return tuple(sorted(path.stem for path in (Path(name) / "ImageSets" / "Main").glob("*.txt")))
