"""Pose: frames of boxes, crops, the cascade's steps and what it learns from, PCP and PCK, the system."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import avg_pool2d

from course_utils.datasets.base import Dataset, make_target
from course_utils.detectors import SYSTEMS, load_detector, measure_of
from course_utils.detectors.base import fit_or_recall
from course_utils.errors import CourseError, DataError
from course_utils.joints import JOINTS, LIMBS
from course_utils.networks.backbone import MEAN, STD
from course_utils.pose import cascade
from course_utils.pose.cascade import (
    JOINT_CROP,
    MARGIN,
    PERSON_CROP,
    DeepPose,
    fitted_gaussians,
    holistic_batches,
    holistic_loss,
    refined,
    refinement_batches,
    refinement_loss,
    simulated,
)
from course_utils.pose.evaluation import evaluate, gained, stage_shares
from course_utils.pose.geometry import (
    MIRROR,
    crops,
    denormalize,
    diameter,
    grown,
    joint_boxes,
    joint_sides,
    mirrored,
    normalize,
)
from course_utils.pose.measures import LIMB_KINDS, pck, pcp, right_if_exchanged, shares
from course_utils.pose.people import People

SMALL = {"pretrained": False, "epochs": 2, "refinement_epochs": 1}


class Painted(Dataset):
    """A person per picture, whose joints are squares of 7 x 7 px; red tells the joint, blue grows to the right."""

    def __init__(self, n=12, seed=0, *, joints=True, steady=False):
        super().__init__("painted", str(seed), ("person", "thing"), [str(i) for i in range(n)])
        self.seed, self.with_joints, self.steady = seed, joints, steady

    def _pose(self, i):
        rng = np.random.default_rng([self.seed, i])
        places = np.array([(x, y) for y in range(4) for x in range(4)])
        corner = rng.integers(8, 30, 2)
        if self.steady:  # each joint has its place, and leaves it by up to 4 px
            xy = corner + 13 * places[:14] + rng.integers(-4, 5, (14, 2)) + 0.5
        else:
            xy = corner + 10 * places[rng.permutation(16)[:14]] + 5 + rng.integers(0, 2, (14, 2)) + 0.5
        v = np.full((14, 1), 2)
        v[rng.integers(14)] = 0
        return corner, np.hstack([xy, v])

    def image(self, i):
        image = np.zeros((96, 112, 3), np.uint8)
        image[..., 2] = 2 * np.arange(112)
        for j, (x, y, _) in enumerate(self._pose(i)[1]):
            image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4, 0] = 30 + 15 * j
        return image

    def target(self, i):
        (x, y), joints = self._pose(i)
        both = np.stack([joints, np.zeros((14, 3))])  # a thing has no joints
        boxes = [(x, y, x + 42, y + 42), (0, 0, 20, 20)]
        return make_target(boxes, [1, 2], joints=both if self.with_joints else None)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STORE", str(tmp_path / "store"))


def random_people(n=40, seed=0):
    """True joints (n, 14, 3), some absent, and joints as found (n, 14, 2)."""
    rng = np.random.default_rng(seed)
    joints = np.concatenate([rng.uniform(0, 100, (n, 14, 2)), rng.integers(0, 3, (n, 14, 1))], 2)
    found = joints[..., :2] + rng.normal(0, 15, (n, 14, 2))
    return torch.from_numpy(joints).float(), torch.from_numpy(found).float()


# ------------------------------------------------------------------------------------------------- frames of boxes

number = st.floats(-500, 500, allow_nan=False)


@given(number, number, st.floats(0.5, 400), st.floats(0.5, 400), number, number)
def test_there_and_back(x1, y1, width, height, x, y):
    box = torch.tensor([x1, y1, x1 + width, y1 + height], dtype=torch.float64)
    point = torch.tensor([x, y], dtype=torch.float64)
    there = normalize(point, box)
    assert torch.allclose(there, torch.tensor([(x - x1) / width - 0.5, (y - y1) / height - 0.5]).double(), atol=1e-9)
    assert torch.allclose(denormalize(there, box), point, atol=1e-9)


def test_frames_broadcast_over_joints():
    joints, boxes = torch.rand(3, 14, 2), torch.tensor([[0.0, 0, 2, 4], [1, 1, 2, 2], [-3, 0, 3, 1]])
    one_by_one = torch.stack([normalize(j, b) for j, b in zip(joints, boxes)])
    assert torch.equal(normalize(joints, boxes[:, None]), one_by_one)


def test_grown_keeps_the_centre():
    assert grown(torch.tensor([[10.0, 20, 30, 60]]), 1.5).tolist() == [[5, 10, 35, 70]]


def test_mirror_exchanges_right_and_left_by_name():
    other = {"r": "l", "l": "r"}
    for here, there in enumerate(MIRROR):
        name = JOINTS[here]
        assert JOINTS[there] == (other[name[0]] + name[1:] if name[1] == "_" else name)
    pose = torch.rand(5, 14, 2) - 0.5
    assert torch.equal(mirrored(mirrored(pose)), pose)
    assert torch.equal(mirrored(pose)[:, 0], pose[:, 5] * torch.tensor([-1, 1]))  # r_ankle comes from l_ankle


def test_squares_about_joints():
    joints = torch.zeros(2, 14, 2)
    joints[:, JOINTS.index("l_shoulder")] = torch.tensor([[30.0, 40], [3, 4]])
    assert diameter(joints).tolist() == [50, 5]
    sides = joint_sides(joints, 2.0, torch.tensor([12.0, 12.0]))
    assert sides.tolist() == [100, 12]  # the second one would be 10
    boxes = joint_boxes(joints, sides)
    assert boxes[0, JOINTS.index("l_shoulder")].tolist() == [-20, -10, 80, 90] and boxes[1, 0].tolist() == [
        -6,
        -6,
        6,
        6,
    ]


# ------------------------------------------------------------------------------------------------------------ crops


def test_a_crop_at_its_own_size_is_the_part_of_the_picture():
    picture = torch.rand(3, 60, 70)
    found = crops(picture, torch.tensor([[10.0, 5, 58, 53], [22, 12, 70, 60]]), 48)
    assert torch.allclose(found[0], picture[:, 5:53, 10:58], atol=1e-6)
    assert torch.allclose(found[1], picture[:, 12:60, 22:70], atol=1e-6)


def test_a_large_box_is_averaged():
    picture = torch.rand(3, 96, 96)
    found = crops(picture, torch.tensor([[0.0, 0, 96, 96]]), 24)
    assert torch.allclose(found[0], avg_pool2d(picture, 4), atol=1e-5)


@settings(max_examples=20)
@given(st.integers(-30, 40), st.integers(-30, 40), st.integers(0, 2**31))
def test_beyond_the_picture_there_are_zeros(x, y, seed):
    picture = np.random.default_rng(seed).uniform(1, 2, (1, 30, 25)).astype(np.float32)
    found = crops(torch.from_numpy(picture), torch.tensor([[x, y, x + 16, y + 16]]).float(), 16)[0]
    around = np.pad(np.pad(picture, ((0, 0), (1, 1), (1, 1)), mode="edge"), ((0, 0), (60, 60), (60, 60)))
    assert np.allclose(found, around[:, y + 61 : y + 77, x + 61 : x + 77], atol=1e-5)  # the border's pixels twice


# --------------------------------------------------------------------------------------------------- the cascade's


class Says(nn.Module):
    """Answers with what a function makes of the crops."""

    def __init__(self, answer):
        super().__init__()
        self.weight, self.answer = nn.Parameter(torch.zeros(1)), answer

    def forward(self, x):
        return self.answer(x)


def test_each_joint_takes_its_own_answer_in_its_own_sides():
    own = torch.stack([torch.arange(14) / 100, -torch.arange(14) / 50], 1)  # (14, 2)
    joints, sides = 20 + 60 * torch.rand(2, 14, 2), torch.tensor([10.0, 30.0])
    found = refined(Says(lambda x: own.expand(len(x), 14, 2)), torch.zeros(3, 100, 100), joints, sides)
    assert torch.allclose(found, joints + sides[:, None, None] * own, atol=1e-4)


def test_each_joint_is_looked_at_in_its_own_crop():
    picture = torch.arange(200.0).expand(3, 200, 200) + 0.5  # each pixel says its x
    joints, sides = 50 + 100 * torch.rand(2, 14, 2), torch.tensor([20.0, 40.0])
    network = Says(lambda x: x.mean((1, 2, 3))[:, None, None].expand(-1, 14, 2) / 1000)
    found = refined(network, picture, joints, sides)
    assert torch.allclose(found, joints + sides[:, None, None] * joints[..., :1] / 1000, atol=1e-3)


def test_gaussians_of_known_errors():
    joints, found = random_people(200)
    errors = found - joints[..., :2]
    mean, factor = fitted_gaussians(errors, joints)
    for i in range(14):
        own = errors[joints[:, i, 2] > 0, i].numpy()
        assert np.allclose(mean[i], own.mean(0), atol=1e-4)
        assert np.allclose(factor[i] @ factor[i].T, np.cov(own.T), rtol=1e-4, atol=1e-3)
    joints[2:, 3, 2] = 0
    with pytest.raises(DataError, match="known l_hip"):
        fitted_gaussians(errors, joints)


def test_simulated_errors_have_the_gaussian_s_moments_in_sides():
    generator = torch.Generator().manual_seed(0)
    factor = torch.tril(torch.rand(14, 2, 2, generator=generator) + 0.1)
    mean, sides = torch.rand(14, 2, generator=generator), torch.full((20000,), 8.0)
    noise = torch.randn(20000, 14, 2, generator=generator)
    found = simulated(torch.full((20000, 14, 2), 50.0), sides, mean, factor, noise)
    for i in range(14):
        errors = ((found[:, i] - 50) / 8).numpy()
        assert np.allclose(errors.mean(0), mean[i], atol=0.05)
        assert np.allclose(np.cov(errors.T), factor[i] @ factor[i].T, atol=0.07)


def red_at(crop, point):
    """The joint whose colour stands at a point of a normalized crop's frame."""
    size = crop.shape[-1]
    x, y = ((point + 0.5) * size).long().clamp(0, size - 1).tolist()
    return (crop[0, y, x].item() * STD[0] + MEAN[0]) * 255 / 15 - 2


