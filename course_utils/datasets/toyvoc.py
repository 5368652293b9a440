"""ToyVOC: toys before real photographs, in VOC layout, drawn on first use from a seed.

The folder that comes out is an ordinary VOC folder (JPEGImages, Annotations, ImageSets/Main,
SegmentationObject, classes.txt) with one COCO JSON per list in ``coco/`` and, beside them, what it was made
from (``toyvoc.json``) and the checksums of its files (``checksums/``).
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

from course_utils import toys
from course_utils.datasets.base import atomic_write, make_target
from course_utils.datasets.voc import VocFolder, write_annotation, write_imageset, write_masks
from course_utils.errors import CourseError, DataError
from course_utils.paths import data_dir
from course_utils.progress import progress

CLASSES = ("bus", "car", "cat", "chair", "dog", "duck", "goose", "horse", "person", "sheep")
SPLITS = {"train": 1200, "val": 200, "test": 400}
SMALL = {"train": ("train", 300), "test": ("val", 100)}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what the scenes look like.

    Attributes
    ----------
    seed : scene i of a split depends on (seed, split, i) and on nothing else
    size : pixels per side
    difficulty : 0 stiff toys in side view on an empty stage; 1 ToyVOC; 1.5 is more of everything
    classes : names out of ``CLASSES``
    quarters : 0 to 3, how the photographs are dealt out to the splits (``toys.backgrounds``)
    """

    seed: int = 2016
    size: int = 256
    difficulty: float = 1.0
    classes: tuple[str, ...] = CLASSES
    quarters: int = 0

    def __post_init__(self):
        unknown = sorted(set(self.classes) - set(CLASSES))
        if unknown or not self.classes or len(set(self.classes)) < len(self.classes):
            raise CourseError(
                f"ToyVOC's classes are {', '.join(CLASSES)}; asked for {', '.join(self.classes) or 'none'}."
            )
        if not 96 <= self.size <= 1024:
            raise CourseError(f"A scene has 96 to 1024 pixels a side; asked for {self.size}.")
        if not 0 <= self.difficulty <= 2:
            raise CourseError(f"The difficulty goes from 0 to 2; asked for {self.difficulty}.")
        if self.quarters not in range(4):
            raise CourseError(
                f"The photographs have 4 quarters, so --quarters is 0 to 3; asked for {self.quarters}."
            )


def lists() -> dict[str, list[str]]:
    """Every list of ToyVOC and its image ids.

    ``small_test`` is part of val, so playing with it never spends the test set.
    """
    ids = {split: [f"{split}_{i:06d}" for i in range(n)] for split, n in SPLITS.items()}
    return ids | {f"small_{name}": ids[split][:n] for name, (split, n) in SMALL.items()}


def draw(recipe: Recipe, image_id: str):
    """Scene *image_id* (such as ``train_000017``), a ``toys.scene.Scene``."""
    from course_utils.toys.scene import random_scene

    split, number = image_id.rsplit("_", 1)
    rng = np.random.default_rng([recipe.seed, list(SPLITS).index(split), int(number)])
    return random_scene(
        rng,
        split=split,
        classes=recipe.classes,
        difficulty=recipe.difficulty,
        size=recipe.size,
        quarters=recipe.quarters,
    )


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
    write_annotation(
        annotation, image_id, scene.image.shape[:2], target, recipe.classes, extra={"segmented": 1}
    )


def _checksum(paths: Iterable[Path]) -> str | None:
    """One SHA-256 over the files of a scene; None if one is missing."""
    digest = hashlib.sha256()
    try:
        for path in paths:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    except FileNotFoundError:
        return None
    return digest.hexdigest()


def _stamp(recipe: Recipe) -> str:
    """What a folder was made from: the recipe and the source of the renderer."""
    source = b"".join(p.read_bytes() for p in sorted(Path(toys.__file__).parent.glob("*.py")))
    stamp = dataclasses.asdict(recipe) | {"renderer": hashlib.sha256(source).hexdigest()}
    return json.dumps(stamp, indent=1) + "\n"


