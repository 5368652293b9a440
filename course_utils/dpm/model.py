"""What a deformable part model is: components with a root, parts, anchors, springs and a bias.

Everything is counted in cells. A root at (x, y) of its level wants part i at ``2 (x, y) + anchor_i`` of the part level,
whose cells are half as large, and pays ``deformation_i . (dx, dy, dx^2, dy^2)`` for a part (dx, dy) away from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from course_utils.errors import DataError
from course_utils.fhog import CHANNELS, flip_features

OCTAVES = 3  # groups of levels with a bias of their own: the first octave of roots, the second, all others
MIRROR = np.array([-1, 1, 1, 1], np.float32)  # what a mirror makes of (dx, dy, dx^2, dy^2), and of their weights


def octave_of(level: int, interval: int) -> int:
    """Which of a component's `OCTAVES` biases holds on a level of roots; these begin at ``level = interval``."""
    return min(level // interval - 1, OCTAVES - 1)


@dataclass(frozen=True)
class Component:
    """One view of an object: a star model (PAMI 2010, section 3.2). n may be 0.

    Attributes
    ----------
    root : ndarray
        float32 ``(h, w, 32)``; what it covers is the detection.
    parts : ndarray
        float32 ``(n, p, p, 32)``.
    anchors : ndarray
        int64 ``(n, 2)``: x, y of each part's top left cell in the part level, from twice the root's place.
    deformations : ndarray
        float32 ``(n, 4)``: what dx, dy, dx^2 and dy^2 cost, the last two positive; (dx, dy) is the part's place minus
        its anchor's, in cells of the part level.
    bias : float
        Makes the scores of components comparable.
    level_bias : ndarray
        float32 ``(3,)``: added in the first octave of root levels, the second, and all others.
    box_predictor : ndarray or None
        float32 ``(2n + 3, 4)``, see `course_utils.dpm.inference.predict_boxes`.
    """

    root: np.ndarray
    parts: np.ndarray
    anchors: np.ndarray
    deformations: np.ndarray
    bias: float = 0.0
    level_bias: np.ndarray = field(default_factory=lambda: np.zeros(OCTAVES, np.float32))
    box_predictor: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.parts)
        side = self.parts.shape[1] if self.parts.ndim == 4 else 0
        wanted = {
            "root": (*self.root.shape[:2], CHANNELS),
            "parts": (n, side, side, CHANNELS),
            "anchors": (n, 2),
            "deformations": (n, 4),
            "level_bias": (OCTAVES,),
        }
        if self.box_predictor is not None:
            wanted["box_predictor"] = (2 * n + 3, 4)
        for name, shape in wanted.items():
            value = getattr(self, name)
            if value.shape != shape or not np.isfinite(value).all():
                raise DataError(f"A component's {name} must be finite, of shape {shape}; got {value.shape}.")
        if (self.deformations[:, 2:] <= 0).any():
            raise DataError("A spring must cost something: the weights of dx^2 and dy^2 have to be positive.")

    def mirrored(self) -> Self:
        """The component that sees the mirrored picture as this one sees the picture; box prediction is dropped."""
        width, side = self.root.shape[1], self.parts.shape[2]
        anchors = self.anchors.copy()
        anchors[:, 0] = 2 * width - side - anchors[:, 0]
        return replace(
            self,
            root=flip_features(self.root),
            parts=flip_features(self.parts),
            anchors=anchors,
            deformations=self.deformations * MIRROR,
            box_predictor=None,
        )


@dataclass(frozen=True)
class Mixture:
    """Components for one class; at each place of the root the best of them counts.

    Attributes
    ----------
    components : tuple of Component
    threshold : float
        Scores below it are not worth reporting.
    interval : int
        Levels of the pyramid per octave.
    """

    components: tuple[Component, ...]
    threshold: float
    interval: int = 10

    @property
    def padding(self) -> tuple[int, int]:
        """Cells (y, x) around each level so that roots may reach over the border: the largest root."""
        return max(c.root.shape[0] for c in self.components), max(c.root.shape[1] for c in self.components)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column in the part level of a part with anchor (0, 0) whose root is at (0, 0) of its padded level."""
        return -self.padding[0], -self.padding[1]

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The mixture as named tensors, for a file; `from_tensors` takes it back."""
        numbers = {"threshold": self.threshold, "interval": self.interval}
        out = {f"{prefix}{name}": torch.tensor(value, dtype=torch.float64) for name, value in numbers.items()}
        for k, component in enumerate(self.components):
            for name, value in vars(component).items():
                if value is not None:
                    out[f"{prefix}{k}.{name}"] = torch.tensor(np.asarray(value))
        return out

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], prefix: str) -> Self:
        """The mixture that `tensors` wrote under this prefix."""
        components = []
        while any(name.startswith(f"{prefix}{len(components)}.") for name in tensors):
            start = f"{prefix}{len(components)}."
            fields = {name[len(start) :]: value.numpy() for name, value in tensors.items() if name.startswith(start)}
            components.append(Component(**fields | {"bias": float(fields["bias"])}))
        threshold, interval = (tensors[f"{prefix}{name}"].item() for name in ("threshold", "interval"))
        return cls(tuple(components), threshold, int(interval))
