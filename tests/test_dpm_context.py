"""Context rescoring against scikit-learn's own decision, features by hand, and a case where context decides."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC

from course_utils.bundle import read_bundle, write_bundle
from course_utils.dpm.context import Context, Machine, context_features
from course_utils.errors import DataError
from course_utils.metrics.voc import match


def detections(boxes, labels, scores) -> dict:
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores, dtype=torch.float32),
    }


def test_features_by_hand():
    found = detections([[0, 0, 50, 50], [20, 10, 100, 40], [0, 25, 10, 50]], [1, 3, 3], [0.0, -0.5, 1.0])
    features = context_features(found, (50, 100), 3)

    def sigma(score):
        return 1 / (1 + np.exp(-1.5 * score))

    everywhere = [sigma(0), sigma(-1.1), sigma(1)]
    wanted = [
        [0.5, 0, 0, 0.5, 1, *everywhere],
        [sigma(-0.5), 0.2, 0.2, 1, 0.8, *everywhere],
        [sigma(1), 0, 0.5, 0.1, 1, *everywhere],
    ]
    np.testing.assert_allclose(features, wanted, rtol=1e-6)
    low = context_features(detections([[0, 0, 1, 1]], [2], [-3.0]), (50, 100), 3)
    np.testing.assert_allclose(low[0, 5:], sigma(-1.1))  # worse than none at all does not count
    assert context_features(detections([], [], []), (50, 100), 3).shape == (0, 8)


def test_the_machine_decides_as_scikit_learn_does():
    rng = np.random.default_rng(0)
    features = rng.uniform(size=(300, 25))
    right = features[:, 0] * features[:, 7] + 0.1 * rng.normal(size=300) > 0.25
    svm = SVC(kernel="poly", degree=3, gamma=1, coef0=1, C=1, class_weight={True: 2}).fit(features, right)
    machine = Machine.fitted(features, right)
    new = rng.uniform(size=(100, 25))
    np.testing.assert_allclose(machine.decide(new), svm.decision_function(new), rtol=0, atol=1e-8)
    assert ((machine.decide(features) > 0) == right).mean() > 0.8


def scenes(n: int, seed: int):
    """In each image one box of class 1, right if class 2 is found with a high score; class 2 is always right."""
    rng = np.random.default_rng(seed)
    found, targets = [], []
    for _ in range(n):
        together = rng.random() < 0.5
        box, other = [10, 10, 40, 40], [50, 50, 90, 90]
        found.append(
            detections([box, other], [1, 2], [rng.normal() * 0.1, rng.normal() * 0.2 + (1 if together else -1)])
        )
        boxes = [box, other] if together else [other]
        targets.append({
            "boxes": torch.tensor(boxes, dtype=torch.float32), "labels": torch.tensor([1, 2][-len(boxes) :]),
            "difficult": torch.zeros(len(boxes), dtype=torch.bool),
        })  # fmt: skip
    return found, targets, [(100, 100)] * n


def test_context_decides_where_the_own_score_says_nothing():
    context = Context.fitted(*scenes(60, 0), 2)
    assert set(context.machines) == {1}  # class 2 has no wrong detection to learn from
    found, targets, sizes = scenes(60, 1)
    after = [context.rescored(one, size) for one, size in zip(found, sizes)]
    assert match(found, targets, 1).average_precision() < 0.7
    assert match(after, targets, 1).average_precision() > 0.95
    for old, new in zip(found, after):
        assert (new["scores"].diff() <= 0).all() and set(new) == {"boxes", "labels", "scores"}
        of_2 = new["labels"] == 2
        assert torch.equal(new["scores"][of_2], old["scores"][1:])
        assert new["boxes"][of_2].tolist() == [[50, 50, 90, 90]]


def test_difficult_objects_count_as_right():
    found, targets, sizes = scenes(40, 2)
    difficult = [target | {"difficult": target["labels"] == 1} for target in targets]
    one, other = (Context.fitted(found, which, sizes, 2).machines[1] for which in (targets, difficult))
    assert np.array_equal(one.support, other.support) and np.array_equal(one.coefficients, other.coefficients)


def test_arrays_come_back_from_a_file(tmp_path):
    context = Context.fitted(*scenes(30, 0), 2)
    write_bundle(tmp_path / "context", context.tensors("context."), {})
    back = Context.from_tensors(read_bundle(tmp_path / "context")[0], "context.")
    found = scenes(1, 5)[0][0]
    assert torch.equal(back.rescored(found, (100, 100))["scores"], context.rescored(found, (100, 100))["scores"])
    assert back.n_classes == 2
    empty = back.rescored(detections([], [], []), (10, 10))
    assert empty["boxes"].shape == (0, 4)


def test_lengths_must_agree():
    found, targets, sizes = scenes(3, 0)
    with pytest.raises(DataError, match="3, 3 and 2"):
        Context.fitted(found, targets, sizes[:2], 2)
