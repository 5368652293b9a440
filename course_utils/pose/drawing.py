"""Pictures of poses: one person near, what a network is shown, joints found by kind."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course_utils.errors import CourseError
from course_utils.joints import JOINTS
from course_utils.networks.backbone import MEAN, STD
from course_utils.plots import draw_skeleton, show
from course_utils.pose.cascade import normalized_picture
from course_utils.pose.geometry import crops, grown
from course_utils.pose.measures import pck
from course_utils.pose.people import People

KINDS = ("ankle", "knee", "hip", "wrist", "elbow", "shoulder", "neck", "head_top")
FRAMES = ("#111111", "#832db6", "#b9ac70", "#a96b59", "#92dadd")  # none of the colours of truth, hits and skeletons
AROUND = 1.3  # a close-up is the person's box, so many times as wide and high


def close_up(ax: Axes, people: People, i: int, joints: Tensor, title: str | None = None) -> None:
    """Person ``i`` with a skeleton ``(14, 2)``, all of it drawn as visible, or ``(14, 3)`` with v."""
    show(people.pictures[i], ax, title)
    draw_skeleton(ax, with_visibility(joints))
    x1, y1, x2, y2 = grown(people.boxes[i], AROUND).tolist()
    ax.set(xlim=(x1, x2), ylim=(y2, y1))


def with_visibility(joints: Tensor) -> Tensor:
    """Joints ``(14, 2)`` as ``(14, 3)``, all visible; ``(14, 3)`` as they are."""
    return joints if joints.shape[1] == 3 else torch.cat([joints, torch.full((len(joints), 1), 2.0)], 1)


def draw_crops(image: np.ndarray, joints: Tensor, boxes: Mapping[str, tuple[Tensor, int]]) -> Figure:
    """A picture with a skeleton and some boxes, and beside it what a network sees of each; frames of one colour match.

    Parameters
    ----------
    image : ndarray
        uint8 ``(H, W, 3)``.
    joints : Tensor
        ``(14, 2)`` or ``(14, 3)``.
    boxes : mapping
        From a title to a box ``(4,)``, which may reach beyond the picture, and the side of its crop in pixels.

    Raises `CourseError` for more than five boxes.
    """
    if len(boxes) > len(FRAMES):
        raise CourseError(f"draw_crops() has colours for {len(FRAMES)} boxes, and got {len(boxes)}.")
    fig, axes = plt.subplots(1, 1 + len(boxes), figsize=(13, 3.2), width_ratios=[1.3, *[1] * len(boxes)])
    draw_skeleton(show(image, axes[0], "found"), with_visibility(joints))
    (height, width), rim = image.shape[:2], max(image.shape[:2]) // 6
    axes[0].set(xlim=(-rim, width + rim), ylim=(height + rim, -rim))
    picture = normalized_picture(image)
    for ax, (title, (box, size)), color in zip(axes[1:], boxes.items(), FRAMES):
        crop = crops(picture, box[None], size)[0].permute(1, 2, 0) * torch.tensor(STD) + torch.tensor(MEAN)
        show(crop.clamp(0, 1), ax, title)
        _frame(ax, [-0.5, -0.5], [size, size], color)
        _frame(axes[0], box[:2].tolist(), (box[2:] - box[:2]).tolist(), color)
    return fig


def _frame(ax: Axes, corner: list[float], size: list[float], color: str) -> None:
    ax.add_patch(plt.Rectangle(tuple(corner), *size, fill=False, edgecolor=color, linewidth=3, clip_on=False))


def draw_by_kind(poses: Mapping[str, Tensor], truth: Tensor) -> Figure:
    """PCK@0.2 of each kind of joint as bars, those of several poses side by side.

    Parameters
    ----------
    poses : mapping
        From a name to joints ``(N, 14, 2)``.
    truth : Tensor
        ``(N, 14, 3)``.
    """
    fig, ax = plt.subplots(figsize=(10, 3.2))
    own = [[number for number, name in enumerate(JOINTS) if kind in name] for kind in KINDS]
    wide = 0.8 / len(poses)
    for k, (name, found) in enumerate(poses.items()):
        hit = pck(found, truth)
        ax.bar(np.arange(len(KINDS)) + wide * k, [hit[:, j].nanmean().item() for j in own], wide, label=name)
    ax.set_xticks(np.arange(len(KINDS)) + (0.8 - wide) / 2, KINDS)
    ax.set(ylabel="PCK@0.2", ylim=(0, 1))
    ax.legend(ncols=len(poses))
    return fig
