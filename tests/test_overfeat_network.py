"""The two-headed network and the detector: labels and boxes against loops, dense against crops, a short training."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from torchvision.ops import box_iou

from course_utils.datasets.base import Dataset, make_target
from course_utils.detectors import load_detector
from course_utils.detectors.overfeat import RIM, OverFeat, merge, pyramid_level
from course_utils.errors import CourseError, DataError
from course_utils.networks import open_backbone
from course_utils.overfeat.network import (
    BEYOND,
    TwoHeads,
    batch_losses,
    boxes_of,
    label_windows,
    squares_of,
    training_batch,
    training_crop,
    two_losses,
    windows_of,
)
from course_utils.overfeat.scenes import MovingDuck, four_corners


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    two = TwoHeads(open_backbone(random=True), 4)
    for module in two.trunk:
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return two.eval()


class Squares(Dataset):
    """Red or blue squares on grey: what a detector can learn in seconds."""

    def __init__(self, n, seed):
        super().__init__("squares", f"seed{seed}", ("red", "blue"), [f"{seed}_{i}" for i in range(n)])
        rng = np.random.default_rng(seed)
        self.labels = rng.integers(1, 3, n)
        self.sides = rng.integers(60, 100, n)
        self.corners = rng.integers(5, 55, (n, 2))
        self.noise = rng.integers(90, 150, (n, 160, 160, 3)).astype(np.uint8)

    def image(self, i):
        image, (x, y), side = self.noise[i].copy(), self.corners[i], self.sides[i]
        image[y : y + side, x : x + side] = (220, 20, 20) if self.labels[i] == 1 else (20, 20, 220)
        return image

    def target(self, i):
        (x, y), side = self.corners[i], self.sides[i]
        return make_target([(x, y, x + side, y + side)], [self.labels[i]])


# ---------------------------------------------------------------------------------------------------------- network


def test_dense_run_equals_crops_with_and_without_offsets(network):
    two = network.double()
    x = torch.randn(1, 3, 91 + 32, 91 + 24, dtype=torch.float64)
    try:
        with torch.no_grad():
            for offsets, apart, shape in ((False, 16, (3, 2)), (True, 8, (5, 4))):
                scores, edges = two(x, offsets=offsets)
                assert scores.shape == (1, 4, *shape) and edges.shape == (1, 4, *shape)
                for i, j in np.ndindex(shape):
                    y0, x0 = i * apart, j * apart
                    crop = x[:, :, y0 : y0 + 91, x0 : x0 + 91]
                    one = two(crop)
                    assert (one[0][0, :, 0, 0] - scores[0, :, i, j]).abs().max() < 1e-12
                    assert (one[1][0, :, 0, 0] - edges[0, :, i, j]).abs().max() < 1e-12
    finally:
        network.float()
    assert (two.window, two.stride) == (91, 16)


def test_trunk_is_a_copy_of_the_backbone_without_padding(network):
    backbone = open_backbone(random=True)
    two = TwoHeads(backbone, 3)
    theirs = [p for p in backbone.layers(None, "conv4").parameters()]
    assert all(torch.equal(a, b) and a is not b for a, b in zip(two.trunk.parameters(), theirs, strict=True))
    assert backbone.layers(None, "conv1")[0].padding != (0, 0) and two.trunk[0].padding == (0, 0)


def test_windows_by_hand():
    found = windows_of(2, 3, 16, 91)
    assert found[4].tolist() == [16, 16, 107, 107] and found[2].tolist() == [32, 0, 123, 91] and len(found) == 6


def test_squares():
    assert squares_of(torch.tensor([[10.0, 20, 30, 80]])).tolist() == [[-10, 20, 50, 80]]


def test_labels_against_a_loop_and_boxes_back():
    generator = torch.Generator().manual_seed(1)
    windows = windows_of(6, 6, 16, 91)
    corners = 100 * torch.rand(5, 2, generator=generator)
    boxes = torch.cat([corners, corners + 40 + 60 * torch.rand(5, 2, generator=generator)], 1)
    labels = torch.tensor([1, 2, 3, -1, 2])
    found, edges = label_windows(windows, boxes, labels)
    seen = set()
    for window, label, edge in zip(windows, found.tolist(), edges):
        overlaps = [box_iou(window[None], squares_of(box[None])).item() for box in boxes]
        best = int(np.argmax(overlaps))
        wanted = labels[best].item() if overlaps[best] >= 0.5 else 0 if overlaps[best] < 0.3 else -1
        seen.add(wanted)
        assert label == wanted
        assert torch.allclose(boxes_of(window[None], edge[None])[0], boxes[best], atol=1e-3)
    assert {-1, 0, 1} <= seen
    nothing = label_windows(windows, torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert not nothing[0].any() and nothing[1].shape == (36, 4)


def test_inverted_edges_become_boxes():
    found = boxes_of(torch.tensor([[0.0, 0, 91, 91]]), torch.tensor([[0.5, 0.5, 0.1, 0.6]]))
    assert found[0].tolist() == pytest.approx([45.5, 45.5, 46.5, 54.6], abs=1e-4)


def test_losses_against_a_loop():
    generator = torch.Generator().manual_seed(0)
    scores, edges = torch.randn(40, 4, generator=generator), torch.randn(40, 4, generator=generator)
    labels = torch.tensor([1, 2] + [0] * 30 + [-1] * 8)
    wanted = torch.randn(40, 4, generator=generator)
    found = two_losses(scores, edges, labels, wanted)
    each = [cross_entropy(scores[i][None], labels[i][None]).item() for i in range(32)]
    hard = sorted(each[2:])[-6:]
    assert found["classes"].item() == pytest.approx((np.mean(each[:2]) + np.mean(hard)) / 2, rel=1e-5)
    assert found["boxes"].item() == pytest.approx(10 * ((edges - wanted)[:2] ** 2).mean().item(), rel=1e-5)
    for nothing in (torch.zeros(40, dtype=torch.int64), torch.full((40,), -1)):
        losses = two_losses(scores.requires_grad_(), edges, nothing, wanted)
        assert torch.isfinite(sum(losses.values())) and losses["boxes"].item() == 0


def test_training_crop_keeps_boxes_on_their_objects():
    data, rng = Squares(4, 3), np.random.default_rng(0)
    for turn in range(20):
        image, target = data[turn % 4]
        crop, boxes = training_crop(image, target["boxes"], rng, 91, 155)
        assert crop.shape == (155, 155, 3) and crop.dtype == np.uint8
        red = (np.abs(crop.astype(int) - image[tuple(data.corners[turn % 4][::-1] + 5)]) < 40).all(2)
        ys, xs = np.nonzero(red)
        x1, y1, x2, y2 = boxes[0].clamp(0, 155).tolist()
        assert np.abs(np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) - [x1, y1, x2, y2]).max() < 2.5
        assert 0.69 * 91 < (boxes[0, 2] - boxes[0, 0]) < 1.45 * 91
    empty, none = training_crop(image, torch.zeros(0, 4), rng, 91, 155)
    assert empty.shape == (155, 155, 3) and none.shape == (0, 4)


def test_difficult_objects_are_no_background(network):
    image, target = Squares(1, 0)[0]
    target["difficult"] = torch.tensor([True])
    labels = training_batch([image] * 8, [target] * 8, np.random.default_rng(0), network)[2]
    assert (labels <= 0).all() and (labels == -1).sum() >= 8


def test_batch_losses_pair_windows_with_their_labels(network):
    """Labels made of the network's own answers, in crop and row order, leave next to no loss."""
    data, rng = Squares(3, 0), np.random.default_rng(0)
    crops, colours, labels, _ = training_batch(
        [data.image(i) for i in range(3)], [data.target(i) for i in range(3)], rng, network
    )
    from course_utils.networks.backbone import normalized

    side = crops.shape[-1]
    assert side == 155 and len(labels) == 75
    with torch.no_grad():
        own = torch.stack([
            network((normalized(crops) * colours)[b : b + 1, :, y : y + 91, x : x + 91])[1][0, :, 0, 0]
            for b in range(3) for y in range(0, 65, 16) for x in range(0, 65, 16)
        ])  # fmt: skip
        losses = batch_losses(network, (crops, colours, labels, own))
    assert losses["boxes"].item() < 1e-8 and losses["classes"].item() > 0.1


