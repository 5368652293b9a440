"""Pictures with two equal objects, to see what a regression does when nobody says which is the first."""

import numpy as np
import torch
from torch import Tensor

from course_utils.networks.backbone import resized
from course_utils.photographs import photograph

SIDE, OBJECT = 128, 40  # pixels of a picture and of a face


def two_cats(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The face of a cat, twice, at places drawn at random, on a photograph of gravel; the faces never overlap.

    Returns
    -------
    pixels, boxes : Tensor
        uint8 ``(n, 3, 128, 128)``; and ``(n, 2, 4)``, unit coordinates, the two in random order.
    """
    rng = np.random.default_rng(seed)
    face = resized([np.ascontiguousarray(photograph("chelsea")[20:280, 90:350])], OBJECT)[0]
    ground = resized([photograph("gravel")], SIDE)
    pixels, boxes = ground.repeat(n, 1, 1, 1), np.zeros((n, 2, 4))
    for picture, its_boxes in zip(pixels, boxes):
        places = rng.integers(0, SIDE - OBJECT + 1, (2, 2))  # cat; x, y
        while np.abs(places[0] - places[1]).max() < OBJECT:
            places = rng.integers(0, SIDE - OBJECT + 1, (2, 2))
        for x, y in places:
            picture[:, y : y + OBJECT, x : x + OBJECT] = face
        its_boxes[:] = np.concatenate((places, places + OBJECT), 1) / SIDE
    return pixels, torch.from_numpy(boxes).float()
