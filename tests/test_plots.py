"""Colours can be told apart, pictures stand on continuous pixel edges, their bytes are the same each time."""

import io
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from course_utils import plots
from course_utils.errors import CourseError

matplotlib.use("Agg")
RGB = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def _style():
    with matplotlib.rc_context():
        plots.use_course_style()
        yield
    plt.close("all")


def pixels(fig, fmt="png"):
    return np.asarray(Image.open(io.BytesIO(plots.picture(fig, "a picture", fmt).data)).convert("RGB")).astype(int)


# Linear-light matrices of Machado, Oliveira and Fernandes (2009), severity 1.
BLINDNESS = {
    "none": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def lab(color, matrix):
    """CIE L*a*b* of a colour as a reader with this kind of vision sees it."""
    from skimage.color import rgb2lab

    c = np.array(to_rgb(color))
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(matrix) @ linear, 0, 1)
    return rgb2lab(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055)[None, None])[0, 0]


@pytest.mark.parametrize("vision", BLINDNESS)
def test_kinds_of_boxes_differ_for_every_reader(vision):
    colors = [lab(kind.color, BLINDNESS[vision]) for kind in plots.KINDS.values()]
    distances = [np.linalg.norm(a - b) for n, a in enumerate(colors) for b in colors[:n]]
    assert min(distances) > 20, distances  # 2.3 is just noticeable; 20 is told apart at a glance


def test_kinds_differ_without_colour_too():
    signs = {(str(kind.linestyle), kind.linewidth, kind.sign) for kind in plots.KINDS.values()}
    assert len(signs) == len(plots.KINDS)


def test_class_colors_are_the_style_files_cycle():
    cycle = tuple(plt.rcParams["axes.prop_cycle"].by_key()["color"])
    assert tuple("#" + color.lstrip("#") for color in cycle) == plots.CLASS_COLORS
    assert plots.class_color(1) == plots.CLASS_COLORS[0]
    assert plots.class_color(11) == plots.CLASS_COLORS[0]


def test_show_puts_pixel_edges_on_whole_numbers():
    ax = plots.show(RGB)
    assert ax.get_xlim() == (0, 60)
    assert ax.get_ylim() == (40, 0)
    # Without interpolation, the first pixel fills 0..1 exactly.
    assert ax.images[0].get_extent() == [0, 60, 40, 0]
    with pytest.raises(CourseError, match=r"shape \(3, 40, 60\)"):
        plots.show(np.zeros((3, 40, 60)))


def test_a_box_around_an_area_encloses_it_to_the_pixel():
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 255
    fig, ax = plt.subplots(figsize=(6, 4), dpi=96, layout="none")
    ax.set_position([0, 0, 1, 1])
    plots.show(image, ax)
    plots.draw_boxes(ax, [[30, 10, 50, 20]])
    frame = ax.patches[0].get_window_extent(fig.canvas.get_renderer())
    shown = pixels(fig)
    inside = (shown.sum(2) > 700).nonzero()
    assert abs(inside[1].min() - frame.x0) < 6  # half the line's width and its dark rim
    assert abs(inside[1].max() - frame.x1) < 6
    assert abs((shown.shape[0] - inside[0].max()) - frame.y0) < 6


@pytest.mark.parametrize("kind", plots.KINDS)
def test_boxes_show_in_their_colour_and_in_the_legend(kind):
    ax = plots.show(np.zeros((40, 60, 3), np.uint8))
    plots.draw_boxes(ax, [[10, 10, 40, 30], [20, 15, 50, 35]], ["cat", "dog"], [0.912, 0.5], kind=kind)
    assert ax.get_legend_handles_labels()[1] == [kind]
    assert [text.get_text() for text in ax.texts] == [f"{plots.KINDS[kind].sign}{t}" for t in ("cat 0.91", "dog 0.50")]
    shown = pixels(ax.figure)
    wanted = np.array(to_rgb(plots.KINDS[kind].color)) * 255
    assert (np.abs(shown - wanted).max(2) < 12).sum() > 100


def test_boxes_take_tensors_and_none_at_all():
    import torch

    ax = plots.show(RGB)
    plots.draw_boxes(ax, torch.zeros((0, 4)), [], torch.zeros(0))
    assert not ax.patches
    plots.draw_boxes(ax, torch.tensor([[1.0, 2, 3, 4]]), scores=torch.tensor([0.25]))
    assert ax.texts[0].get_text() == "0.25"


@pytest.mark.parametrize("box", [[-20, -10, 90, 60], [52, -3, 70, 30], [40, 2, 58, 10], [-9, 30, 10, 60]])
def test_a_box_over_the_border_leaves_the_axes_and_keeps_its_tag_inside(box):
    ax = plots.show(RGB)
    plots.draw_boxes(ax, [box], ["cat"])
    assert ax.get_xlim() == (0, 60)
    assert ax.get_ylim() == (40, 0)
    ax.figure.canvas.draw()
    tag, frame = ax.texts[0].get_window_extent(), ax.get_window_extent()
    assert frame.x0 <= tag.x0 <= tag.x1 <= frame.x1
    assert frame.y0 <= tag.y0 <= tag.y1 <= frame.y1 + 1