def ensure(
    names: Iterable[str] = (*SPLITS, *(f"small_{s}" for s in SMALL)),
    recipe: Recipe | None = None,
    root: Path | None = None,
) -> Path:
    """Make sure that the lists *names* stand whole in *root* (default ``data/toyvoc``); return the folder.

    Scenes that are missing, damaged or half-written are drawn (again); an interrupted run goes on where it
    stopped; scenes of another version of the renderer are replaced.

    Raises
    ------
    DataError : *root* holds something that is no ToyVOC, or one made by another recipe
    """
    recipe = recipe or Recipe()
    root = Path(root or data_dir() / "toyvoc")
    _claim(root, recipe)
    ids_of = lists()
    wanted = sorted({i for name in names for i in ids_of[name]})
    known = _recorded(root)
    fresh = [i for i in wanted if i not in known or known[i] != _checksum(_files(root, i))]
    # A scene without a record was finished just before an interruption: files appear whole, the annotation last.
    todo = [i for i in fresh if i in known or _checksum(_files(root, i)) is None]
    if todo:
        workers = Parallel(n_jobs=min(cpu_count(), 8), return_as="generator_unordered", batch_size=8)
        jobs = workers(delayed(_write)(recipe, root, i) for i in todo)
        for _ in progress(jobs, f"drawing {root.name}", total=len(todo)):
            pass
    for name in names:
        write_imageset(root, name, ids_of[name])
        if fresh or not (root / "coco" / f"{name}.json").is_file():
            _write_coco(root, name)
    if fresh:
        known |= {i: _checksum(_files(root, i)) for i in fresh}
        atomic_write(root / "checksums.json", json.dumps(known, indent=0, sort_keys=True).encode())
    return root


def _recorded(root: Path) -> dict[str, str]:
    path = root / "checksums.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError:  # a damaged record proves nothing: every scene is drawn again
        return {i: "" for ids in lists().values() for i in ids}


def _claim(root: Path, recipe: Recipe) -> None:
    """Mark *root* as made by this recipe and renderer, or raise."""
    stamp, path = _stamp(recipe), root / "toyvoc.json"
    if path.is_file():
        found = path.read_text()
        if found == stamp:
            return
        try:
            differs = {k: v for k, v in json.loads(found).items() if json.loads(stamp)[k] != v}
        except (ValueError, KeyError):
            differs = {}
        if set(differs) - {"renderer"}:
            told = ", ".join(f"{k} {v}" for k, v in differs.items() if k != "renderer")
            raise DataError(
                f"{root} holds scenes of another recipe ({told}). Choose another folder with --out, or delete this one."
            )
        (root / "checksums.json").unlink(missing_ok=True)
        for image in root.glob("Annotations/*.xml"):
            image.unlink()
    elif root.is_dir() and any(root.iterdir()):
        raise DataError(
            f"{root} exists and is no ToyVOC folder (it has no toyvoc.json). Choose another one with --out."
        )
    atomic_write(root / "classes.txt", "".join(f"{c}\n" for c in recipe.classes).encode())
    atomic_write(path, stamp.encode())


def _write_coco(root: Path, name: str) -> None:
    from course_utils.datasets.coco import write_coco

    write_coco(VocFolder(root, name), root / "coco" / f"{name}.json")


def verify(root: Path | None = None) -> dict[str, list[str]]:
    """Damaged or missing scenes per list that was made in *root*; all empty lists when everything is whole.
    """
    root = Path(root or data_dir() / "toyvoc")
    if not (root / "toyvoc.json").is_file():
        raise DataError(f"{root} holds no ToyVOC. Make it with: course data")
    known, ids_of = _recorded(root), lists()
    made = [name for name in ids_of if (root / "ImageSets" / "Main" / f"{name}.txt").is_file()]
    return {name: [i for i in ids_of[name] if known.get(i) != _checksum(_files(root, i))] for name in made}


def open_toyvoc(split: str, *, small: bool = False) -> VocFolder:
    """ToyVOC's train, val or test part, or toyvoc-small's train or test part; drawn first if need be."""
    names = SMALL if small else SPLITS
    if split not in names:
        raise CourseError(
            f"{'toyvoc-small' if small else 'toyvoc'} has the splits {', '.join(names)}; asked for {split}."
        )
    name = f"small_{split}" if small else split
    dataset = VocFolder(ensure([name]), name)
    dataset.name, dataset.split = ("toyvoc-small" if small else "toyvoc"), split
    return dataset