# --------------------------------------------------------------------------------------------------------- detector


def test_pyramid_level_loses_no_window_and_keeps_places():
    image = np.zeros((100, 130, 3), np.uint8)
    image[40:60, 50:90] = 255
    for scale in (0.5, 0.91, 1.4):
        level, (sx, sy) = pyramid_level(image, scale, 91, 8)
        height, width = level.shape[:2]
        assert (height - 91) % 8 == 0 and (width - 91) % 8 == 0
        assert 0 <= height - round(100 * scale) - 2 * RIM < 8 or height == 91
        ys, xs = np.nonzero(level.min(2) > 200)
        assert (xs.min() - RIM) / sx == pytest.approx(50, abs=1.5) and (ys.max() + 1 - RIM) / sy == pytest.approx(
            60, abs=1.5
        )
        assert tuple(level[0, 0]) == BEYOND


def test_merge_kinds():
    boxes = torch.tensor([[0.0, 0, 40, 40], [4, 0, 44, 40], [100, 100, 140, 140], [0, 0, 40, 40], [0, 0, 0.5, 40]])
    scores = torch.tensor([[0.1, 0.9, 0], [0.2, 0.8, 0], [0.5, 0.5, 0], [0.4, 0, 0.6], [0, 1, 0]])
    greedy, nms, best = (merge(boxes, scores, kind) for kind in ("greedy", "nms", "best"))
    assert greedy["boxes"].tolist() == [[2, 0, 42, 40], [0, 0, 40, 40], [100, 100, 140, 140]]
    assert greedy["scores"].tolist() == pytest.approx([1.7, 0.6, 0.5]) and greedy["labels"].tolist() == [1, 2, 1]
    assert nms["scores"].tolist() == pytest.approx([0.9, 0.6, 0.5]) and nms["labels"].tolist() == [1, 2, 1]
    assert best["scores"].tolist() == pytest.approx([0.9, 0.6]) and best["labels"].tolist() == [1, 2]
    for kind in ("greedy", "nms", "best"):
        nothing = merge(boxes, torch.tensor([[1.0, 0, 0]] * 5), kind)
        assert nothing["boxes"].shape == (0, 4) and nothing["labels"].dtype == torch.int64


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    detector = OverFeat(pretrained=False, epochs=20, windows=[64, 91], resume=False)
    return detector.fit(Squares(64, 0))