def test_wrong_numbers_of_names_and_unknown_kinds_are_told():
    ax = plots.show(RGB)
    with pytest.raises(CourseError, match="2 boxes but 1 names"):
        plots.draw_boxes(ax, [[0, 0, 1, 1]] * 2, ["cat"])
    with pytest.raises(CourseError, match=r"'prediction'.*truth, hit, false alarm"):
        plots.draw_boxes(ax, [[0, 0, 1, 1]], kind="prediction")


def test_masks_tint_their_pixels_only():
    mask = np.zeros((2, 40, 60), bool)
    mask[0, :20, :30] = True
    fig, ax = plt.subplots(figsize=(6, 4), dpi=96, layout="none")
    ax.set_position([0, 0, 1, 1])
    plots.show(np.zeros((40, 60, 3), np.uint8), ax)
    plots.draw_masks(ax, mask, [3, 4])
    shown = pixels(fig)
    red = np.array(to_rgb(plots.class_color(3))) * 255 * 0.45
    assert np.abs(shown[50, 100] - red).max() < 8
    assert shown[300, 450].max() == 0
    assert ax.get_xlim() == (0, 60)
    with pytest.raises(CourseError, match=r"shape \(40, 60\)"):
        plots.draw_masks(ax, mask[0])


def test_skeleton_leaves_out_absent_joints_and_marks_hidden_ones():
    from course_utils.joints import JOINTS, LIMBS

    joints = np.random.default_rng(0).uniform(5, 35, (14, 3))
    joints[:, 2] = 2
    ax = plots.show(RGB)
    plots.draw_skeleton(ax, joints)
    assert len(ax.lines) == len(LIMBS) + len(JOINTS)

    ax = plots.show(RGB)
    joints[JOINTS.index("head_top"), 2] = 0
    joints[JOINTS.index("r_wrist"), 2] = 1
    plots.draw_skeleton(ax, np.stack([joints, joints * [1, 1, 0]]))
    touching = sum("head_top" in limb for limb in LIMBS)
    assert len(ax.lines) == len(LIMBS) - touching + len(JOINTS) - 1
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert sum(line.get_markerfacecolor() == "#111111" for line in dots) == 1
    with pytest.raises(CourseError, match=r"\(\.\.\., 14, 3\)"):
        plots.draw_skeleton(ax, joints[:5])


def test_contact_sheet_draws_what_the_targets_have():
    mask = np.zeros((1, 40, 60), bool)
    mask[0, 5:20, 5:20] = True
    plain = {"labels": np.array([2]), "boxes": np.array([[5, 5, 20, 20]])}
    rich = plain | {"masks": mask, "joints": np.full((1, 14, 3), 2.0)}
    fig = plots.contact_sheet([RGB] * 3, [plain, rich, plain], ["cat", "dog"], columns=2, titles=["a", "b", "c"])
    first, second, third, empty = fig.axes
    assert [text.get_text() for text in first.texts] == ["dog"]
    assert len(first.images) == 1 and len(second.images) == 2
    assert len(second.lines) > 14 and not first.lines
    assert third.get_title(loc="left") == "c"
    assert not empty.images and not empty.axison
    with pytest.raises(CourseError, match="no image"):
        plots.contact_sheet([])


def line_figure():
    fig, ax = plt.subplots()
    ax.plot([0, 1], [0, 1], label="a line")
    ax.legend()
    return fig


def test_pictures_have_alt_text_and_the_smaller_fitting_format():
    photo = plots.picture(plots.show(RGB).figure, "Noise,\n   in colour.")
    bundle, metadata = photo._repr_mimebundle_()
    assert set(bundle) == {"image/jpeg", "text/plain"}
    assert metadata == {"image/jpeg": {"alt": "Noise, in colour."}}
    assert repr(photo) == "[picture] Noise, in colour."
    assert plots.picture(line_figure(), "a line").mime == "image/png"
    assert plots.picture(plots.show(RGB[..., 0]).figure, "a map").mime == "image/png"
    assert not plt.get_fignums()
    with pytest.raises(CourseError, match="alt text"):
        plots.picture(line_figure(), "  ")
    with pytest.raises(CourseError, match="'gif'"):
        plots.picture(line_figure(), "a line", "gif")


@pytest.mark.parametrize("fmt", ["png", "jpeg"])
def test_same_figure_same_bytes_without_date_or_version(fmt):
    first, second = (plots.picture(line_figure(), "a line", fmt).data for _ in range(2))
    assert first == second
    assert b"matplotlib" not in first.lower()
    assert len(first) < 60_000


def test_show_figure_displays_one_picture(capsys):
    plots.show_figure(line_figure(), "A line that rises.")
    assert capsys.readouterr().out == "[picture] A line that rises.\n"


def test_plots_load_without_torch():
    code = "import sys, course_utils.plots; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
