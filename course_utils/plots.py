"""One plot style and one colour code for the whole course.

Boxes are drawn on continuous pixel edges (``x1 y1 x2 y2``, origin top left), so `show` stretches an image of
``W x H`` pixels over ``0..W`` and ``0..H`` instead of matplotlib's default that centres the first pixel on 0.

The colour code starts from the palette of Okabe and Ito (2008), with orange and purple shifted until all
kinds stay apart for protan, deutan and tritan readers (measured in ``tests/test_plots.py``).
Colour never stands alone: each kind of box has its own line style as well, and its tag begins with a sign.
"""

import base64
import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.patheffects as effects
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from course_utils.errors import CourseError
from course_utils.joints import JOINTS, LIMBS
from course_utils.paths import repo_root


class Kind(NamedTuple):
    """How one kind of box looks."""

    color: str
    linestyle: str | tuple
    linewidth: float
    sign: str
    legend: str


KINDS = {
    "truth": Kind("#F0E442", "-", 2.4, "", "truth"),
    "hit": Kind("#56B4E9", "-", 2.4, "✓ ", "hit"),
    "false alarm": Kind("#E0601A", (0, (4, 2)), 2.4, "✗ ", "false alarm"),
    "missed": Kind("#C5529E", (0, (1, 1.3)), 3.0, "missed ", "missed"),
    "candidate": Kind("#FFFFFF", "-", 1.2, "", "candidate"),
}
"""The colour code: annotation, right detection, wrong detection, object nobody found, window or proposal."""

CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6",
    "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd",
)  # fmt: skip
"""Ten class colours, the same as the style file's cycle (M. Petroff, "Accessible color sequences", 2021)."""

SIDE_COLORS = {"r": "#E0601A", "l": "#56B4E9", "": "#FFFFFF"}
"""Colours of a skeleton: the person's own right, own left, and the middle."""

_INK = "#111111"


def use_course_style() -> None:
    """Load ``notebooks/course.mplstyle`` for every figure that follows."""
    plt.style.use(repo_root() / "notebooks" / "course.mplstyle")


def class_color(label: int) -> str:
    """Colour of class ``label`` (1..K, as in ``dataset.classes``); after ten they repeat."""
    return CLASS_COLORS[(int(label) - 1) % len(CLASS_COLORS)]


