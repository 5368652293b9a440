"""A folder in VOC layout with a few small pictures, for tests that need a data set quickly."""

from pathlib import Path

import numpy as np
from PIL import Image

from course_utils.datasets import open_dataset
from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.voc import write_annotation, write_imageset

CLASSES = ("cat", "dog", "duck")


def write_tiny_voc(root: Path, splits: dict[str, int], seed: int = 0, classes=CLASSES) -> Path:
    """Pictures of noise, 40 to 60 px, one to three objects each; the first object of picture 0 is difficult."""
    rng = np.random.default_rng(seed)
    for split, n in splits.items():
        ids = [f"{split}_{i:03d}" for i in range(n)]
        for i, image_id in enumerate(ids):
            height, width = (int(s) for s in rng.integers(40, 60, 2))
            boxes = []
            for _ in range(rng.integers(1, 4)):
                x1, y1 = rng.integers(0, width - 12), rng.integers(0, height - 12)
                boxes.append((x1, y1, rng.integers(x1 + 4, width + 1), rng.integers(y1 + 4, height + 1)))
            labels = rng.integers(1, len(classes) + 1, len(boxes)).tolist()
            difficult = [i == 0 and k == 0 for k in range(len(boxes))]
            target = make_target(boxes, labels, difficult=difficult)
            write_annotation(root / "Annotations" / f"{image_id}.xml", image_id, (height, width), target, classes)
            (root / "JPEGImages").mkdir(exist_ok=True)
            pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / "JPEGImages" / f"{image_id}.jpg")
        write_imageset(root, split, ids)
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    return root


def tiny_voc(root: Path, split: str = "train", n: int = 12, **options) -> Dataset:
    """One split of such a folder, opened."""
    return open_dataset(write_tiny_voc(root, {split: n}, **options), split)
