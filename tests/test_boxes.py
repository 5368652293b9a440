"""Boxes: torchvision, plain loops and closed forms against the package."""

import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import kstest
from torchvision.models.detection._utils import BoxCoder
from torchvision.ops import box_iou, nms

from course_utils.boxes import DELTA_CLIP, check_boxes, decode, dpm_nms, encode, flip, jitter, soft_nms
from course_utils.errors import CourseError, DataError

WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (2.0, 3.0, 5.0, 7.0)]
SEEDS = range(60)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def random_boxes(n, seed=0, dtype=torch.float32, size=100.0):
    """Boxes with sides of 1 to ``size / 2`` pixels."""
    u = torch.rand(n, 4, generator=rng(seed), dtype=torch.float64)
    corner, side = u[:, :2] * size, 1 + u[:, 2:] * (size / 2 - 1)
    return torch.cat((corner, corner + side), 1).to(dtype)


def grid_boxes(n, seed, size=8):
    """Boxes on whole pixels, so that many overlaps are equal."""
    corner = torch.randint(0, size, (n, 2), generator=rng(seed))
    side = torch.randint(1, size, (n, 2), generator=rng(seed + 1000))
    return torch.cat((corner, corner + side), 1).double()


def random_scores(n, seed, levels):
    """Multiples of ``1 / levels``, so that scores tie; 0 and 1 occur."""
    return torch.randint(0, levels + 1, (n,), generator=rng(seed + 2000)).double() / levels


