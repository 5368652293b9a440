"""How many limbs and joints were found: PCP and PCK, with intervals over persons."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from course_utils.joints import JOINTS
from course_utils.pose.geometry import MIRROR, diameter

LIMB_KINDS = {
    "head": (("neck", "head_top"),),
    "torso": (("r_hip", "r_shoulder"), ("l_hip", "l_shoulder")),
    "upper legs": (("r_knee", "r_hip"), ("l_knee", "l_hip")),
    "lower legs": (("r_ankle", "r_knee"), ("l_ankle", "l_knee")),
    "upper arms": (("r_elbow", "r_shoulder"), ("l_elbow", "l_shoulder")),
    "forearms": (("r_wrist", "r_elbow"), ("l_wrist", "l_elbow")),
}
"""The limbs that PCP counts; without the lines between hips or shoulders, which have no length seen from aside."""
LIMB_ENDS = torch.tensor([[JOINTS.index(end) for end in limb] for kind in LIMB_KINDS.values() for limb in kind])
"""The joints at the ends of these limbs, int64 ``(11, 2)``."""


def pcp(found: Tensor, joints: Tensor, threshold: float = 0.5) -> Tensor:
    """Which limbs were found: both ends at most ``threshold`` times the limb's length away from the truth.

    Parameters
    ----------
    found : Tensor
        ``(N, 14, 2)``.
    joints : Tensor
        ``(N, 14, 3)``, the truth.
    threshold : float

    Returns
    -------
    Tensor
        float ``(N, 11)``, in the order of `LIMB_KINDS`: 1 found, 0 not, NaN where an end is absent.
    """
    first, second = LIMB_ENDS.T
    off = (found - joints[..., :2]).norm(dim=-1)  # (N, 14)
    length = (joints[:, first, :2] - joints[:, second, :2]).norm(dim=-1)  # (N, 11)
    hit = (off[:, first] <= threshold * length) & (off[:, second] <= threshold * length)
    absent = (joints[:, first, 2] == 0) | (joints[:, second, 2] == 0)
    return hit.float().masked_fill(absent, torch.nan)


def pck(found: Tensor, joints: Tensor, alpha: float = 0.2) -> Tensor:
    """Which joints were found: at most ``alpha`` torso diagonals away from the truth.

    Arguments as in `pcp`. Returns float ``(N, 14)``: 1 found, 0 not, NaN where the joint or an end of the diagonal is
    absent.
    """
    off = (found - joints[..., :2]).norm(dim=-1)
    torso = diameter(joints.masked_fill(joints[..., 2:] == 0, torch.nan))
    hit = off <= alpha * torso[:, None]
    return hit.float().masked_fill((joints[..., 2] == 0) | torso.isnan()[:, None], torch.nan)


def right_if_exchanged(found: Tensor, joints: Tensor) -> Tensor:
    """Which of the left and right joints that `pck` misses would be found if left and right were exchanged.

    Arguments as in `pck`. Returns float ``(N, 14)``: 1 yes, 0 no, NaN where the joint was found, is absent, or has no
    other side.
    """
    missed = pck(found, joints) == 0
    missed[:, [number for number, other in enumerate(MIRROR) if number == other]] = False
    return pck(found[:, MIRROR], joints).masked_fill(~missed, torch.nan)


@dataclass(frozen=True)
class Shares:
    """Mean of what was counted, and its 95 % interval if other persons had been drawn; each a float."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.2f} ({self.low:.2f} to {self.high:.2f})"


def shares(hits: Tensor, n: int = 1000, seed: int = 0) -> Shares:
    """Share of 1 in ``hits`` ``(N, k)``, NaN left out, and its interval by the bootstrap over the N persons.

    All that belongs to a person is drawn together. NaN if nothing is known. Of the difference between what two systems
    found of the same persons (-1, 0 or 1) it gives what the first gained, and its paired interval.
    """
    values = hits.double().numpy().reshape(len(hits), -1)
    hit, known = np.nansum(values, 1), (~np.isnan(values)).sum(1)
    draws = np.random.default_rng(seed).multinomial(len(hits), np.full(len(hits), 1 / len(hits)), size=n)
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile((draws @ hit) / (draws @ known), (0.025, 0.975)) if known.any() else (np.nan,) * 2
        return Shares(float(hit.sum() / known.sum()), float(low), float(high))
