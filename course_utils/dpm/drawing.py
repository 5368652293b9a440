"""Pictures of a part model as its authors draw it, and of where it stands in a photograph."""

from collections.abc import Sequence

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from course_utils.dpm.inference import Placements, cell_boxes, part_boxes, resting_places, root_boxes
from course_utils.dpm.model import Component, Mixture
from course_utils.errors import CourseError
from course_utils.fhog import FeatureLevel
from course_utils.plots import class_color, draw_boxes, show

ORIENTATIONS = 9


def draw_filter(weights: np.ndarray, size: int = 16) -> np.ndarray:
    """Picture of FHOG features or of a filter: in each cell a line along each edge, as bright as the edge's weight.

    A direction, its opposite and their sum share a line; negative weights do not show. Edges run across their
    gradient: the line of 0 degrees is upright. `course_utils.hog.draw_glyphs` does the same for bins that lie half a
    bin further.

    Parameters
    ----------
    weights : ndarray
        ``(R, C, 32)``.
    size : int
        Side of a cell in pixels.

    Returns
    -------
    ndarray
        float32 ``(size * R, size * C)``, from 0.
    """
    rows, columns = weights.shape[:2]
    cells = np.maximum(weights[:, :, : 3 * ORIENTATIONS], 0).reshape(rows, columns, 3, ORIENTATIONS).sum(axis=2)
    angle = np.radians(np.arange(ORIENTATIONS) * 180 / ORIENTATIONS)[:, None, None]
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.abs(x * np.cos(angle) + y * np.sin(angle))  # from the line through the cell's centre
    lines = np.clip(1 + size / 20 - distance, 0, 1) * (np.hypot(x, y) < size / 2)
    picture = np.zeros((rows, size, columns, size), np.float32)
    for k in range(ORIENTATIONS):
        np.maximum(picture, cells[:, None, :, None, k] * lines[k, :, None, :], out=picture)
    return picture.reshape(size * rows, size * columns)


def model_pictures(component: Component, size: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Root, parts and springs of a component, each float32 ``(2 size h, 2 size w)``, 0 to 1, for a root of h x w cells.

    A cell of the parts' level has ``size`` pixels, one of the root's twice as many. Parts are pasted at their anchors
    over the root, each with a frame; in the third picture each shows what a displacement costs: the middle is the
    anchor, a pixel's distance from it the part's, and bright is expensive. Parts share one scale, and so do springs.
    """
    root = draw_filter(component.root, 2 * size)
    root = root / max(float(root.max()), 1e-12)
    parts, springs = root.copy(), root / 3
    glyphs = [draw_filter(part, size) for part in component.parts]
    side = size * component.parts.shape[1]
    away = (np.arange(side) - (side - 1) / 2) / size  # cells
    dx, dy = away[None, :], away[:, None]
    costs = [d[0] * dx + d[1] * dy + d[2] * dx**2 + d[3] * dy**2 for d in component.deformations]
    for picture, pasted in ((parts, glyphs), (springs, costs)):
        brightest = max((float(one.max()) for one in pasted), default=1.0)
        for one, (x, y) in zip(pasted, size * component.anchors):
            framed = np.full((side, side), 0.6, np.float32)
            framed[1:-1, 1:-1] = np.clip(one / max(brightest, 1e-12), 0, 1)[1:-1, 1:-1]
            top, left = max(y, 0), max(x, 0)  # a part may reach over the root's border
            inside = picture[top : y + side, left : x + side]
            inside[:] = framed[top - y :, left - x :][: inside.shape[0], : inside.shape[1]]
    return root, parts, springs


def draw_model(component: Component, axes: Sequence[Axes] | None = None, size: int = 20) -> Figure:
    """Draw the three `model_pictures` side by side, or into three axes that are given; returns their figure."""
    if axes is None:
        height, width = component.root.shape[:2]
        axes = plt.subplots(1, 3, figsize=(9, 3 * height / width + 0.4), layout="constrained")[1]
    if len(axes) != 3:
        raise CourseError(f"draw_model() wants three axes, for root, parts and springs; got {len(axes)}.")
    for ax, picture, title in zip(axes, model_pictures(component, size), ("root", "parts", "cost of displacement")):
        show(picture, ax, title)
        ax.images[-1].set(cmap="gray", clim=(0, 1))
    return axes[0].figure


def draw_placement(
    ax: Axes,
    mixture: Mixture,
    levels: Sequence[FeatureLevel],
    placement: Placements,
    *,
    kind: str = "hit",
    name: str | None = None,
) -> None:
    """Draw where root and parts of one placement stand, and the springs that pull the parts to their anchors.

    ``kind`` is the root's in the colour code of `course_utils.plots`; with a ``name`` the root has a tag with name and
    score. Each part has a colour of its own, in its component always the same; a ring marks the middle of where its
    anchor wants it, a line leads from there to the middle of where it is.
    """
    if len(placement) != 1:
        raise CourseError(f"draw_placement() draws one placement; got {len(placement)}. placements[:1] is the best.")
    component, fine = mixture.components[placement.component[0]], levels[placement.level[0] - mixture.interval]
    parts = part_boxes(mixture, levels, placement)[0].numpy()
    places = resting_places(component, placement.roots, mixture.origin)[0]
    anchors = cell_boxes(fine, places, component.parts.shape[1:3], mixture.padding)
    halo = [effects.Stroke(linewidth=3, foreground="#111111", alpha=0.75), effects.Normal()]
    for number, (part, anchor) in enumerate(zip(parts, anchors), 1):
        (x1, y1, x2, y2), color = part, class_color(number)
        ax.add_patch(
            Rectangle(
                (x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=color, linewidth=1.4, path_effects=halo, zorder=4
            )
        )
        ends = np.stack([anchor[:2] + anchor[2:], part[:2] + part[2:]]) / 2
        ax.plot(*ends.T, color=color, linewidth=1.6, path_effects=halo, zorder=5, solid_capstyle="round")
        ax.plot(*ends[0], "o", markersize=4, markerfacecolor="#111111", markeredgecolor=color, zorder=6)
    scores = None if name is None else placement.scores
    draw_boxes(ax, root_boxes(mixture, levels, placement), None if name is None else [name], scores, kind)
