"""ToyVOC and ToyNet: toys before real photographs, in VOC layout, drawn on first use from a seed.

The folder that comes out is an ordinary VOC folder (JPEGImages, Annotations, ImageSets/Main,
SegmentationObject, classes.txt) with one COCO JSON per list in ``coco/`` and, beside them, what it was made
from (``toyvoc.json``) and the checksums of its scenes (``checksums.json``).
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed
from PIL import Image

from course_utils.datasets.base import make_target
from course_utils.datasets.voc import VocFolder, write_annotation, write_imageset, write_masks
from course_utils.errors import CourseError, DataError
from course_utils.files import atomic_write
from course_utils.paths import data_dir
from course_utils.progress import progress

# Frozen: every figure of the course is measured on these scenes. Whoever changes a pixel on purpose raises the version,
# and everybody's scenes are drawn anew; tests/test_toyvoc_reference.py notices a change that was not meant.
VERSION = 1

CLASSES = ("bus", "car", "cat", "chair", "dog", "duck", "goose", "horse", "person", "sheep")
NET_CLASSES = (
    "aeroplane", "boat", "bottle", "cactus", "castle", "crab", "dice", "fish", "flower", "guitar", "hammer", "house",
    "lamp", "mug", "mushroom", "robot", "rocket", "snail", "snake", "snowman", "spider", "table", "train", "umbrella",
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """A procedural data set: how many scenes its splits have, and whether a scene shows a *single* object.

    ``part_lists`` maps a further list to (split, how many of its first scenes).
    """

    classes: tuple[str, ...]
    splits: dict[str, int]
    part_lists: dict[str, tuple[str, int]]
    single: bool = False

    def lists(self) -> dict[str, list[str]]:
        """Every list and its image ids, such as ``train_000017``."""
        ids = {split: [f"{split}_{i:06d}" for i in range(n)] for split, n in self.splits.items()}
        return ids | {name: ids[split][:n] for name, (split, n) in self.part_lists.items()}


WORLDS = {
    # small_test is part of val, so that playing with it never spends the test set.
    "toyvoc": World(
        CLASSES, {"train": 1200, "val": 200, "test": 400}, {"small_train": ("train", 300), "small_test": ("val", 100)}
    ),
    # Behind ToyNet stand ToyVOC's train and val quarters of the photographs, never its test quarter.
    "toynet": World(NET_CLASSES, {"train": 4800, "val": 480}, {}, single=True),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the scenes look like.

    Attributes
    ----------
    world : "toyvoc", or "toynet" for pretraining: one object a scene, of classes that ToyVOC does not have
    seed : scene i of a split depends on (seed, split, i) and on nothing else
    size : pixels per side
    difficulty : 0 stiff toys on an empty stage; 1 ToyVOC; 2 any pose from any side in a crowd
    classes : some of the world's classes; None means all
    quarters : 0 to 3, how the photographs are dealt out to the splits (``toys.backgrounds``)
    """

    world: str = "toyvoc"
    seed: int = 2016
    size: int = 256
    difficulty: float = 1.0
    classes: tuple[str, ...] | None = None
    quarters: int = 0

    def __post_init__(self):
        if self.world not in WORLDS:
            raise CourseError(f"The worlds are {', '.join(WORLDS)}; asked for {self.world}.")
        known = WORLDS[self.world].classes
        if self.classes is None:
            object.__setattr__(self, "classes", known)
        if not self.classes or set(self.classes) - set(known) or len(set(self.classes)) < len(self.classes):
            asked = ", ".join(self.classes) or "none"
            raise CourseError(
                f"{self.world} has the classes {', '.join(known)}, each to be named once; asked for {asked}."
            )
        if self.seed < 0:
            raise CourseError(f"A seed is a whole number from 0 on; asked for {self.seed}.")
        if not 96 <= self.size <= 1024:
            raise CourseError(f"A scene has 96 to 1024 pixels a side; asked for {self.size}.")
        if not 0 <= self.difficulty <= 2:
            raise CourseError(f"The difficulty goes from 0 to 2; asked for {self.difficulty}.")
        if self.quarters not in range(4):
            raise CourseError(f"The photographs have four quarters, 0 to 3; asked for {self.quarters}.")