def test_it_learns_squares_and_comes_back_from_its_file(trained, tmp_path):
    data, right = Squares(12, 1), 0
    for image, target in data:
        found = trained.detect(image)
        good = len(found["boxes"]) and box_iou(found["boxes"][:1], target["boxes"]).item() >= 0.5
        right += bool(good and found["labels"][0] == target["labels"][0])
    assert right >= 10
    trained.save(tmp_path / "squares.safetensors")
    again = load_detector(tmp_path / "squares.safetensors")
    before, after = trained.detect(data.image(0)), again.detect(data.image(0))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert again.config == trained.config and again.config["windows"] == [64, 91]


def test_small_and_large_pictures(trained):
    for height, width in ((8, 9), (30, 300)):
        found = trained.detect(np.full((height, width, 3), 128, np.uint8))
        assert set(found) == {"boxes", "labels", "scores"}
    assert trained.class_map(np.full((91, 91, 3), 128, np.uint8), "red", 91).shape == (7, 7)


def test_faulty_arguments():
    for wrong in ({"epochs": 0}, {"windows": []}, {"merging": "mean"}):
        with pytest.raises(DataError, match="overfeat wants epochs >= 1"):
            OverFeat(**wrong)
    with pytest.raises(CourseError, match="has learned nothing yet"):
        OverFeat().detect(np.zeros((99, 99, 3), np.uint8))


# ---------------------------------------------------------------------------------------- what the notebook plays with


def test_four_corners_are_windows_in_the_corners():
    picture, windows, boxes, scores = four_corners()
    assert picture.shape == (3, 257, 257) and picture.min() >= 0 and picture.max() <= 1
    assert windows.tolist() == [[0, 0, 221, 221], [36, 0, 257, 221], [0, 36, 221, 257], [36, 36, 257, 257]]
    assert scores.tolist() == pytest.approx([0.5, 0.75, 0.6, 0.8])
    assert (box_iou(boxes, boxes) > 0.6).all()


def test_without_a_duck_there_is_one_error():
    with pytest.raises(DataError, match="no whole duck"):
        MovingDuck(Squares(2, 0))
