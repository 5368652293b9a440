"""Faces with something around them: the crops of ``lfw_subset``, laid on patches of photographs without faces.

A crop of ``lfw_subset`` shows a face from brow to chin and nothing else. A template that is learned from it has no
margin, and takes for a face what has the inside of a face but lies in the middle of something larger. In these scenes
each face stands on a patch of another photograph, with a soft edge, and boxes are those of the crops. The crops of
``lfw_subset`` that show no face are laid on patches in the same way: without them the round edge itself would be what
faces have in common, and round things would be the strongest "faces".
"""

import numpy as np
import torch
from PIL import Image

from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.bundled import LfwFaces
from course_utils.errors import DataError
from course_utils.photographs import photograph

SIDE, FACE = 144, 80  # pixels: of a scene, and of the face's box in its middle
VARIANTS = 3  # scenes of one face: upright, then turned and scaled a little
TURN, SCALE = 10.0, 0.07  # at most so many degrees, and so much larger or smaller
# Split: numbers of the crops with a face (those without are 100 further on), and photographs. Coins show portraits,
# astronaut and camera show persons: they are in neither.
PARTS = {
    "train": (
        range(80),
        ("coffee", "brick", "grass", "gravel", "rocket", "chelsea", "ihc", "flower", "motorcycle_left"),
    ),
    "test": (range(80, 100), ("china", "hubble_deep_field", "moon", "text", "retina")),
}


class FaceScenes(Dataset):
    """Three scenes per crop, 144 x 144 px, first those with a face; then whole photographs without any.

    ``train`` has 80 crops with a face, 80 without, and nine photographs; ``test`` has 20, 20 and five others. A scene
    depends on its name alone.
    """

    def __init__(self, split: str) -> None:
        if split not in PARTS:
            raise DataError(f"faces has the splits {', '.join(PARTS)}; asked for {split}.")
        faces, self._photographs = PARTS[split]
        crops = [*(f"face_{i:03d}" for i in faces), *(f"noface_{i + 100:03d}" for i in faces)]
        scenes = [f"{crop}_{variant}" for crop in crops for variant in range(VARIANTS)]
        super().__init__("faces", split, ("face",), [*scenes, *self._photographs])
        self._crops = LfwFaces()

    def image(self, i: int) -> np.ndarray:
        name = self.ids[i]
        if name in self._photographs:
            return photograph(name)
        _, crop, variant = name.split("_")
        return self._scene(int(crop), int(variant))

    def _scene(self, number: int, variant: int) -> np.ndarray:
        rng = np.random.default_rng([number, variant])
        behind = photograph(self._photographs[rng.integers(len(self._photographs))])
        side = rng.integers(SIDE // 2, min(behind.shape[:2]))
        y, x = (rng.integers(0, size - side + 1) for size in behind.shape[:2])
        patch = Image.fromarray(behind[y : y + side, x : x + side]).convert("L").resize((SIDE, SIDE), Image.BILINEAR)
        # the crops are grey, and so is what is behind them
        size = round(FACE * (1 + rng.uniform(-SCALE, SCALE) * (variant > 0)))
        crop = Image.fromarray(self._crops.image(number)).convert("L").resize((size, size), Image.BICUBIC)
        around = (SIDE - size) // 2, SIDE - size - (SIDE - size) // 2
        whole = Image.fromarray(np.pad(np.asarray(crop), around, mode="edge"))
        whole = whole.rotate(rng.uniform(-TURN, TURN) * (variant > 0), Image.BICUBIC)
        # 1 in the middle, 0 from an eighth beyond the middles of the crop's sides on, so that its corners are cut off:
        # a visible frame would be learned as a part of faces
        across = (np.arange(SIDE) + 0.5 - SIDE / 2) / (size / 2)
        weight = np.clip((1.125 - np.hypot(across[:, None], across)) / 0.25, 0, 1)
        grey = weight * np.asarray(whole) + (1 - weight) * np.asarray(patch)
        return np.repeat(np.round(grey).astype(np.uint8)[..., None], 3, axis=2)

    def target(self, i: int) -> dict[str, torch.Tensor]:
        edge = (SIDE - FACE) / 2
        faces = int(self.ids[i].startswith("face"))
        return make_target([(edge, edge, SIDE - edge, SIDE - edge)] * faces, [1] * faces)

    def size(self, i: int) -> tuple[int, int]:
        name = self.ids[i]
        return photograph(name).shape[:2] if name in self._photographs else (SIDE, SIDE)
