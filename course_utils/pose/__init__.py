"""Pose as regression, in the manner of DeepPose: the 14 joints of a person as 28 numbers, then refined one by one."""

from course_utils.pose.cascade import DeepPose
from course_utils.pose.geometry import (
    MIRROR,
    crops,
    denormalize,
    diameter,
    facing,
    grown,
    joint_boxes,
    joint_sides,
    mirrored,
    normalize,
)
from course_utils.pose.measures import LIMB_ENDS, LIMB_KINDS, Shares, pck, pcp, right_if_exchanged, shares
from course_utils.pose.people import People

__all__ = [
    "LIMB_ENDS",
    "LIMB_KINDS",
    "MIRROR",
    "DeepPose",
    "People",
    "Shares",
    "crops",
    "denormalize",
    "diameter",
    "facing",
    "grown",
    "joint_boxes",
    "joint_sides",
    "mirrored",
    "normalize",
    "pck",
    "pcp",
    "right_if_exchanged",
    "shares",
]