def draw(recipe: Recipe, image_id: str):
    """Scene *image_id* (such as ``train_000017``), a ``toys.scene.Scene``."""
    from course_utils.toys.scene import random_scene

    world = WORLDS[recipe.world]
    split, number = image_id.rsplit("_", 1)
    rng = np.random.default_rng([recipe.seed, list(world.splits).index(split), int(number)])
    return random_scene(
        rng, split=split, classes=recipe.classes, difficulty=recipe.difficulty, size=recipe.size,
        quarters=recipe.quarters, single=world.single,
    )  # fmt: skip


def _files(root: Path, image_id: str) -> tuple[Path, Path, Path]:
    return (
        root / "JPEGImages" / f"{image_id}.jpg",
        root / "SegmentationObject" / f"{image_id}.png",
        root / "Annotations" / f"{image_id}.xml",
    )


def _write(recipe: Recipe, root: Path, image_id: str) -> None:
    scene = draw(recipe, image_id)
    picture, masks, annotation = _files(root, image_id)
    buffer = io.BytesIO()
    Image.fromarray(scene.image).save(buffer, "JPEG", quality=93, subsampling=0)
    atomic_write(picture, buffer.getvalue())
    write_masks(masks, scene.masks)
    target = make_target(
        scene.boxes,
        scene.labels,
        difficult=scene.difficult,
        truncated=scene.truncated,
        occluded=scene.occluded,
        joints=scene.joints,
    )
    write_annotation(annotation, image_id, scene.image.shape[:2], target, recipe.classes, extra={"segmented": 1})