def is_turned(crop):
    """Whether blue falls from left to right, in the middle, where there is no padding."""
    row = crop[2, crop.shape[-1] // 2]
    middle = len(row) // 2
    return bool(row[middle - 4] > row[middle + 4])


@pytest.fixture
def same_colours(monkeypatch):
    monkeypatch.setattr(cascade, "other_colours", lambda x, rng: x)


def test_the_first_stage_learns_from_joints_that_stand_where_it_is_told(same_colours):
    people = People.of(Painted(24))
    batches, steps = holistic_batches(people, 10)
    found = list(batches(np.random.default_rng(0)))
    assert len(found) == steps == 3 and [len(x) for x, _, _ in found] == [10, 10, 4]
    turns = []
    for x, y, known in found:
        assert x.shape[1:] == (3, PERSON_CROP, PERSON_CROP) and (~known).sum() == len(x)
        for crop, points, here in zip(x, y, known):
            turns.append(is_turned(crop))
            for joint in here.nonzero()[:, 0].tolist():
                assert red_at(crop, points[joint]) == pytest.approx(MIRROR[joint] if turns[-1] else joint, abs=0.3)
    assert 0 < sum(turns) < len(turns)


def test_a_further_stage_learns_from_crops_around_what_might_have_been_found(same_colours):
    people = People.of(Painted(24))
    sides = torch.full((24,), 40.0)
    mean, factor = torch.full((14, 2), 0.05), 0.05 * torch.eye(2).expand(14, 2, 2)
    batches, steps = refinement_batches(people, sides, mean, factor, 10)
    found = list(batches(np.random.default_rng(0)))
    assert len(found) == steps == 3 and sum(len(x) for x, _, _ in found) == 24 * 13
    turns, moves = [], []
    for x, joint, y in found:
        assert x.shape[1:] == (3, JOINT_CROP, JOINT_CROP)
        for crop, j, point in zip(x, joint.tolist(), y):
            turns.append(is_turned(crop))
            assert red_at(crop, point) == pytest.approx(MIRROR[j] if turns[-1] else j, abs=0.3)
            moves.append(point * torch.tensor([-1.0 if turns[-1] else 1.0, 1.0]))
    assert 0 < sum(turns) < len(turns)
    # from where it was found back to the truth: minus the errors
    assert torch.allclose(torch.stack(moves).mean(0), torch.tensor([-0.05, -0.05]), atol=0.02)
    assert torch.allclose(torch.stack(moves).std(0), torch.tensor([0.05, 0.05]), atol=0.015)


def test_the_first_stage_begins_with_the_mean_pose():
    people = People.of(Painted(9, steady=True))
    pose = cascade.mean_pose(people)
    for joint in range(14):
        own = [
            normalize(j[joint, :2], grown(b, MARGIN)) for j, b in zip(people.joints, people.boxes) if j[joint, 2] > 0
        ]
        assert torch.allclose(pose[joint], torch.stack(own).mean(0), atol=1e-5)
    network = cascade.pose_network(PERSON_CROP, False, [0]).train()
    cascade.begin_with(network, pose)
    with torch.no_grad():
        torch.manual_seed(0)
        answers = network(torch.randn(16, 3, PERSON_CROP, PERSON_CROP))
    assert torch.allclose(answers, pose.expand(16, 14, 2), atol=0.5)


def test_losses_by_hand():
    answers = torch.rand(4, 14, 2)
    y, known = torch.rand(4, 14, 2), torch.rand(4, 14) < 0.7
    by_hand = sum(((answers[i, j] - y[i, j]) ** 2).sum() for i in range(4) for j in range(14) if known[i, j]) / 4
    assert torch.isclose(holistic_loss(lambda x: answers, (torch.zeros(4), y, known)), by_hand)
    joint = torch.tensor([3, 0, 13, 3])
    by_hand = sum(((answers[i, joint[i]] - y[i, 0]) ** 2).sum() for i in range(4)) / 4
    assert torch.isclose(refinement_loss(lambda x: answers, (torch.zeros(4), joint, y[:, 0])), by_hand)


# --------------------------------------------------------------------------------------------------------- measures


def test_pcp_equals_a_loop():
    joints, found = random_people()
    limbs = [limb for kind in LIMB_KINDS.values() for limb in kind]
    assert len(limbs) == 11 and {frozenset(limb) for limb in limbs} <= {frozenset(limb) for limb in LIMBS}
    for threshold in (0.3, 0.5):
        got = pcp(found, joints, threshold).numpy()
        for n in range(len(joints)):
            for k, (a, b) in enumerate((JOINTS.index(a), JOINTS.index(b)) for a, b in limbs):
                if joints[n, a, 2] == 0 or joints[n, b, 2] == 0:
                    assert np.isnan(got[n, k])
                    continue
                length = np.hypot(*(joints[n, a, :2] - joints[n, b, :2]).numpy())
                off = [np.hypot(*(found[n, e] - joints[n, e, :2]).numpy()) for e in (a, b)]
                assert got[n, k] == (max(off) <= threshold * length)


def test_pck_equals_a_loop():
    joints, found = random_people()
    got = pck(found, joints, 0.3).numpy()
    shoulder, hip = JOINTS.index("l_shoulder"), JOINTS.index("r_hip")
    for n, person in enumerate(joints.numpy()):
        unknown = person[shoulder, 2] == 0 or person[hip, 2] == 0
        for i in range(14):
            if unknown or person[i, 2] == 0:
                assert np.isnan(got[n, i])
            else:
                reach = 0.3 * np.hypot(*(person[shoulder, :2] - person[hip, :2]))
                assert got[n, i] == (np.hypot(*(found[n, i].numpy() - person[i, :2])) <= reach)


def test_intervals_are_those_of_a_proportion():
    hits = (torch.rand(400, 1, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    one = shares(hits, n=4000)
    p = hits.mean().item()
    half = 1.96 * (p * (1 - p) / 400) ** 0.5
    assert one.mean == pytest.approx(p) and (one.high - one.low) / 2 == pytest.approx(half, rel=0.08)
    assert one.low < p < one.high


def test_what_belongs_to_a_person_is_drawn_together():
    hits = (torch.rand(60, 1) < 0.5).float()
    assert shares(hits) == shares(hits.expand(60, 11))
    holes = torch.cat([hits, torch.full_like(hits, torch.nan)], 1)
    assert shares(hits) == shares(holes)
    assert np.isnan(shares(torch.full((5, 2), torch.nan)).mean)
    assert shares(torch.ones(7, 3)).low == 1


def test_shares_by_kind_of_limb():
    joints, found = random_people()
    got, limbs = stage_shares(found, joints), pcp(found, joints)
    assert got["head"].mean == pytest.approx(limbs[:, 0].nanmean().item())
    assert got["forearms"].mean == pytest.approx(limbs[:, 9:].nanmean().item())
    assert got["PCP"].mean == pytest.approx(limbs.nanmean().item())


def test_who_looks_like_the_other_side():
    joints, found = random_people(30)
    joints[..., 2] = 2
    half = joints[:, MIRROR, :2].clone()
    half[15:] = found[15:]  # the first half has all sides exchanged, the rest is noise
    got = right_if_exchanged(half, joints)
    wrong = pck(half, joints) == 0
    for j, name in enumerate(JOINTS):
        if name[1] != "_":
            assert got[:, j].isnan().all()
            continue
        assert torch.equal(got[:, j].isnan(), ~wrong[:, j]) and (got[:15, j][wrong[:15, j]] == 1).all()
        other = JOINTS.index({"r": "l", "l": "r"}[name[0]] + name[1:])
        for i in range(15, 30):
            if wrong[i, j]:
                near = (half[i, other] - joints[i, j, :2]).norm() <= 0.2 * diameter(joints[i])
                assert got[i, j] == float(near)


def test_what_is_gained_is_the_difference_and_its_interval_is_paired():
    joints, found = random_people()
    before = found + 3 * torch.randn(found.shape, generator=torch.Generator().manual_seed(0))
    got = gained(found, before, joints)
    for name, hits in (("PCP", pcp), ("PCK", pck)):
        after, then = hits(found, joints), hits(before, joints)
        assert got[name].mean == pytest.approx((after.nanmean() - then.nanmean()).item(), abs=1e-6)
        # one person after another by hand, the same persons for both
        rng = np.random.default_rng(1)
        draws = [rng.integers(len(found), size=len(found)) for _ in range(2000)]
        by_hand = np.quantile([(after[i].nanmean() - then[i].nanmean()).item() for i in draws], (0.025, 0.975))
        width = by_hand[1] - by_hand[0]
        assert np.allclose((got[name].low, got[name].high), by_hand, atol=0.1 * width)
    same = gained(found, found, joints)["PCP"]
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    assert gained(before, found, joints)["PCK"].mean == -got["PCK"].mean


# ------------------------------------------------------------------------------------------------------- the system


def test_people_are_the_objects_with_joints():
    dataset = Painted(3)
    people = People.of(dataset)
    assert len(people) == 3 and torch.equal(people.boxes[1], dataset.target(1)["boxes"][0])
    some = people[torch.tensor([2, 0])]
    assert torch.equal(some.joints, people.joints[[2, 0]]) and np.array_equal(some.pictures[0], dataset.image(2))
    assert len(people[:2]) == 2
    with pytest.raises(DataError, match="no persons with joints"):
        People.of(Painted(2, joints=False))


def test_fit_save_load_and_the_stages_of_the_cascade(tmp_path):
    dataset = Painted(12)
    pose = DeepPose(**SMALL, resume=False).fit(dataset)
    image, boxes = dataset.image(0), dataset.target(0)["boxes"]
    stages = pose.trace(image, boxes)
    assert stages.shape == (3, 2, 14, 2) and stages.dtype == torch.float32 and torch.isfinite(stages).all()
    assert torch.equal(pose.locate(image, boxes), stages[2])
    # each stage is one step from the one before
    picture = cascade.normalized_picture(image)
    first = grown(boxes, MARGIN)
    with torch.no_grad():
        by_hand = denormalize(pose.networks[0](crops(picture, first, PERSON_CROP)), first[:, None])
        assert torch.allclose(stages[0], by_hand, atol=1e-3)
        sides = joint_sides(stages[1], pose.sigma, 0.15 * (boxes[:, 2:] - boxes[:, :2]).amax(1))
        assert torch.allclose(refined(pose.networks[2], picture, stages[1], sides), stages[2], atol=1e-3)
    pose.save(tmp_path / "pose.safetensors")
    again = DeepPose.load(tmp_path / "pose.safetensors")
    assert again.config == pose.config and torch.equal(again.trace(image, boxes), stages)
    assert isinstance(load_detector(tmp_path / "pose.safetensors"), DeepPose)
    assert SYSTEMS["pose"].task == "pose" and measure_of("pose") is evaluate


def test_same_seed_same_result_with_and_without_the_store():
    dataset = Painted(8)
    kept = DeepPose(**SMALL, stages=2, seed=3).fit(dataset)
    again = DeepPose(**SMALL, stages=2, seed=3).fit(dataset)  # from the store
    anew = DeepPose(**SMALL, stages=2, seed=3, resume=False).fit(dataset)
    other = DeepPose(**SMALL, stages=2, seed=4, resume=False).fit(dataset)
    for name, value in kept.parameters.items():
        assert torch.equal(value, again.parameters[name]) and torch.equal(value, anew.parameters[name])
    assert not torch.equal(kept.parameters["stage1.2.weight"], other.parameters["stage1.2.weight"])


def test_a_cascade_learns_to_find_painted_joints():
    dataset = Painted(48, steady=True)
    pose = DeepPose(pretrained=False, stages=2, sigma=0.8, epochs=4, refinement_epochs=12, resume=False).fit(dataset)
    people = People.of(Painted(16, seed=1, steady=True))
    stages = torch.cat([pose.trace(p, b[None]) for p, b in zip(people.pictures, people.boxes)], 1)
    off = (stages - people.joints[..., :2]).norm(dim=-1)[:, people.joints[..., 2] > 0].mean(1)
    assert off[1] < 0.75 * off[0]


def test_results_are_measured_once_and_say_what_they_are():
    pose = fit_or_recall(DeepPose(**SMALL, stages=2), Painted(8))
    poses = evaluate(pose, Painted(5, seed=1), command="by hand")
    again = evaluate(pose, Painted(5, seed=1))
    assert torch.equal(poses.found, again.found) and again.info["command"] == "by hand"
    assert poses.found.shape == (2, 5, 14, 2) and poses.metrics["n_persons"] == 5
    assert poses.metrics["stage 2"]["PCP"] == [getattr(poses.stages[1]["PCP"], k) for k in ("mean", "low", "high")]
    by_stage = gained(poses.found[1], poses.found[0], poses.joints)
    assert poses.metrics["stage 2 less stage 1"]["PCK"] == [
        getattr(by_stage["PCK"], k) for k in ("mean", "low", "high")
    ]
    assert "5 persons" in str(poses) and "stage 2 less stage 1: PCP" in str(poses) and "Beware" not in str(poses)
    assert "Beware" in str(evaluate(pose, Painted(8)))


def test_wrong_use_is_told():
    with pytest.raises(DataError, match="pose wants stages"):
        DeepPose(stages=0)
    with pytest.raises(CourseError, match="learned nothing yet"):
        DeepPose().locate(np.zeros((9, 9, 3), np.uint8), torch.tensor([[0.0, 0, 5, 5]]))
    pose = DeepPose(**SMALL, stages=1, resume=False).fit(Painted(4))
    image = np.zeros((9, 9, 3), np.uint8)
    assert pose.locate(image, torch.zeros(0, 4)).shape == (0, 14, 2)
    for boxes in ([[0.0, 0, 5]], [[5.0, 0, 5, 5]], [[0.0, 0, float("nan"), 5]], [[0.0, 0, float("inf"), 5]]):
        with pytest.raises(DataError, match="locate"):
            pose.locate(image, torch.tensor(boxes))
    with pytest.raises(DataError, match="uint8"):
        pose.locate(image.astype(float), torch.tensor([[0.0, 0, 5, 5]]))
