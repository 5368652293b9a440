"""Coordinates of joints: in pixels of the picture, and in the frame of a box that is cut out of it.

Toshev and Szegedy, "DeepPose: Human Pose Estimation via Deep Neural Networks", CVPR 2014, section 3.
Boxes are x1 y1 x2 y2 on continuous pixel edges, points x y in the same pixels.
"""

import torch
from torch import Tensor
from torchvision.ops import roi_align

from course_utils.joints import JOINTS

_OTHER = {"r": "l", "l": "r"}
MIRROR = tuple(JOINTS.index(_OTHER[j[0]] + j[1:] if j[1] == "_" else j) for j in JOINTS)
"""For each joint the one that stands in its place in a mirror: right and left exchanged, neck and head kept."""
SHOULDER, HIP = JOINTS.index("l_shoulder"), JOINTS.index("r_hip")  # the ends of the torso's diagonal


def normalize(points: Tensor, boxes: Tensor) -> Tensor:
    """Points ``(..., 2)`` in pixels as seen from boxes ``(..., 4)``: (0, 0) is the centre, the edges are at +-1/2.

    Leading dimensions broadcast. N(y; b) of section 3.
    """
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return (points - centre) / size


def denormalize(points: Tensor, boxes: Tensor) -> Tensor:
    """The inverse of `normalize`: from the frame of the boxes ``(..., 4)`` back to pixels, ``(..., 2)``."""
    centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    return points * size + centre


def grown(boxes: Tensor, factor: float) -> Tensor:
    """Boxes ``(..., 4)`` with the same centre, ``factor`` times as wide and high."""
    centre, half = (boxes[..., :2] + boxes[..., 2:]) / 2, (boxes[..., 2:] - boxes[..., :2]) / 2 * factor
    return torch.cat([centre - half, centre + half], -1)


def diameter(joints: Tensor) -> Tensor:
    """Diagonal of the torso, left shoulder to right hip, of joints ``(..., 14, 2 or more)``; ``(...)`` in pixels."""
    return (joints[..., SHOULDER, :2] - joints[..., HIP, :2]).norm(dim=-1)


def facing(joints: Tensor) -> Tensor:
    """From where persons ``(N, 14, 2 or more)`` are seen: above 0 from the front, below 0 from behind, near 0 aside.

    It is how far the left shoulder is to the right of the right one in the picture, in torso diagonals ``(N,)``.
    """
    return (joints[:, SHOULDER, 0] - joints[:, MIRROR[SHOULDER], 0]) / diameter(joints)


def joint_sides(joints: Tensor, sigma: float, smallest: Tensor) -> Tensor:
    """Sides of the squares about the joints: ``sigma`` torso diagonals.

    Parameters
    ----------
    joints : Tensor
        ``(N, 14, 2)``: where the stage before found them.
    sigma : float
    smallest : Tensor
        ``(N,)``: no side is shorter, however short the torso was found; pixels, above 0.

    Returns
    -------
    Tensor
        ``(N,)``, one for all joints of a person.
    """
    return (sigma * diameter(joints)).clamp(min=smallest)


def joint_boxes(joints: Tensor, sides: Tensor) -> Tensor:
    """A square about each of the joints ``(N, 14, 2)`` with the person's side ``(N,)``; ``(N, 14, 4)``.

    They may reach beyond the picture.
    """
    half = sides[:, None, None] / 2
    return torch.cat([joints - half, joints + half], -1)


def crops(picture: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut boxes out of a picture and bring them to one size; beyond the picture there are zeros.

    Each value is the mean of bilinear samples over its pixel, so that large boxes are not aliased.

    Parameters
    ----------
    picture : Tensor
        float ``(C, H, W)``; normalized, so that 0 is the mean colour.
    boxes : Tensor
        ``(N, 4)``.
    size : int
        Side of a crop; the aspect ratio is not kept.

    Returns
    -------
    Tensor
        ``(N, C, size, size)``.
    """
    return roi_align(picture[None], [boxes.to(picture.dtype)], size, aligned=True)


def mirrored(points: Tensor) -> Tensor:
    """The pose ``(..., 14, 2)`` of the mirrored crop, in its frame: x changes its sign, and left is right."""
    return points[..., MIRROR, :] * points.new_tensor([-1.0, 1.0])