def _checksum(paths: Iterable[Path]) -> str | None:
    """One SHA-256 over the files of a scene; None if one is missing."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _is_whole(known: dict[str, str], name: str, paths: Iterable[Path]) -> bool:
    found = _checksum(paths)
    return found is not None and found == known.get(name)


def _stamp(recipe: Recipe) -> str:
    """What a folder was made from: the recipe and the version of the renderer."""
    return json.dumps(dataclasses.asdict(recipe) | {"version": VERSION}, indent=1) + "\n"


def ensure(names: Iterable[str] | None = None, recipe: Recipe | None = None, root: Path | None = None) -> Path:
    """Make sure that the lists *names* (None: all of the world's) stand whole in *root*; return that folder.

    Without *recipe* it is ToyVOC; without *root* the folder is named after the world, in the data folder.
    Scenes that are missing, damaged or half-written are drawn (again); an interrupted run goes on where it
    stopped; scenes of another version of the renderer are replaced.

    Raises
    ------
    DataError : *root* holds something that is no ToyVOC, or one made by another recipe
    """
    recipe = recipe or Recipe()
    root = Path(root or data_dir() / recipe.world)
    _claim(root, recipe)
    ids_of = WORLDS[recipe.world].lists()
    names = list(ids_of if names is None else names)
    wanted = sorted({i for name in names for i in ids_of[name]})
    known = _recorded(root)
    fresh = [i for i in wanted if not _is_whole(known, i, _files(root, i))]
    # A scene without a record was finished just before an interruption: files appear whole, the annotation last.
    todo = [i for i in fresh if i in known or _checksum(_files(root, i)) is None]
    if todo:
        workers = Parallel(n_jobs=min(cpu_count(), 8), return_as="generator_unordered", batch_size=8)
        jobs = workers(delayed(_write)(recipe, root, i) for i in todo)
        for _ in progress(jobs, f"drawing {root.name}", total=len(todo)):
            pass
    renewed = {i: _checksum(_files(root, i)) for i in fresh}
    for name in names:
        path, coco = root / "ImageSets" / "Main" / f"{name}.txt", root / "coco" / f"{name}.json"
        if not path.is_file() or path.read_text(errors="replace").split() != ids_of[name]:
            write_imageset(root, name, ids_of[name])
        if fresh or not _is_whole(known, f"coco/{name}.json", [coco]):
            _write_coco(root, name)
            renewed[f"coco/{name}.json"] = _checksum([coco])
    if renewed:  # read again: another process may have added its own meanwhile
        record = json.dumps(_recorded(root) | renewed, indent=0, sort_keys=True)
        atomic_write(root / "checksums.json", record.encode())
    return root


def _recorded(root: Path) -> dict[str, str]:
    path = root / "checksums.json"
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(errors="replace"))
    except ValueError:
        record = None
    if isinstance(record, dict) and record:
        return record
    # a damaged record proves nothing: every scene is drawn again
    return {annotation.stem: "" for annotation in root.glob("Annotations/*.xml")}


def _claim(root: Path, recipe: Recipe) -> None:
    """Mark *root* as made by this recipe and renderer, or raise."""
    stamp, path = _stamp(recipe), root / "toyvoc.json"
    if path.is_file():
        found, now = path.read_text(errors="replace"), json.loads(stamp)
        if found != stamp:
            try:
                differs = {k: v for k, v in json.loads(found).items() if k in now and now[k] != v}
            except (ValueError, AttributeError):
                differs = {}
            if set(differs) - {"version"}:
                told = ", ".join(f"{k} {v}" for k, v in differs.items() if k != "version")
                raise DataError(
                    f"{root} holds scenes of another recipe ({told}). "
                    "Choose another folder with --out, or delete this one."
                )
            (root / "checksums.json").unlink(missing_ok=True)
            for outdated in (*root.glob("Annotations/*.xml"), *root.glob("ImageSets/Main/*.txt")):
                outdated.unlink(missing_ok=True)
            atomic_write(path, stamp.encode())
    else:
        # what an interruption may leave before the stamp stands is hidden
        foreign = root.is_file() or (root.is_dir() and any(not p.name.startswith(".") for p in root.iterdir()))
        if path.is_file():  # the stamp is written first: another process has claimed the folder since we looked
            return _claim(root, recipe)
        if foreign:
            raise DataError(
                f"{root} exists and is no ToyVOC folder (it has no toyvoc.json). Choose another one with --out."
            )
        atomic_write(path, stamp.encode())
    classes = "".join(f"{c}\n" for c in recipe.classes).encode()
    stated = root / "classes.txt"
    if not stated.is_file() or stated.read_bytes() != classes:
        atomic_write(stated, classes)


def _write_coco(root: Path, name: str) -> None:
    from course_utils.datasets.coco import write_coco

    write_coco(VocFolder(root, name), root / "coco" / f"{name}.json")


def verify(root: Path | None = None) -> dict[str, list[str]]:
    """Damaged or missing scenes (and COCO files) of every list that was made in *root* (default: ToyVOC's folder).

    Raises DataError if *root* holds no finished list of ours.
    """
    root = Path(root or data_dir() / "toyvoc")
    if not (root / "toyvoc.json").is_file():
        raise DataError(f"{root} holds no ToyVOC. Make it with: course data")
    lists = sorted((root / "ImageSets" / "Main").glob("*.txt"))
    if not lists:
        raise DataError(f"{root} was never finished. Go on with: course data")
    known = _recorded(root)
    damaged = {}
    for path in lists:
        ids = path.read_text(errors="replace").split()
        coco = f"coco/{path.stem}.json"
        damaged[path.stem] = [i for i in ids if not _is_whole(known, i, _files(root, i))]
        damaged[path.stem] += [] if _is_whole(known, coco, [root / coco]) else [coco]
    return damaged


def open_world(name: str, split: str | None) -> VocFolder:
    """A split of "toyvoc", "toyvoc-small" or "toynet", drawn first if need be.

    Raises CourseError for a split that there is not.
    """
    if split not in splits_of(name):
        raise CourseError(f"{name} has the splits {', '.join(splits_of(name))}; asked for {split}.")
    world = name.removesuffix("-small")
    small = "small_" if name != world else ""
    dataset = VocFolder(ensure([small + split], Recipe(world)), small + split)
    dataset.name, dataset.split = name, split
    return dataset


def splits_of(name: str) -> tuple[str, ...]:
    """The splits of "toyvoc", "toyvoc-small" or "toynet"."""
    small = "small_" if name.endswith("-small") else ""
    lists = WORLDS[name.removesuffix("-small")].lists()
    return tuple(split.removeprefix(small) for split in lists if split.startswith("small_") == bool(small))
