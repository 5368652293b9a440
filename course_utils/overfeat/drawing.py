"""Pictures of maps, cell by cell."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor

from course_utils.plots import KINDS

OLD = "#5b7fa6"


def draw_cells(axes: Sequence[Axes], masks: Sequence[Tensor], names: Sequence[str]) -> None:
    """Draw bool maps ``(rows, columns)`` side by side to one scale; what is True is yellow and hatched."""
    largest = max(max(mask.shape) for mask in masks)
    for ax, mask, name in zip(axes, masks, names, strict=True):
        rows, columns = mask.shape
        for y in range(rows):
            for x in range(columns):
                new = bool(mask[y, x])
                color, hatch = (KINDS["truth"].color, "///") if new else (OLD, None)
                ax.add_patch(Rectangle((x, y), 1, 1, facecolor=color, hatch=hatch, edgecolor="#333333", linewidth=0.5))
        middle = columns / 2, rows / 2
        ax.set(
            xlim=(middle[0] - largest / 2, middle[0] + largest / 2), aspect="equal", title=f"{name}\n{rows} x {columns}"
        )
        ax.set_ylim(middle[1] + largest / 2, middle[1] - largest / 2)
        ax.set(aspect="equal", title=f"{name}\n{rows} x {columns}")
        ax.set_axis_off()
