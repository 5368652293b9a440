"""`evaluate` measures a system that finds joints: PCP and PCK of each of its stages."""

import time
from dataclasses import astuple, dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from course_utils.datasets.base import Dataset
from course_utils.evaluation import facts_of, measuring_key
from course_utils.pose.cascade import DeepPose
from course_utils.pose.measures import LIMB_KINDS, Shares, pck, pcp, shares
from course_utils.pose.people import People
from course_utils.progress import progress
from course_utils.results import Measured
from course_utils.store import Store

FORMAT = "poses 1"


@dataclass(frozen=True)
class Poses(Measured):
    """What each stage found of each person, whose true box was given.

    Attributes
    ----------
    info : dict
        As of `course_utils.results.Row`.
    found : Tensor
        float32 ``(n_stages, N, 14, 2)``.
    joints : Tensor
        float32 ``(N, 14, 3)``: the truth.
    seconds : Tensor
        float32 ``(N,)``: of all stages, for one person at a time.
    """

    info: dict[str, Any]
    found: Tensor
    joints: Tensor
    seconds: Tensor

    @cached_property
    def stages(self) -> list[dict[str, Shares]]:
        """Of each stage: ``PCP`` and ``PCK`` over all limbs and joints, and PCP of each of `LIMB_KINDS`."""
        return [stage_shares(found, self.joints) for found in self.found]

    @cached_property
    def gains(self) -> dict[str, dict[str, Shares]]:
        """``stage 2 less stage 1`` and so on: what each stage `gained` over the one before."""
        steps = enumerate(pairwise(self.found), 1)
        return {f"stage {k + 1} less stage {k}": gained(after, before, self.joints) for k, (before, after) in steps}

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """For ``stage 1`` and so on what `stages` has, as [mean, low, high]; and ``n_persons``.

        Likewise what `gains` has.
        """
        named = {f"stage {k}": stage for k, stage in enumerate(self.stages, 1)} | self.gains
        return {"n_persons": len(self.joints)} | {
            key: {name: list(astuple(one)) for name, one in value.items()} for key, value in named.items()
        }

    def __str__(self) -> str:
        data, names = self.info["data"], list(self.stages[0])
        lines = [f"{self.info['label']} on {data['name']}/{data['split']}: {len(self.joints)} persons, boxes given"]
        lines += ["".join([f"{'':12s}", *(f"{f'stage {k}':>24s}" for k in range(1, len(self.stages) + 1))])]
        lines += ["".join([f"{name:12s}", *(f"{stage[name]!s:>24s}" for stage in self.stages)]) for name in names]
        for step, gain in self.gains.items():
            told = (f"{name} {one.mean:+.3f} ({one.low:+.3f} to {one.high:+.3f})" for name, one in gain.items())
            lines += [f"{step}: {', '.join(told)}"]
        lines += [f"in brackets 95 % intervals over persons; {self.seconds_per_image:.2g} s per person"]
        if seen := self.info["learned_from_too"]:
            lines += [f"Beware: the system was trained on {seen} of these images."]
        return "\n".join(lines)


def stage_shares(found: Tensor, joints: Tensor) -> dict[str, Shares]:
    """PCP@0.5, PCK@0.2 and PCP of each kind of limb, of joints found ``(N, 14, 2)`` and true ``(N, 14, 3)``."""
    limbs = pcp(found, joints)
    kinds = limbs.split([len(kind) for kind in LIMB_KINDS.values()], 1)
    return {"PCP": shares(limbs), "PCK": shares(pck(found, joints))} | dict(zip(LIMB_KINDS, map(shares, kinds)))


def gained(found: Tensor, before: Tensor, joints: Tensor) -> dict[str, Shares]:
    """How much higher PCP@0.5 and PCK@0.2 of ``found`` are than those of ``before``, on the same persons.

    Parameters
    ----------
    found, before : Tensor
        ``(N, 14, 2)``, of two stages, or of two systems.
    joints : Tensor
        ``(N, 14, 3)``, the truth.

    Returns
    -------
    dict
        Differences with their paired 95 % intervals, by the bootstrap over persons.
    """
    return {name: shares(hits(found, joints) - hits(before, joints)) for name, hits in (("PCP", pcp), ("PCK", pck))}


def evaluate(learned: DeepPose, dataset: Dataset, *, store: Store | None = None, command: str = "") -> Poses:
    """Find the joints of every person, or take from the store what the same code found before.

    Persons that are difficult or have no joints are left out; raises `DataError` if none is left.
    """
    key = measuring_key(learned, dataset, (_run, People))

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        info = facts_of(learned, dataset, learned.classes, command) | {
            "format": FORMAT,
            "stage_seconds": {},
            "key": key,
        }
        return _run(learned, People.of(dataset)), info

    tensors, info = (store or Store()).keep("poses", key, make)
    return Poses(info, tensors["found"], tensors["joints"], tensors["seconds"])


def _run(learned: DeepPose, people: People) -> dict[str, Tensor]:
    learned.locate(people.pictures[0], people.boxes[:1])  # warms up; not counted
    found, seconds = [], []
    for i in progress(range(len(people)), "pose"):
        start = time.perf_counter()
        found.append(learned.trace(people.pictures[i], people.boxes[i : i + 1]))
        seconds.append(time.perf_counter() - start)
    return {"found": torch.cat(found, 1), "joints": people.joints, "seconds": torch.tensor(seconds)}
