"""Pictures of poses show what they say: the very crops, frames where the boxes are, bars as high as the shares."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from skimage.data import astronaut

from course_utils.joints import JOINTS
from course_utils.pose.drawing import KINDS, close_up, draw_by_kind, draw_crops, with_visibility
from course_utils.pose.geometry import facing
from course_utils.pose.measures import pck
from course_utils.pose.people import People


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def person(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).uniform(50, 200, (14, 2))).float()


def test_crops_stand_beside_the_picture_in_the_colour_of_their_frame():
    image = astronaut()[:256, :256].copy()
    boxes = {"inside": (torch.tensor([40.0, 60, 72, 92]), 32), "beyond": (torch.tensor([-64.0, 0, 64, 128]), 64)}
    fig = draw_crops(image, person(), boxes)
    whole, inside, beyond = fig.axes
    # of the size of its crop a box is cut out pixel by pixel
    shown = np.asarray(inside.images[0].get_array())
    assert np.abs(shown - image[60:92, 40:72] / 255).max() < 1e-3
    half = np.asarray(beyond.images[0].get_array())
    assert np.allclose(half[:, :31], (0.485, 0.456, 0.406), atol=1e-3)  # beyond the picture: the mean colour
    frames = [patch for patch in whole.patches if patch.get_width() in (32, 128)]
    assert [patch.get_xy() for patch in frames] == [(40, 60), (-64, 0)]
    for ax, frame in zip((inside, beyond), frames):
        assert ax.patches[-1].get_edgecolor() == frame.get_edgecolor()
    assert frames[0].get_edgecolor() != frames[1].get_edgecolor()
    assert [ax.get_title() or ax.get_title("left") for ax in fig.axes] == ["found", "inside", "beyond"]


def test_bars_are_shares_of_joints_of_a_kind():
    truth = torch.cat([torch.stack([person(i) for i in range(20)]), torch.full((20, 14, 1), 2.0)], 2)
    poses = {
        "a": truth[..., :2] + 20 * torch.randn(20, 14, 2, generator=torch.Generator().manual_seed(0)),
        "b": truth[..., :2].clone(),
    }
    fig = draw_by_kind(poses, truth)
    heights = np.array([[bar.get_height() for bar in group] for group in fig.axes[0].containers])
    hit = pck(poses["a"], truth)
    both = [JOINTS.index("r_wrist"), JOINTS.index("l_wrist")]
    assert heights[0][KINDS.index("wrist")] == pytest.approx(hit[:, both].mean().item())
    assert heights[0][KINDS.index("neck")] == pytest.approx(hit[:, JOINTS.index("neck")].mean().item())
    assert (heights[1] == 1).all() and heights.shape == (2, 8)


def test_a_close_up_shows_the_person():
    people = People([astronaut()], torch.tensor([[100.0, 100, 200, 300]]), torch.zeros(1, 14, 3))
    _, ax = plt.subplots()
    close_up(ax, people, 0, person(), "she")
    assert ax.get_xlim() == (85, 215) and ax.get_ylim() == (330, 70)
    three = torch.cat([person(), torch.ones(14, 1)], 1)
    assert with_visibility(three) is three and (with_visibility(person())[:, 2] == 2).all()


def test_facing_tells_front_from_behind():
    joints = torch.zeros(2, 14, 2)
    right, left, hip = (JOINTS.index(name) for name in ("r_shoulder", "l_shoulder", "r_hip"))
    joints[0, right], joints[0, left], joints[0, hip] = (torch.tensor(p) for p in ((10.0, 0), (40.0, 0), (10.0, 40)))
    joints[1, right], joints[1, left], joints[1, hip] = (torch.tensor(p) for p in ((40.0, 0), (10.0, 0), (40.0, 40)))
    assert torch.allclose(facing(joints), torch.tensor([0.6, -0.6]))  # a torso of 50 px; her left is at our right
