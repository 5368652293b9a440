"""Greedy merging: against a plain loop, by hand, and what must hold for any boxes."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.errors import DataError
from course_utils.overfeat.merging import as_worded, greedy_merge, match_score


def random_boxes(seed, n, spread=60.0):
    generator = torch.Generator().manual_seed(seed)
    corners = spread * torch.rand(n, 2, generator=generator)
    return torch.cat([corners, corners + 10 + 40 * torch.rand(n, 2, generator=generator)], 1), torch.rand(
        n, generator=generator
    )


def plain_match(a, b):
    ax, ay, bx, by = (a[0] + a[2]) / 2, (a[1] + a[3]) / 2, (b[0] + b[2]) / 2, (b[1] + b[3]) / 2
    diagonals = math.hypot(a[2] - a[0], a[3] - a[1]), math.hypot(b[2] - b[0], b[3] - b[1])
    w, h = max(0, min(a[2], b[2]) - max(a[0], b[0])), max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h
    return math.hypot(ax - bx, ay - by) / (sum(diagonals) / 2) + 1 - w * h / union


def plain_merge(boxes, scores, threshold):
    """Lists of members; every round looks at all pairs anew."""
    groups = [[i] for i in range(len(boxes))]

    def box(group):
        return [sum(boxes[i][k] for i in group) / len(group) for k in range(4)]

    while len(groups) > 1:
        pairs = [(plain_match(box(groups[i]), box(groups[j])), i, j) for j in range(len(groups)) for i in range(j)]
        best, i, j = min(pairs)
        if best >= threshold:
            break
        groups[i] += groups.pop(j)
    return {frozenset(group): (box(group), sum(scores[i] for i in group)) for group in groups}


def test_match_score_by_hand():
    a = torch.tensor([[0.0, 0, 30, 40]])
    b = torch.tensor([[0.0, 0, 30, 40], [15, 0, 45, 40], [300, 0, 330, 40]])
    assert match_score(a, b)[0].tolist() == pytest.approx([0, 15 / 50 + 1 - 1 / 3, 300 / 50 + 1], abs=1e-6)
    assert match_score(a, torch.zeros(0, 4)).shape == (1, 0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(0, 12), threshold=st.sampled_from([0.3, 0.7, 1.0, 1.4]))
def test_equals_plain_loop(seed, n, threshold):
    boxes, scores = random_boxes(seed, n)
    boxes, scores = boxes.double(), scores.double()
    found = greedy_merge(boxes, scores, threshold)
    wanted = plain_merge(boxes.tolist(), scores.tolist(), threshold)
    assert len(found.boxes) == len(wanted)
    for k, (box, score) in enumerate(zip(found.boxes, found.scores)):
        group = frozenset((found.group == k).nonzero()[:, 0].tolist())
        assert box.tolist() == pytest.approx(wanted[group][0]) and score.item() == pytest.approx(wanted[group][1])
    assert (found.scores.diff() <= 0).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 15))
def test_what_must_hold(seed, n):
    boxes, scores = random_boxes(seed, n)
    copies = boxes.clone(), scores.clone()
    found = greedy_merge(boxes, scores)
    assert torch.equal(boxes, copies[0]) and torch.equal(scores, copies[1])
    assert len(found.boxes) <= n and found.scores.sum().item() == pytest.approx(scores.sum().item(), rel=1e-5)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    again = greedy_merge(boxes[order], scores[order])
    assert torch.allclose(found.boxes, again.boxes, atol=1e-3) and torch.allclose(found.scores, again.scores)
    apart = match_score(found.boxes, found.boxes).fill_diagonal_(9)
    assert (apart >= 1.0).all()
    assert len(greedy_merge(boxes, scores, 0.0).boxes) == n and len(greedy_merge(boxes, scores, 1e6).boxes) == 1


def test_three_equal_boxes_average_and_add_up():
    boxes = torch.tensor([[0.0, 0, 10, 10], [3, 0, 13, 10], [0, 3, 10, 13], [80, 80, 90, 90]])
    found = greedy_merge(boxes, torch.tensor([0.5, 0.75, 0.6, 0.8]))
    assert found.boxes.tolist() == [[1, 1, 11, 11], [80, 80, 90, 90]]
    assert found.scores.tolist() == pytest.approx([1.85, 0.8]) and found.group.tolist() == [0, 0, 0, 1]


def test_literal_match_score_merges_the_wrong_pair():
    """As worded, distance plus intersection: two boxes far apart match better than two on the same object."""

    boxes = torch.tensor([[0.0, 0, 100, 100], [5, 0, 105, 100], [400, 0, 500, 100]])
    scores = torch.tensor([0.9, 0.8, 0.7])
    for threshold in (0, 100, 394, 396, 5000, 20_000):  # no threshold puts the first two together, and only them
        group = greedy_merge(boxes, scores, threshold, as_worded).group
        assert not (group[0] == group[1] != group[2])
    assert greedy_merge(boxes[1:], scores[1:], 396, as_worded).group.tolist() == [0, 0]
    assert as_worded(boxes[:2], boxes[1:]).tolist() == [[5 + 9500, 400], [10_000, 395]]
    right = greedy_merge(boxes, scores)
    assert right.group[0] == right.group[1] != right.group[2]


def test_nothing_and_faulty_input():
    nothing = greedy_merge(torch.zeros(0, 4), torch.zeros(0))
    assert nothing.boxes.shape == (0, 4) and nothing.scores.shape == (0,) and nothing.group.shape == (0,)
    boxes, scores = random_boxes(0, 3)
    with pytest.raises(DataError, match="score of 0 or more for each of the 3 boxes"):
        greedy_merge(boxes, scores[:2])
    with pytest.raises(DataError, match="the lowest -"):
        greedy_merge(boxes, scores - 2)
    with pytest.raises(DataError, match="x2 > x1"):
        greedy_merge(boxes[:, [2, 1, 0, 3]], scores)