# Every public function on ``n`` boxes ``b`` with scores ``s``; `call` gives it fresh generators.
CALLS = {
    "check_boxes": lambda b, s: check_boxes(b),
    "encode": lambda b, s: encode(b, b + 1),
    "encode anchors": lambda b, s: encode(random_boxes(len(b), 5, b.dtype), b),
    "decode": lambda b, s: decode(torch.zeros_like(b) + 0.1, b),
    "decode classes": lambda b, s: decode(torch.zeros_like(b).repeat(1, 3) + 0.1, b),
    "flip": lambda b, s: flip(b, 200),
    "jitter": lambda b, s: jitter(b, rng(), pixels=2, fraction=0.1),
    "soft_nms gaussian": lambda b, s: soft_nms(b, s),
    "soft_nms linear": lambda b, s: soft_nms(b, s, method="linear"),
    "dpm_nms": lambda b, s: dpm_nms(b, s),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


# ---------------------------------------------------------------------------------------------- what holds for all


@every_call
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_inputs_stay_and_dtype_stays(call, dtype):
    boxes, scores = random_boxes(30, 1, dtype), random_scores(30, 1, 10).to(dtype)
    kept = boxes.clone(), scores.clone()
    result = call(boxes, scores)
    assert torch.equal(boxes, kept[0]) and torch.equal(scores, kept[1])
    for part in result if isinstance(result, tuple) else (result,):
        assert part is None or part.dtype in (dtype, torch.int64)


@every_call
def test_no_boxes_are_fine(call):
    result = call(torch.zeros(0, 4), torch.zeros(0))
    for part in result if isinstance(result, tuple) else (result,):
        assert part is None or len(part) == 0


def test_shapes_and_types_without_boxes():
    none = torch.zeros(0, 4)
    assert encode(none, none).shape == decode(none, none).shape == flip(none, 5).shape == (0, 4)
    assert jitter(none, rng(), pixels=1).shape == (0, 4)
    assert decode(torch.zeros(0, 84), none).shape == (0, 84)
    keep, scores = soft_nms(none, torch.zeros(0))
    assert keep.dtype == dpm_nms(none, torch.zeros(0)).dtype == torch.int64 and scores.dtype == torch.float32


@every_call
@pytest.mark.parametrize(
    "bad",
    [
        (math.nan, 1, 2, 2), (1, 1, math.inf, 2), (-math.inf, 1, 2, 2), (1, 1, 2, math.nan),
        (3, 1, 2, 2), (1, 3, 2, 2), (2, 1, 2, 2), (1, 2, 2, 2),
    ],
)  # fmt: skip
def test_nan_infinite_inverted_and_empty_boxes_raise(call, bad):
    boxes = torch.tensor([(1, 1, 2, 2), bad, (0, 0, 5, 5)], dtype=torch.float32)
    with pytest.raises(DataError, match=r"\[1\] is .*1 of 3"):
        call(boxes, torch.ones(3))


@every_call
@pytest.mark.parametrize("bad", [torch.ones(4), torch.ones(2, 5), torch.tensor([[0, 0, 1, 1]]), torch.ones(0)])
def test_other_shapes_and_types_raise(call, bad):
    with pytest.raises(DataError):
        call(bad, torch.ones(len(bad)))


def test_message_of_check_boxes_names_the_way_out():
    with pytest.raises(DataError, match=r"^proposals\[0\] is \(40, 30, 10, 20\).*box_convert"):
        check_boxes(torch.tensor([[40.0, 30, 10, 20]]), "proposals")
    with pytest.raises(DataError, match=r"got int64 \(1, 4\)"):
        check_boxes(torch.tensor([[0, 0, 1, 1]]))
    with pytest.raises(DataError, match="got a list"):
        check_boxes([[0.0, 0, 1, 1]])


def test_thin_boxes_pass():
    check_boxes(torch.tensor([[-5.0, 0, -4.99, 1e-30], [1e6, 0, 1e6 + 0.125, 1e9]]))


# ---------------------------------------------------------------------------------------------------------- deltas


@pytest.mark.parametrize("weights", WEIGHTS)
def test_encode_and_decode_equal_torchvision(weights):
    boxes, anchors = random_boxes(500, 1), random_boxes(500, 2)
    coder = BoxCoder(weights)
    deltas = encode(boxes, anchors, weights)
    torch.testing.assert_close(deltas, coder.encode_single(boxes, anchors), rtol=1e-5, atol=1e-4)
    noisy = torch.randn(500, 4, generator=rng(3)) * torch.tensor(weights)
    torch.testing.assert_close(decode(noisy, anchors, weights), coder.decode_single(noisy, anchors))


@pytest.mark.parametrize("weights", WEIGHTS)
def test_deltas_of_many_classes_equal_torchvision_and_one_class_at_a_time(weights):
    anchors = random_boxes(50, 2)
    deltas = torch.randn(50, 4 * 7, generator=rng(3)) * 3
    boxes = decode(deltas, anchors, weights)
    assert boxes.shape == deltas.shape
    torch.testing.assert_close(boxes, BoxCoder(weights).decode_single(deltas, anchors))
    for k in range(7):
        assert torch.equal(boxes[:, 4 * k : 4 * k + 4], decode(deltas[:, 4 * k : 4 * k + 4], anchors, weights))


def test_deltas_by_hand():
    anchor = torch.tensor([[10.0, 20, 30, 60]])  # centre (20, 40), 20 x 40
    box = torch.tensor([[20.0, 50, 60, 70]])  # centre (40, 60), 40 x 20
    by_hand = torch.tensor([[20 / 20, 20 / 40, math.log(2), -math.log(2)]])
    torch.testing.assert_close(encode(box, anchor), by_hand)
    torch.testing.assert_close(encode(box, anchor, (10, 10, 5, 5)), by_hand * torch.tensor([10, 10, 5, 5]))
    assert torch.equal(encode(box, box), torch.zeros(1, 4)) and torch.equal(decode(torch.zeros(1, 4), box), box)


coordinates = st.floats(-2000, 2000, width=32)
sides = st.floats(0.5, 500, width=32)  # a ratio of 1,000 passes the clamp, so the test leaves such pairs out


@given(
    st.lists(st.tuples(*[coordinates, coordinates, sides, sides] * 2), min_size=1, max_size=5), st.sampled_from(WEIGHTS)
)
def test_decode_undoes_encode(rows, weights):
    rows = torch.tensor(rows, dtype=torch.float64)
    boxes, anchors = (torch.cat((r[:, :2], r[:, :2] + r[:, 2:]), 1) for r in rows.split(4, 1))
    assume(bool((rows[:, 2:4] / rows[:, 6:8] < 60).all()))
    torch.testing.assert_close(decode(encode(boxes, anchors, weights), anchors, weights), boxes, rtol=1e-9, atol=1e-9)


def test_decode_undoes_encode_in_float32():
    boxes, anchors = random_boxes(1000, 1, size=500), random_boxes(1000, 2, size=500) + torch.tensor([0, 0, 5, 5])
    assert (decode(encode(boxes, anchors), anchors) - boxes).abs().max() < 0.01  # pixels


@pytest.mark.parametrize("weights", WEIGHTS)
def test_sizes_grow_at_most_62_and_a_half_times(weights):
    anchors = torch.tensor([[0.0, 0, 10, 20]]).expand(3, 4)
    deltas = torch.tensor([[0, 0, 1000, 0], [0, 0, 0, 1000], [0, 0, DELTA_CLIP + 0.1, DELTA_CLIP - 0.1]])
    boxes = decode(deltas * torch.tensor(weights), anchors, weights)
    grown = (boxes[:, 2:] - boxes[:, :2]) / torch.tensor([10, 20])
    expected = torch.tensor([[62.5, 1], [1, 62.5], [62.5, 62.5 * math.exp(-0.1)]])
    torch.testing.assert_close(grown, expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(boxes, BoxCoder(weights).decode_single(deltas * torch.tensor(weights), anchors))


def test_gradients_of_deltas():
    boxes, anchors = (random_boxes(5, i, torch.float64).requires_grad_() for i in (1, 2))
    deltas = torch.randn(5, 8, generator=rng(), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda b, a: encode(b, a, WEIGHTS[2]), (boxes, anchors))
    assert torch.autograd.gradcheck(lambda d, a: decode(d, a, WEIGHTS[2]), (deltas, anchors))
    huge = torch.tensor([[0.0, 0, 9, 1]], requires_grad=True)
    decode(huge, torch.tensor([[0.0, 0, 1, 1]])).square().sum().backward()
    assert huge.grad[0, 2] == 0 and huge.grad[0, 3] != 0


def test_deltas_that_do_not_fit_raise():
    anchors = random_boxes(3)
    for deltas in (torch.zeros(2, 4), torch.zeros(3, 6), torch.zeros(3, 0), torch.zeros(12), torch.zeros(3, 4).long()):
        with pytest.raises(DataError, match="deltas must be"):
            decode(deltas, anchors)
    for bad in (math.nan, math.inf):
        deltas = torch.zeros(3, 4)
        deltas[1, 2] = bad
        with pytest.raises(DataError, match="finite"):
            decode(deltas, anchors)
    with pytest.raises(DataError, match="3 boxes and 1 anchors"):
        encode(anchors, anchors[:1])
    for weights in ((1, 1, 1), (1, 1, 0, 1), (1, 1, 1, math.nan)):
        for function in (encode, decode):
            with pytest.raises(CourseError, match="four positive"):
                function(anchors, anchors, weights)


# -------------------------------------------------------------------------------------------------- flip and jitter


def test_flip_twice_is_nothing():
    boxes = random_boxes(100, 1).mul(16).round().div(16)  # sixteenths of a pixel: no rounding
    assert torch.equal(flip(flip(boxes, 321), 321), boxes) and not torch.equal(flip(boxes, 321), boxes)


@given(st.integers(1, 30), st.integers(1, 20), st.data())
def test_flip_of_a_box_is_the_box_of_the_flipped_mask(width, height, data):
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    mask = torch.zeros(height, width, dtype=torch.bool)
    mask[y1:y2, x1:x2] = True
    rows, columns = mask.flip(1).nonzero().unbind(1)
    of_mask = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert flip(torch.tensor([[x1, y1, x2, y2]], dtype=torch.float32), width)[0].tolist() == of_mask


def test_jitter_moves_four_edges_uniformly_and_independently():
    boxes = torch.tensor([[100.0, 100, 300, 150]], dtype=torch.float64).expand(20_000, 4)  # 200 x 50
    for keywords, limits in (
        ({"pixels": 4}, (4, 4, 4, 4)),
        ({"fraction": 0.1}, (20, 5, 20, 5)),
        ({"pixels": 1, "fraction": 0.1}, (21, 6, 21, 6)),
        ({"pixels": 1000}, (98, 24.5, 98, 24.5)),
    ):
        moves = (jitter(boxes, rng(1), **keywords) - boxes) / torch.tensor(limits)
        for edge in range(4):
            assert moves[:, edge].abs().max() <= 1 + 1e-9
            assert kstest(moves[:, edge].numpy(), "uniform", args=(-1, 2)).pvalue > 0.001
        assert (torch.corrcoef(moves.T) - torch.eye(4)).abs().max() < 0.04


def test_jitter_is_the_generators():
    boxes = random_boxes(100, 1, size=400)
    assert torch.equal(jitter(boxes, rng(7), pixels=3), jitter(boxes, rng(7), pixels=3))
    assert not torch.equal(jitter(boxes, rng(7), pixels=3), jitter(boxes, rng(8), pixels=3))
    generator = rng(7)
    assert not torch.equal(jitter(boxes, generator, pixels=3), jitter(boxes, generator, pixels=3))
    state = torch.get_rng_state()
    jitter(boxes, rng(7), pixels=3)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(jitter(boxes, rng(7)), boxes)
    large = boxes + torch.tensor([0, 0, 100, 100])
    one, two = (jitter(large, rng(7), pixels=k) - large for k in (1, 2))
    torch.testing.assert_close(two, 2 * one, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_jitter_never_inverts(dtype):
    boxes = torch.cat((random_boxes(2000, 1, dtype, size=4), random_boxes(2000, 2, dtype)))
    check_boxes(jitter(boxes, rng(), pixels=50, fraction=3))
    x = torch.linspace(1, 5000, 3000, dtype=dtype)
    above = x
    for _ in range(4):  # boxes 1 to 4 steps of the number format wide
        above = above.nextafter(torch.tensor(math.inf, dtype=dtype))
        check_boxes(jitter(torch.stack((x, x, above, above), 1), rng(), pixels=50))


def test_jitter_refuses_negative_amounts():
    for keywords in ({"pixels": -1}, {"fraction": -0.1}, {"pixels": math.nan}, {"pixels": math.inf}):
        with pytest.raises(CourseError, match="0 or more"):
            jitter(random_boxes(2), rng(), **keywords)


# -------------------------------------------------------------------------------------------------------------- NMS


def area_of(b):
    return (b[2] - b[0]) * (b[3] - b[1])


def shared_area(a, b):
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def plain_soft_nms(boxes, scores, factor, min_score):
    boxes, scores, taken = boxes.tolist(), scores.tolist(), []
    while True:
        left = [i for i in range(len(boxes)) if scores[i] >= min_score and i not in taken]
        if not left:
            return taken, [scores[i] for i in taken]
        best = left[0]
        for i in left:
            if scores[i] > scores[best]:
                best = i
        taken.append(best)
        for i in left:
            if i != best:
                both = shared_area(boxes[best], boxes[i])
                scores[i] *= factor(both / (area_of(boxes[best]) + area_of(boxes[i]) - both))


def plain_dpm_nms(boxes, scores, cover):
    boxes, scores, taken = boxes.tolist(), scores.tolist(), []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(shared_area(boxes[j], boxes[i]) / area_of(boxes[i]) <= cover for j in taken):
            taken.append(i)
    return taken


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_nms_linear_equals_plain_loops(seed):
    boxes, scores = grid_boxes(25, seed), random_scores(25, seed, 6)
    threshold, min_score = (0.3, 0.5, 0.25, 0.0)[seed % 4], (0.001, 0.2)[seed % 2]
    keep, lowered = soft_nms(boxes, scores, method="linear", threshold=threshold, min_score=min_score)
    taken, expected = plain_soft_nms(boxes, scores, lambda iou: 1 - iou if iou >= threshold else 1, min_score)
    assert keep.tolist() == taken
    torch.testing.assert_close(lowered, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("seed", SEEDS)
def test_soft_nms_gaussian_equals_plain_loops(seed):
    boxes = random_boxes(25, seed, torch.float64, size=30)
    boxes[20:] = boxes[:5]  # with scores of few levels: boxes that tie for good
    scores = random_scores(25, seed, 4)
    sigma, min_score = (0.5, 0.1, 2.0)[seed % 3], (0.001, 0.2)[seed % 2]
    keep, lowered = soft_nms(boxes, scores, sigma=sigma, min_score=min_score)
    taken, expected = plain_soft_nms(boxes, scores, lambda iou: math.exp(-(iou**2) / sigma), min_score)
    assert keep.tolist() == taken
    torch.testing.assert_close(lowered, torch.tensor(expected, dtype=torch.float64))
    assert (lowered.diff() <= 0).all()


def test_soft_nms_by_hand():
    boxes = torch.tensor([[0.0, 0, 2, 1], [0, 0, 1, 1], [9, 9, 10, 10]])  # IoU 1/2, and one apart
    scores = torch.tensor([0.8, 0.6, 0.4])
    keep, lowered = soft_nms(boxes, scores, method="linear", threshold=0.5)  # IoU equal to the threshold counts
    assert keep.tolist() == [0, 2, 1]
    torch.testing.assert_close(lowered, torch.tensor([0.8, 0.4, 0.3]))
    keep, lowered = soft_nms(boxes, scores, method="linear", threshold=0.51)
    assert keep.tolist() == [0, 1, 2] and torch.equal(lowered, scores)
    keep, lowered = soft_nms(boxes, scores)
    assert keep.tolist() == [0, 2, 1]
    torch.testing.assert_close(lowered, torch.tensor([0.8, 0.4, 0.6 * math.exp(-0.5)]))
    assert soft_nms(boxes, scores, min_score=0.5)[0].tolist() == [0]
    assert len(soft_nms(boxes, scores, min_score=0.9)[0]) == 0  # not even the best


def test_soft_nms_defaults_are_the_authors():
    boxes, scores = random_boxes(40, 3, size=30), random_scores(40, 3, 20).float()
    for method in ("gaussian", "linear"):
        explicit = soft_nms(boxes, scores, method=method, sigma=0.5, threshold=0.3, min_score=0.001)
        assert all(map(torch.equal, explicit, soft_nms(boxes, scores, method=method)))
    assert torch.equal(soft_nms(boxes, scores)[1], soft_nms(boxes, scores, method="gaussian")[1])


def test_soft_nms_equals_opencv():
    cv2 = pytest.importorskip("cv2", reason="opencv is only installed for the benchmarks")
    for seed in range(20):
        boxes = grid_boxes(20, seed, size=40)
        scores = torch.rand(
            20, generator=rng(seed), dtype=torch.float64
        ).float()  # no ties: cv2 breaks them its own way
        xywh = torch.cat((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), 1).int().tolist()
        for number, method in ((1, "linear"), (2, "gaussian")):
            keep, lowered = soft_nms(boxes.float(), scores, method=method, sigma=0.5, threshold=0.3, min_score=0.01)
            theirs, indices = cv2.dnn.softNMSBoxes(
                xywh, scores.tolist(), score_threshold=0.01, nms_threshold=0.3, sigma=0.5, method=number
            )
            assert list(indices) == keep.tolist()
            assert list(theirs) == pytest.approx(lowered.tolist(), abs=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_dpm_nms_equals_plain_loops(seed):
    boxes, scores = grid_boxes(40, seed), random_scores(40, seed, 8) - 0.5  # ties, negative scores too
    cover = (0.5, 0.25, 0.75, 0.0, 1.0)[seed % 5]
    assert dpm_nms(boxes, scores, cover).tolist() == plain_dpm_nms(boxes, scores, cover)
    assert dpm_nms(boxes, scores).tolist() == plain_dpm_nms(boxes, scores, 0.5)


def test_dpm_nms_by_hand():
    large, small = [0.0, 0, 10, 10], [2.0, 2, 5, 5]  # IoU 0.09, so NMS by IoU keeps both
    boxes = torch.tensor([large, small])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert dpm_nms(boxes, torch.tensor([0.9, 0.8])).tolist() == [0]
    assert dpm_nms(boxes, torch.tensor([-0.9, -0.8])).tolist() == [1, 0]
    half = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10]])
    assert dpm_nms(half, torch.tensor([2.0, 1])).tolist() == [0, 1]  # exactly half covered: kept
    assert dpm_nms(half, torch.tensor([2.0, 1]), 0.49).tolist() == [0]


def test_dpm_nms_is_iou_nms_for_equal_sizes():
    corner = torch.rand(200, 2, generator=rng(4)) * 60
    boxes, scores = torch.cat((corner, corner + 20), 1), torch.rand(200, generator=rng(5))
    # Two boxes of one size: cover c means IoU c / (2 - c).
    assert (box_iou(boxes, boxes) - 1 / 3).abs().min() > 1e-6
    assert torch.equal(dpm_nms(boxes, scores, 0.5), nms(boxes, scores, 1 / 3))


@pytest.mark.parametrize("function", [soft_nms, dpm_nms])
def test_scores_that_do_not_fit_raise(function):
    boxes = random_boxes(3)
    for scores in (torch.ones(2), torch.ones(3, 1), torch.ones(3).long(), [1.0, 1.0, 1.0]):
        with pytest.raises(DataError, match=r"scores must be .*\(3,\)"):
            function(boxes, scores)
    for bad in (math.nan, math.inf):
        with pytest.raises(DataError, match="scores must be finite"):
            function(boxes, torch.tensor([0.5, bad, 0.5]))


def test_soft_nms_refuses_what_it_cannot_do():
    boxes = random_boxes(2)
    with pytest.raises(DataError, match="0 or more"):
        soft_nms(boxes, torch.tensor([0.5, -0.1]))
    for keywords in ({"method": "greedy"}, {"sigma": 0}):
        with pytest.raises(CourseError, match="soft_nms needs"):
            soft_nms(boxes, torch.ones(2), **keywords)
