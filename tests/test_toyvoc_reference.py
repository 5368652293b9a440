"""The scenes of ToyVOC are the same on every machine: three of them against stored pictures and annotations.

After a wanted change of the renderer: raise VERSION in course_utils/datasets/toyvoc.py, so that everybody's scenes are
drawn anew, and run python tests/test_toyvoc_reference.py, which writes the reference anew.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils.datasets.toyvoc import Recipe, draw

FOLDER = Path(__file__).parent / "data"
SCENES = ("train_000008", "val_000003", "test_000011")


def _annotation(scene) -> dict:
    flags = {name: getattr(scene, name).tolist() for name in ("truncated", "occluded", "difficult")}
    return {
        "boxes": scene.boxes.tolist(),
        "labels": scene.labels.tolist(),
        "areas": scene.masks.sum((1, 2)).tolist(),
        "joints": np.round(scene.joints, 1).tolist(),
        **flags,
    }


@pytest.mark.parametrize("image_id", SCENES)
def test_scene_is_the_stored_one(image_id):
    scene = draw(Recipe(), image_id)
    with Image.open(FOLDER / f"{image_id}.png") as picture:
        stored = np.asarray(picture)
    # Rounding may differ by one grey level where another processor sums in another order.
    difference = np.abs(scene.image.astype(int) - stored)
    assert difference.max() <= 2 and (difference > 0).mean() < 0.001
    found, wanted = _annotation(scene), json.loads((FOLDER / f"{image_id}.json").read_text())
    np.testing.assert_allclose(found.pop("joints"), wanted.pop("joints"), atol=0.11)
    assert found == wanted


def _store() -> None:
    FOLDER.mkdir(exist_ok=True)
    for image_id in SCENES:
        scene = draw(Recipe(), image_id)
        Image.fromarray(scene.image).save(FOLDER / f"{image_id}.png", optimize=True)
        (FOLDER / f"{image_id}.json").write_text(json.dumps(_annotation(scene)) + "\n")


if __name__ == "__main__":
    _store()
