"""Pictures of models: lines along edges, parts at their anchors, springs from the anchor to the part."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from course_utils.dpm.drawing import draw_filter, draw_model, draw_placement, model_pictures
from course_utils.dpm.inference import Placements, part_boxes, root_boxes
from course_utils.dpm.model import Component, Mixture
from course_utils.errors import CourseError
from course_utils.fhog import FeatureLevel, fhog


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def component(parts=2, size=(3, 5), side=4) -> Component:
    rng = np.random.default_rng(0)
    return Component(
        root=rng.normal(size=(*size, 32)).astype(np.float32),
        parts=rng.normal(size=(parts, side, side, 32)).astype(np.float32),
        anchors=np.array([[0, 1], [6, 2], [3, 0]])[:parts],
        deformations=np.array([[0, 0, 0.1, 0.2], [0.4, 0, 0.1, 0.1], [0, 0, 1, 1]], np.float32)[:parts],
    )


@pytest.mark.parametrize(("slope", "angle"), [((1, 0), 0), ((1, 1), 45), ((0, 1), 90), ((-1, 1), 135), ((2, 1), 26.6)])
def test_lines_run_along_the_edges(slope, angle):
    """An edge whose gradient has this angle, dark to bright and the other way round, to the nearest 20 degrees."""
    y, x = np.mgrid[:80, :80] - 39.5
    for sign in (1, -1):
        ramp = np.clip(127.5 + sign * 100 * (slope[0] * x + slope[1] * y), 0, 255).astype(np.uint8)
        picture = draw_filter(fhog(np.repeat(ramp[..., None], 3, axis=2)), size=32)
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        cell = picture[row // 32 * 32 :, column // 32 * 32 :][:32, :32]
        yy, xx = np.mgrid[:32, :32] - 15.5
        # direction of the line: the larger axis of its moments; the gradient is across it
        weight = np.where(cell > 0.9 * cell.max(), cell, 0)
        moments = np.array([[(weight * xx * xx).sum(), (weight * xx * yy).sum()],
                            [(weight * xx * yy).sum(), (weight * yy * yy).sum()]])  # fmt: skip
        across = np.linalg.eigh(moments)[1][:, 0]
        found = np.degrees(np.arctan2(across[1], across[0]))
        assert abs((found - angle + 90) % 180 - 90) <= 10.5


def test_both_signs_and_the_unsigned_channel_share_a_line_and_negative_weights_none():
    for channel in (3, 12, 21):
        weights = np.zeros((2, 2, 32), np.float32)
        weights[1, 0, channel] = 2.0
        picture = draw_filter(weights, size=16)
        assert picture.shape == (32, 32) and picture.dtype == np.float32
        assert picture.max() == pytest.approx(2, rel=0.05) and picture[16:, :16].max() == picture.max()
        assert picture[:16].max() == picture[:, 16:].max() == 0
        assert np.array_equal(picture > 0, draw_filter(np.roll(weights, 9, axis=2), size=16) > 0) or channel == 21
        assert draw_filter(-weights, size=16).max() == 0
    assert draw_filter(np.eye(32, dtype=np.float32)[27:32].reshape(1, 5, 32)).max() == 0  # energies have no direction


def test_parts_stand_at_their_anchors_and_springs_are_bright_where_they_are_dear():
    one = component()
    root, parts, springs = model_pictures(one, size=10)
    assert root.shape == parts.shape == springs.shape == (60, 100)
    assert root.max() == parts.max() == pytest.approx(1, abs=0.3) and root.min() >= 0
    np.testing.assert_array_equal(parts[:10, :], root[:10, :])  # above all parts
    glyphs = draw_filter(one.parts[1], 10)
    brightest = max(draw_filter(part, 10).max() for part in one.parts)
    np.testing.assert_allclose(parts[21:59, 61:99], glyphs[1:-1, 1:-1] / brightest, atol=1e-6)
    first = springs[11:49, 1:39]  # at anchor (0, 1): rows cost twice as much as columns
    assert first[19, 19] < 0.02 and first[0, 19] == pytest.approx(2 * first[19, 0], rel=0.1)
    second = springs[21:59, 61:99]
    assert second[19, 0] < second[19, -1]  # to the right it is dearer: the weight of dx is positive
    assert springs.max() == pytest.approx(1, abs=0.15)


def test_parts_may_reach_over_the_root():
    one = replace(component(), anchors=np.array([[-2, -1], [8, 4]]))
    parts = model_pictures(one, size=10)[1]
    brightest = max(draw_filter(part, 10).max() for part in one.parts)
    np.testing.assert_allclose(parts[:29, :19], draw_filter(one.parts[0], 10)[10:39, 20:39] / brightest, atol=1e-6)
    np.testing.assert_allclose(parts[41:, 81:], draw_filter(one.parts[1], 10)[1:20, 1:20] / brightest, atol=1e-6)


def test_draw_model_makes_three_axes_or_takes_them():
    figure = draw_model(component())
    assert [ax.get_title() or ax.get_title("left") for ax in figure.axes] == ["root", "parts", "cost of displacement"]
    own, axes = plt.subplots(1, 3)
    assert draw_model(component(parts=0), axes) is own
    with pytest.raises(CourseError, match="three axes"):
        draw_model(component(), axes[:2])


def test_a_placement_shows_root_parts_and_springs():
    mixture = Mixture((component(),), 0.0, 1)  # padding 3, 5
    levels = [FeatureLevel(np.zeros((40, 40, 32), np.float32), cell) for cell in [(4.0, 4.0), (8.0, 8.0)]]
    placement = Placements(
        np.zeros(1, int),
        np.ones(1, int),
        np.array([[4, 6]]),
        [np.array([[6, 7], [7, 13]])],
        np.array([0.5], np.float32),
    )
    _, ax = plt.subplots()
    draw_placement(ax, mixture, levels, placement, name="cat")
    frames = [patch for patch in ax.patches if isinstance(patch, Rectangle)]
    boxes = [
        [*patch.get_xy(), patch.get_x() + patch.get_width(), patch.get_y() + patch.get_height()] for patch in frames
    ]
    wanted = [*part_boxes(mixture, levels, placement)[0].tolist(), *root_boxes(mixture, levels, placement).tolist()]
    assert boxes == wanted and any("cat 0.50" in text.get_text() for text in ax.texts)
    lines = [line.get_xydata().tolist() for line in ax.lines]
    # the root is one cell right of and below the picture's corner: anchors at part cells (2, 3) and (8, 4)
    assert lines[0] == [[4 * (2 + 2), 4 * (3 + 2)], [4 * (2 + 2), 4 * (3 + 2)]] and lines[1] == lines[0][:1]
    assert lines[2] == [[4 * (8 + 2), 4 * (4 + 2)], [4 * (8 + 2), 4 * (4 + 2)]]
    _, ax = plt.subplots()
    moved = replace(placement, parts=[np.array([[6, 9], [5, 13]])])
    draw_placement(ax, mixture, levels, moved)
    assert ax.lines[0].get_xydata().tolist() == [[16, 20], [24, 20]] and not ax.texts
    assert ax.lines[2].get_xydata().tolist() == [[40, 24], [40, 16]]
    with pytest.raises(CourseError, match="one placement; got 0"):
        draw_placement(ax, mixture, levels, placement[:0])
