"""Localization as regression: views with one object, unit boxes, heads, losses, solved heads, right and wrong."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torchvision.ops import box_iou, generalized_box_iou_loss

from course_utils.datasets import open_dataset, splits
from course_utils.datasets.base import Dataset, make_target
from course_utils.datasets.single import CLOSEUP, Closeups, LargestObject
from course_utils.errors import CourseError, DataError
from course_utils.localization import (
    LOSSES,
    BoxHead,
    Examples,
    Localizer,
    box_of_class,
    closed_form,
    examples,
    judge,
    mirrored_boxes,
    pooled,
    pooled_features,
    proper,
    to_pixels,
    to_unit,
    two_cats,
    varied,
)
from course_utils.networks import open_backbone
from course_utils.training import sgd, train


class Rectangles(Dataset):
    """Coloured rectangles on grey, several per picture; of some the largest is difficult; the last has none."""

    def __init__(self, n: int = 12, most: int = 3, seed: int = 0, size: tuple[int, int] = (96, 128)) -> None:
        super().__init__("rectangles", "all", ("red", "green"), [f"{seed}_{i}" for i in range(n)])
        rng = np.random.default_rng(seed)
        height, width = size
        self.images, self.targets = [], []
        for i in range(n):
            image = np.full((height, width, 3), 90, np.uint8)
            boxes, labels, difficult = [], [], []
            for k in range(int(rng.integers(1, most + 1)) if i < n - 1 else 0):
                w, h = rng.integers(12, 60, 2)
                x, y = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
                label = int(rng.integers(1, 3))
                image[y : y + h, x : x + w, label - 1] = 220
                boxes.append((x, y, x + w, y + h))
                labels.append(label)
                difficult.append(bool(k == 0 and i % 4 == 3))
            self.images.append(image)
            self.targets.append(make_target(boxes, labels, difficult=difficult))

    def image(self, i):
        return self.images[i]

    def target(self, i):
        return self.targets[i]


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def random_boxes(rng, n, low=0.0, high=1.0):
    corners = np.sort(rng.uniform(low, high, (n, 2, 2)), axis=1)
    corners[:, 1] += 0.01 * (high - low)
    return torch.from_numpy(corners.reshape(n, 4)).float()


# --------------------------------------------------------------------------------------------------- one object


def test_the_largest_object_that_is_not_difficult():
    whole = Rectangles(40)
    one = LargestObject(whole)
    kept = iter(range(len(one)))
    for i in range(len(whole)):
        sure = [b for b, d in zip(whole.target(i)["boxes"].tolist(), whole.target(i)["difficult"]) if not d]
        if not sure:
            assert whole.ids[i] not in one.ids
            continue
        k = next(kept)
        (x1, y1, x2, y2) = max(sure, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]))
        assert one.ids[k] == whole.ids[i]
        assert one.target(k)["boxes"].tolist() == [[x1, y1, x2, y2]]
        assert np.array_equal(one.image(k), whole.image(i))
        assert one.size(k) == whole.size(i)
    assert 0 < len(one) < len(whole)
    assert next(kept, None) is None


def test_without_any_object_one_clear_error():
    with pytest.raises(DataError, match="nothing to localize"):
        LargestObject(Rectangles(1))


def test_the_same_picture_is_known_again_in_the_view():
    whole = Rectangles(12)
    assert set(LargestObject(whole).image_hashes) <= set(whole.image_hashes)
    assert LargestObject(whole).digest != whole.digest


def test_closeups_hold_their_object_whole():
    whole = LargestObject(Rectangles(40, size=(128, 100)))
    near = Closeups(Rectangles(40, size=(128, 100)))
    for k in range(len(near)):
        image, box = near.image(k), near.target(k)["boxes"][0]
        side = image.shape[0]
        assert image.shape == (side, side, 3)
        assert near.size(k) == (side, side)
        x1, y1, x2, y2 = box.int().tolist()
        assert x1 >= 0
        assert y1 >= 0
        assert max(x2, y2) <= side
        a1, b1, a2, b2 = whole.target(k)["boxes"][0].int().tolist()
        assert np.array_equal(image[y1:y2, x1:x2], whole.image(k)[b1:b2, a1:a2])
        longer = max(x2 - x1, y2 - y1) / side
        assert longer <= 1
        assert longer >= CLOSEUP[0] - 0.02 or side == 100
    shifts = [near.target(k)["boxes"][0, 0].item() for k in range(len(near))]
    assert len(set(shifts)) > 5
    assert np.array_equal(near.image(3), Closeups(Rectangles(40, size=(128, 100))).image(3))


def test_closeups_have_a_name_and_toyvoc_s_splits():
    assert splits("toyvoc-closeups") == splits("toyvoc")
    assert splits("toyvoc-small-closeups") == ("train", "test")


# ---------------------------------------------------------------------------------------------------- unit boxes


def test_unit_coordinates_by_hand_and_back(rng):
    box = torch.tensor([[0.0, 30.0, 200.0, 90.0]])
    assert to_unit(box, torch.tensor([120, 400])).tolist() == [[0.0, 0.25, 0.5, 0.75]]
    sizes = torch.from_numpy(rng.integers(50, 500, (20, 2)))
    boxes = random_boxes(rng, 20) * 50
    assert torch.allclose(to_pixels(to_unit(boxes, sizes), sizes), boxes, atol=1e-4)
    one_by_one = torch.cat([to_unit(b[None], s) for b, s in zip(boxes, sizes)])
    assert torch.equal(to_unit(boxes, sizes), one_by_one)


def test_proper_boxes_have_area_and_stay_inside(rng):
    raw = torch.from_numpy(rng.normal(0.5, 1, (500, 4))).float()
    boxes = proper(raw)
    assert (boxes[:, 2:] - boxes[:, :2] > 0.009).all()
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    good = random_boxes(rng, 50, 0.02, 0.95)
    assert torch.allclose(proper(good), good)
    assert torch.allclose(proper(good[:, [2, 3, 0, 1]]), good)


def test_mirrored_examples(rng):
    pixels = torch.from_numpy(rng.integers(0, 255, (3, 3, 20, 20)).astype(np.uint8))
    data = Examples(pixels, random_boxes(rng, 3), torch.tensor([1, 2, 1]))
    turned = data.mirrored()
    assert torch.equal(turned.pixels[..., 0], pixels[..., 19])
    again = turned.mirrored()
    assert torch.allclose(again.boxes, data.boxes, atol=1e-6)
    assert (turned.boxes[:, 2] > turned.boxes[:, 0]).all()
    assert torch.allclose(turned.boxes[:, 0], 1 - data.boxes[:, 2])


def test_varied_pictures_carry_their_boxes_along(rng):
    pixels, boxes = torch.zeros(60, 3, 64, 64, dtype=torch.uint8), []
    for picture in pixels:
        w, h = rng.integers(10, 40, 2)
        x, y = int(rng.integers(0, 64 - w + 1)), int(rng.integers(0, 64 - h + 1))
        picture[:, y : y + h, x : x + w] = 255
        boxes.append((x / 64, y / 64, (x + w) / 64, (y + h) / 64))
    boxes = torch.tensor(boxes)
    seen, moved = varied(pixels, boxes, rng)
    assert not torch.allclose(moved, boxes)
    middle = (seen.amax((1, 2, 3)) + seen.amin((1, 2, 3))) / 2
    for picture, box, between in zip(seen, moved, middle):
        rows, columns = (picture[0] > between).nonzero(as_tuple=True)
        found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (found - 64 * box).abs().max() <= 1.5
    both = torch.stack((mirrored_boxes(moved), moved))
    assert both.min() >= 0


def test_examples_are_squeezed_with_their_boxes():
    data = Rectangles(12)
    found = examples(data, 32)
    one = LargestObject(data)
    assert found.pixels.shape == (len(one), 3, 32, 32)
    height, width = one.size(2)
    assert torch.allclose(found.boxes[2] * torch.tensor([width, height] * 2), one.target(2)["boxes"][0])
    assert found.labels[2] == one.target(2)["labels"][0]


# ---------------------------------------------------------------------------------------------- heads and losses


def test_a_head_begins_with_the_middle_of_the_picture():
    x = torch.randn(5, 8, 4, 4)
    assert torch.allclose(BoxHead(128)(x), torch.tensor([0.25, 0.25, 0.75, 0.75]), atol=0.1)
    assert BoxHead(128, classes=7, hidden=9).eval()(x).shape == (5, 7, 4)


def test_the_box_of_a_class_and_who_gets_a_gradient(rng):
    boxes = torch.from_numpy(rng.random((6, 5, 4))).requires_grad_()
    labels = torch.from_numpy(rng.integers(1, 6, 6))
    picked = box_of_class(boxes, labels)
    assert torch.equal(picked, torch.stack([boxes[i, k - 1] for i, k in enumerate(labels)]))
    picked.sum().backward()
    others = torch.ones(6, 5).scatter(1, labels[:, None] - 1, 0).bool()
    assert (boxes.grad[others] == 0).all()
    assert (boxes.grad[~others] == 1).all()
    flat = torch.zeros(6, 4)
    assert box_of_class(flat, labels) is flat


def test_losses_by_hand(rng):
    a, b = random_boxes(rng, 30), random_boxes(rng, 30)
    assert LOSSES["l2"](a, b).item() == pytest.approx(((a - b) ** 2).sum().item() / 30, rel=1e-5)
    d = (a - b).abs().double()
    by_hand = torch.where(d < 0.1, d**2 / 0.2, d - 0.05).sum(1).mean()
    assert LOSSES["smooth_l1"](a, b).item() == pytest.approx(by_hand.item(), rel=1e-5)
    iou = box_iou(a, b).diagonal()
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    area = [(c[:, 2:] - c[:, :2]).prod(1) for c in (a, b)]
    union = (area[0] + area[1]) / (1 + iou)
    assert LOSSES["giou"](a, b).item() == pytest.approx((1 - iou + (hull - union) / hull).mean().item(), rel=1e-4)
    swapped = a[:, [2, 3, 0, 1]]
    assert LOSSES["giou"](swapped, b).item() == pytest.approx(
        generalized_box_iou_loss(a, b, reduction="mean").item(), rel=1e-5
    )


def test_a_linear_head_trained_by_gradient_descent_is_ridge_regression(rng):
    x = torch.from_numpy(rng.normal(size=(60, 9))).float()
    y = random_boxes(rng, 60)
    head, decay = nn.Linear(9, 4), 0.1
    train(
        head, lambda _: [(x, y)], lambda h, batch: LOSSES["l2"](h(batch[0]), batch[1]), steps=1, epochs=400,
        optimizer=sgd(0.02, weight_decay=decay), what="head",
    )  # fmt: skip
    exact = Ridge(alpha=decay * 60 / 2).fit(x, y)
    assert np.allclose(head.weight.detach(), exact.coef_, atol=1e-4)
    assert np.allclose(head.bias.detach(), exact.intercept_, atol=1e-4)


def test_class_specific_least_squares_is_one_regression_per_class(rng):
    x = torch.from_numpy(rng.normal(size=(90, 6))).float()
    y, labels = random_boxes(rng, 90), torch.from_numpy(rng.integers(1, 4, 90))
    head = BoxHead(6, classes=3)
    train(
        head, lambda _: [(x, y, labels)],
        lambda h, batch: LOSSES["l2"](box_of_class(h(batch[0]), batch[2]), batch[1]), steps=1, epochs=400,
        optimizer=sgd(0.2, weight_decay=0), what="head",
    )  # fmt: skip
    for k in range(3):
        own = labels == k + 1
        ones = torch.cat((x[own], torch.ones(int(own.sum()), 1)), 1)
        exact = np.linalg.lstsq(ones.numpy(), y[own].numpy(), rcond=None)[0]
        weight = head.layers[-1].weight.detach()[4 * k : 4 * k + 4]
        assert np.allclose(weight, exact[:-1].T, atol=2e-3)


def test_closed_form_equals_a_line_where_there_is_one(rng):
    x = torch.from_numpy(rng.normal(3, [1, 5, 0.2], (200, 3))).float()
    w, b = torch.from_numpy(rng.normal(size=(4, 3))).float(), torch.arange(4.0)
    weight, bias = closed_form(x, x @ w.T + b)
    predicted = x @ weight.T + bias
    assert ((predicted - x @ w.T - b).std(0) < 0.05 * (x @ w.T).std(0)).all()
    assert torch.allclose(predicted.mean(0), (x @ w.T + b).mean(0), atol=1e-3)


# -------------------------------------------------------------------------------------------- heads on a network


@pytest.fixture(scope="module")
def backbone():
    return open_backbone(random=True)


def test_features_stage_by_stage_are_the_network_s(backbone, rng):
    pixels = torch.from_numpy(rng.integers(0, 255, (3, 3, 128, 128)).astype(np.uint8))
    names = ["conv2", "conv5", "fc7"]
    found = pooled_features(backbone, pixels, names)
    from course_utils.networks.backbone import normalized

    with torch.no_grad():
        for name in names:
            at = backbone.features(normalized(pixels), name)
            assert torch.allclose(found[name], pooled(at), atol=1e-5)
    assert found["conv2"].shape[2:] == (8, 8)
    assert found["fc7"].ndim == 2
    model = Localizer(backbone, "conv5", 3).eval()
    at, top = model.features(pixels)
    with torch.no_grad():
        whole = model(normalized(pixels))
        parts = model.heads(at, top)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(whole, parts))
    assert torch.allclose(at, found["conv5"], atol=1e-5)
    assert torch.allclose(top, found["fc7"], atol=1e-5)


def test_features_want_evaluation_mode(rng):
    network = open_backbone(random=True).train()
    with pytest.raises(CourseError, match="evaluation mode"):
        pooled_features(network, torch.zeros(1, 3, 128, 128, dtype=torch.uint8), ["conv1"])


def test_frozen_normalization_stays_frozen_under_the_heads():
    network = open_backbone(random=True).freeze_norm()
    model = Localizer(network, "conv5", 3)
    model.train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms
    assert not any(m.training for m in norms)
    assert model.what.training
    loose = Localizer(open_backbone(random=True), "conv5", 3).train()
    assert all(m.training for m in loose.modules() if isinstance(m, nn.BatchNorm2d))


# ---------------------------------------------------------------------------------------------- right and wrong


def guesses(*found):
    """Detections of one picture from (label, box, score)."""
    return {
        "labels": torch.tensor([label for label, _, _ in found]),
        "boxes": torch.tensor([box for _, box, _ in found], dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor([score for _, _, score in found]),
    }


HERE, THERE = (0.0, 0.0, 10.0, 10.0), (20.0, 0.0, 30.0, 10.0)


def test_class_box_both_and_five_by_hand():
    target = make_target([HERE], [1])
    empty = make_target([], [])
    cases = [
        (guesses((1, HERE, 0.9), (2, THERE, 0.1)), (1, 1, 1, 1)),
        (guesses((2, HERE, 0.9), (1, HERE, 0.1)), (0, 1, 0, 1)),
        (guesses((1, THERE, 0.9), (2, HERE, 0.1)), (1, 0, 0, 0)),
        (guesses((1, (0, 0, 10, 5), 0.9)), (1, 1, 1, 1)),
        (guesses(*[(k, HERE, 1 - k / 10) for k in (2, 3, 4, 5, 6)], (1, HERE, 0.1)), (0, 1, 0, 0)),
        (guesses((2, HERE, 0.5)), (0, 0, 0, 0)),
    ]
    found = judge([d for d, _ in cases] + [cases[0][0]], [target] * len(cases) + [empty])
    for i, (_, wanted) in enumerate(cases):
        assert (found.label[i], found.box[i], found.both[i], found.five[i]) == wanted, i
    assert np.isnan([found.label[-1], found.box[-1], found.both[-1], found.five[-1], found.iou[-1]]).all()


def test_two_objects_or_two_guesses_of_a_class_are_refused():
    with pytest.raises(DataError, match="2 objects"):
        judge([guesses((1, HERE, 0.9))], [make_target([HERE, THERE], [1, 1])])
    with pytest.raises(DataError, match="2 guesses"):
        judge([guesses((1, HERE, 0.9), (1, THERE, 0.8))], [make_target([HERE], [1])])


# ------------------------------------------------------------------------------------------------------ K slots


def test_two_cats_stand_where_their_boxes_say():
    pixels, boxes = two_cats(30)
    patches = set()
    for picture, its_boxes in zip(pixels, boxes):
        assert box_iou(its_boxes, its_boxes)[0, 1] == 0
        for x1, y1, x2, y2 in (128 * its_boxes).round().int().tolist():
            patches.add(picture[:, y1:y2, x1:x2].numpy().tobytes())
    assert len(patches) == 1
    assert 5 < (boxes[:, 0, 0] < boxes[:, 1, 0]).sum() < 25


def test_l2_with_interchangeable_slots_is_least_at_the_mean(rng):
    both = torch.from_numpy(rng.random((50, 2, 4))).float()
    p = torch.full((4,), 0.3, requires_grad=True)
    a, b = both[0]
    loss = ((p - a) ** 2).sum() / 2 + ((p - b) ** 2).sum() / 2
    identity = ((p - (a + b) / 2) ** 2).sum() + ((a - b) ** 2).sum() / 4
    assert loss.item() == pytest.approx(identity.item(), rel=1e-5)
    # features that hold both positions, order unknown: least squares answers with the mean in each slot
    x = torch.cat((both.sum(1), (both**2).sum(1)), 1)
    turned = torch.where(torch.from_numpy(rng.random(50) < 0.5)[:, None, None], both.flip(1), both)
    x, y = torch.cat((x, x)), torch.cat((turned, turned.flip(1))).flatten(1)
    exact = np.linalg.lstsq(np.c_[x, np.ones(100)], y.numpy(), rcond=None)[0]
    predicted = np.c_[x, np.ones(100)] @ exact
    assert np.allclose(predicted, both.mean(1).repeat(2, 2).numpy(), atol=1e-4)


def test_toyvoc_small_closeups_open():
    data = open_dataset("toyvoc-small-closeups", "test")
    assert data.name == "toyvoc-small-closeups"
    image, target = data[0]
    assert image.shape[0] == image.shape[1]
    assert len(target["boxes"]) == 1