def show(image: ArrayLike, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw an image, uint8 ``(H, W, 3)`` or any ``(H, W)`` map, on continuous pixel edges and without axes.

    Returns the axes, ready for `draw_boxes`, `draw_masks` and `draw_skeleton`.
    """
    image = np.asarray(image)
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (3, 4)):
        raise CourseError(f"show() draws images of shape (H, W, 3) or (H, W); this one has shape {image.shape}.")
    if ax is None:
        height, width = image.shape[:2]
        _, ax = plt.subplots(figsize=(5 * min(width / height, 1.8), 5))
    height, width = image.shape[:2]
    ax.imshow(image, extent=(0, width, height, 0))
    ax.set_axis_off()
    if title is not None:
        ax.set_title(title)
    return ax


def draw_boxes(
    ax: Axes,
    boxes: ArrayLike,
    names: Sequence[str] | None = None,
    scores: ArrayLike | None = None,
    kind: str = "truth",
) -> None:
    """Draw boxes ``(N, 4)`` in the colour code, with a tag "sign name score" where names or scores are given.

    ``kind`` is one of `KINDS`. The first box of each kind carries a legend entry, so ``ax.legend()`` explains
    exactly the kinds that are on the picture.
    """
    if kind not in KINDS:
        raise CourseError(f"There is no kind of box {kind!r}; the colour code knows: {', '.join(KINDS)}.")
    boxes = np.asarray(boxes, dtype=float).reshape(-1, 4)
    for what, given in (("names", names), ("scores", scores)):
        if given is not None and len(given) != len(boxes):
            raise CourseError(f"draw_boxes() got {len(boxes)} boxes but {len(given)} {what}.")
    style = KINDS[kind]
    line = style.linewidth * _scale(ax)
    known = {patch.get_label() for patch in ax.patches}
    halo = [effects.Stroke(linewidth=line + 1.6, foreground=_INK, alpha=0.75), effects.Normal()]
    if style.linestyle != "-":  # a dashed line shows better on a continuous dark one
        halo = [effects.Normal()]
    for n, (x1, y1, x2, y2) in enumerate(boxes):
        frame = {"xy": (x1, y1), "width": x2 - x1, "height": y2 - y1, "fill": False}
        if style.linestyle != "-":
            ax.add_patch(Rectangle(**frame, edgecolor=_INK, alpha=0.75, linewidth=line + 1.6, zorder=3))
        label = "_nolegend_" if style.legend in known else style.legend
        known.add(style.legend)
        ax.add_patch(
            Rectangle(
                **frame, edgecolor=style.color, linestyle=style.linestyle, linewidth=line,
                label=label, path_effects=halo, zorder=3,
            )
        )  # fmt: skip
        words = [] if names is None else [str(names[n])]
        if scores is not None:
            words.append(f"{float(scores[n]):.2f}")
        if words:
            _tag(ax, x1, x2, y1, style.sign + " ".join(words), style.color)
    # Boxes may reach over the border of the picture; they must not stretch the axes.
    ax.autoscale(False)


def _scale(ax: Axes) -> float:
    """1 on axes at least 3 inches wide, less on the small pictures of a contact sheet."""
    return min(max(ax.get_position().width * ax.figure.get_figwidth() / 3, 0.65), 1.0)


def _tag(ax: Axes, x1: float, x2: float, y: float, text: str, color: str) -> None:
    """A small filled label on the upper edge of a box, kept inside the axes."""
    top, left, right = min(ax.get_ylim()), min(ax.get_xlim()), max(ax.get_xlim())
    height = abs(ax.get_ylim()[1] - ax.get_ylim()[0])
    inside = y - 0.07 * height < top
    at_right = x1 > left + 0.75 * (right - left)
    ax.annotate(
        text,
        (min(x2, right) if at_right else max(x1, left), max(y, top)),
        xytext=(-2 if at_right else 2, -2 if inside else 2),
        textcoords="offset points",
        ha="right" if at_right else "left",
        va="top" if inside else "bottom",
        fontsize=max(11 * _scale(ax), 7.5),
        color=_ink_on(color),
        bbox={"boxstyle": "round,pad=0.15", "facecolor": color, "edgecolor": _INK, "linewidth": 0.6},
        zorder=7,
    )


def _ink_on(color: str) -> str:
    """Black or white, whichever reads better on ``color`` (relative luminance of Rec. 709)."""
    red, green, blue = to_rgb(color)
    return _INK if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.35 else "white"


def draw_masks(ax: Axes, masks: ArrayLike, labels: ArrayLike | None = None) -> None:
    """Tint and outline instance masks ``(N, H, W)``, by class colour with ``labels`` (N,), else by turns."""
    masks = np.asarray(masks).astype(bool)
    if masks.ndim != 3:
        raise CourseError(f"draw_masks() wants masks of shape (N, H, W); these have shape {masks.shape}.")
    height, width = masks.shape[1:]
    numbers = range(1, len(masks) + 1) if labels is None else np.asarray(labels)
    centres_x, centres_y = np.arange(width + 2) - 0.5, np.arange(height + 2) - 0.5
    for mask, number in zip(masks, numbers, strict=True):
        color = class_color(number)
        tint = np.zeros((height, width, 4))
        tint[mask] = (*to_rgb(color), 0.45)
        ax.imshow(tint, extent=(0, width, height, 0), zorder=2)
        if mask.any():
            edge = np.pad(mask, 1).astype(float)  # the frame closes outlines that touch the border
            ax.contour(centres_x, centres_y, edge, levels=[0.5], colors=[_INK], linewidths=2.6, alpha=0.6, zorder=2)
            ax.contour(centres_x, centres_y, edge, levels=[0.5], colors=[color], linewidths=1.6, zorder=2)
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)


def draw_skeleton(ax: Axes, joints: ArrayLike) -> None:
    """Draw joints, ``(14, 3)`` or ``(N, 14, 3)``, given as ``x, y, v`` (v: 0 absent, 1 hidden, 2 visible).

    Visible joints are filled dots, hidden ones open rings; a limb with a hidden end is dotted; absent joints
    are left out. The person's own right side is orange, the left blue, the middle white.
    """
    joints = np.asarray(joints, dtype=float)
    if joints.shape[-2:] != (len(JOINTS), 3):
        raise CourseError(f"draw_skeleton() wants joints of shape (..., {len(JOINTS)}, 3), not {joints.shape}.")
    scale = _scale(ax)
    halo = [effects.Stroke(linewidth=2.4 * scale + 2, foreground=_INK, alpha=0.7), effects.Normal()]
    place = {name: n for n, name in enumerate(JOINTS)}
    for person in joints.reshape(-1, len(JOINTS), 3):
        for limb in LIMBS:
            first, second = (place[end] for end in limb)
            ends = person[[first, second]]
            if (ends[:, 2] == 0).any():
                continue
            sides = {_side(JOINTS[first]), _side(JOINTS[second])}
            color = SIDE_COLORS[sides.pop() if len(sides) == 1 else ""]
            dotted = (ends[:, 2] == 1).any()
            ax.plot(
                ends[:, 0], ends[:, 1], color=color, linewidth=2.4 * scale,
                linestyle=(0, (1, 1)) if dotted else "-",
                path_effects=halo, zorder=5, solid_capstyle="round",
            )  # fmt: skip
        for name, (x, y, v) in zip(JOINTS, person, strict=True):
            if v:
                color = SIDE_COLORS[_side(name)]
                face, edge = (color, _INK) if v == 2 else (_INK, color)
                ax.plot(x, y, "o", markersize=6 * scale, markerfacecolor=face, markeredgecolor=edge, zorder=6)


def _side(joint: str) -> str:
    return joint[0] if joint[:2] in ("r_", "l_") else ""


def contact_sheet(
    images: Sequence[ArrayLike],
    targets: Sequence[dict] | None = None,
    classes: Sequence[str] | None = None,
    columns: int = 4,
    titles: Sequence[str] | None = None,
) -> Figure:
    """A sheet of small pictures; with ``targets`` their boxes, and masks and joints where a target has them.

    ``classes`` turns labels (1..K) into tags. The figure is 10 inches wide; hand it to `show_figure`.
    """
    if len(images) == 0:
        raise CourseError("contact_sheet() got no image to show.")
    rows = -(-len(images) // columns)
    shape = np.asarray(images[0]).shape
    cell = 10 / columns
    title_room = 0.35 if titles is not None else 0.05
    size = 10, rows * (cell * shape[0] / shape[1] + title_room)
    fig, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    fig.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    for ax in axes.flat:
        ax.set_axis_off()
    for n, (image, ax) in enumerate(zip(images, axes.flat, strict=False)):
        show(image, ax, None if titles is None else titles[n])
        if targets is None:
            continue
        target = targets[n]
        labels = np.asarray(target["labels"])
        if target.get("masks") is not None:
            draw_masks(ax, target["masks"], labels)
        names = None if classes is None else [classes[label - 1] for label in labels]
        draw_boxes(ax, target["boxes"], names)
        if target.get("joints") is not None:
            draw_skeleton(ax, target["joints"])
    return fig


class Picture:
    """A finished figure as Jupyter shows it: an image with alt text; the text alone where no image can be."""

    def __init__(self, data: bytes, mime: str, alt: str):
        self.data, self.mime, self.alt = data, mime, alt

    def __repr__(self) -> str:
        return f"[picture] {self.alt}"

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {self.mime: base64.b64encode(self.data).decode(), "text/plain": repr(self)}
        return bundle, {self.mime: {"alt": self.alt}}


def picture(fig: Figure, alt: str, fmt: str | None = None) -> Picture:
    """Render and close a figure.

    ``fmt`` is "png" or "jpeg"; by default jpeg, a fifth of the size, if the figure holds an RGB image. The
    bytes depend on the picture alone: no date, no software version.
    """
    if not alt.strip():
        raise CourseError("A picture needs an alt text: one sentence that says what can be seen on it.")
    if fmt is None:
        shapes = [image.get_array().shape for ax in fig.axes for image in ax.images]
        fmt = "jpeg" if any(len(shape) == 3 and shape[2] == 3 for shape in shapes) else "png"
    buffer = io.BytesIO()
    if fmt == "jpeg":
        # Quality 85 without chroma subsampling keeps thin coloured box edges clean.
        fig.savefig(buffer, format="jpeg", pil_kwargs={"quality": 85, "subsampling": 0, "optimize": True})
    elif fmt == "png":
        fig.savefig(buffer, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    else:
        raise CourseError(f'A figure is stored as "png" or "jpeg", not as {fmt!r}.')
    plt.close(fig)
    return Picture(buffer.getvalue(), f"image/{fmt}", " ".join(alt.split()))


def show_figure(fig: Figure, alt: str, fmt: str | None = None) -> None:
    """Show a figure with its alt text (see `picture`) and close it. The last line of a plotting cell."""
    from IPython.display import display  # here, so that scripts can draw without IPython

    display(picture(fig, alt, fmt))
