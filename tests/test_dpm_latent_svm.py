"""The latent SVM: objective, gradient, minimum, the bound that a cache gives, and weights shared by mirror images."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from sklearn.svm import SVC

from course_utils.dpm.inference import Placements, rescore
from course_utils.dpm.latent_svm import (
    BIAS_FEATURE,
    SPRING_WEIGHT,
    STIFFNESS_FROM,
    Problem,
    Row,
    best_rows,
    component_of,
    feature_vector,
    lowered,
    per_number,
    vector_of,
)
from course_utils.dpm.model import Component, Mixture
from course_utils.dpm.training import mixture_of, rows_of
from course_utils.fhog import FeatureLevel


def component(rng, rows=2, columns=3, n=2, side=2):
    springs = np.abs(rng.normal(size=(n, 4))) + 0.01
    return Component(
        root=rng.normal(size=(rows, columns, 32)).astype(np.float32),
        parts=rng.normal(size=(n, side, side, 32)).astype(np.float32),
        anchors=rng.integers(0, 3, (n, 2)),
        deformations=(springs * [1, -1, 1, 1]).astype(np.float32),
        bias=float(rng.normal()),
    )


def random_rows(rng, components, example, n, shift=0.0):
    """``n`` rows of one example, each of some component."""
    rows = []
    for place in range(n):
        k = int(rng.integers(len(components)))
        one = components[k]
        root, parts = (rng.normal(shift, 0.2, value.shape) for value in (one.root, one.parts))
        away = rng.integers(-2, 3, (len(one.parts), 2))
        features = feature_vector(root, parts, np.concatenate([away, away**2], 1), mirrored=False)
        rows.append(Row(example, (place,), k, features))
    return rows


@pytest.fixture
def world():
    rng = np.random.default_rng(0)
    components = [component(rng), component(rng, 3, 2, n=1)]
    positives = [row for i in range(15) for row in random_rows(rng, components, (1, i), 1, 0.05)]
    negatives = [row for i in range(40) for row in random_rows(rng, components, (0, i), 3, -0.05)]
    vector = np.concatenate([vector_of(one) for one in components])
    return components, positives, negatives, vector


def test_the_objective_is_what_the_paper_says(world):
    components, positives, negatives, vector = world
    expected, springs = 0.0, 0.0
    for one in components:
        expected += 0.5 * ((one.root**2).sum() + (one.parts**2).sum())  # and nothing for the bias
        springs += 0.5 * (one.deformations**2).sum()
    expected += SPRING_WEIGHT * springs
    weights = [vector_of(one) for one in components]
    for row in positives:
        expected += 0.3 * max(0.0, 1 - row.features @ weights[row.component])
    for i in range(40):
        best = max(row.features @ weights[row.component] for row in negatives if row.example == (0, i))
        expected += 0.3 * max(0.0, 1 + best)
    problem = Problem(components, positives, negatives, 0.3)
    assert problem(vector)[0] == pytest.approx(expected, rel=1e-5)
    biased = vector + (np.arange(len(vector)) == len(vector) - 1)  # the last component's bias
    alone = Problem(components, [], [], 0.3)
    assert alone(biased)[0] == alone(vector)[0] and problem(biased)[0] != problem(vector)[0]
    assert problem.without_negatives(vector) == pytest.approx(Problem(components, positives, [], 0.3)(vector)[0])


def test_gradient_equals_finite_differences(world):
    components, positives, negatives, vector = world
    problem = Problem(components, positives, negatives, 0.3)
    at = 0.2 * vector
    scores = problem.scores(at)
    margins = problem.sign * scores[best_rows(scores, problem.example, len(problem.sign))]
    assert 0 < (margins < 1).sum() < len(margins)  # some hinges are active, some not
    slope = problem(at)[1]
    numeric = approx_fprime(at, lambda v: problem(v)[0], 1e-4)
    kinds = np.concatenate([per_number(one, 0, np.full(4, 1.0), 2) for one in components])
    for kind in (0, 1, 2):  # templates, springs, biases
        own = kinds == kind
        assert np.linalg.norm((numeric - slope)[own]) < 0.01 * np.linalg.norm(slope[own])


@pytest.mark.parametrize("C", [0.01, 0.1])
def test_without_latent_values_it_is_the_linear_svm_of_libsvm(C):
    rng = np.random.default_rng(1)
    one = component(rng, n=0)
    positives = [row for i in range(40) for row in random_rows(rng, [one], (1, i), 1, 0.03)]
    negatives = [row for i in range(80) for row in random_rows(rng, [one], (0, i), 1, -0.03)]
    x = np.stack([row.features[:-1] for row in positives + negatives])
    y = np.r_[np.ones(40), -np.ones(80)]
    svm = SVC(kernel="linear", C=C, tol=1e-6).fit(x, y)
    vector = np.r_[svm.coef_.ravel(), svm.intercept_ / BIAS_FEATURE]
    problem = Problem([one], positives, negatives, C)
    ours = problem(lowered(problem, np.zeros(len(vector)), steps=2000))[0]
    assert ours == pytest.approx(problem(vector)[0], rel=1e-2)  # hinges have corners
    assert problem(vector)[0] <= ours + 1e-9  # theirs is the minimum


def test_no_step_raises_the_objective_and_springs_stay_springs(world):
    components, positives, negatives, vector = world
    for C in (0.001, 0.1, 1.0):
        problem, last = Problem(components, positives, negatives, C), np.inf
        at = vector
        for _ in range(4):
            value = problem(at)[0]
            assert value <= last
            at, last = lowered(problem, at, steps=5), value
        for one, own in zip(components, np.split(at, problem.cuts)):
            assert (component_of(own, one).deformations[:, 2:] >= np.float32(STIFFNESS_FROM)).all()
    # without errors only the springs' own weight counts, and they would vanish but for the bound
    alone = lowered(Problem(components, [], [], 1.0), vector)
    assert component_of(np.split(alone, problem.cuts)[0], components[0]).deformations[:, 2:] == pytest.approx(0.001)


def test_more_places_of_an_example_never_lower_the_objective(world):
    components, positives, negatives, vector = world
    order = np.random.default_rng(2).permutation(len(negatives))
    values = [
        Problem(components, positives, [negatives[i] for i in order[:n]], 0.1)(vector)[0]
        for n in range(0, len(negatives) + 1, 10)
    ]
    assert np.all(np.diff(values) >= -1e-9) and values[-1] > values[0]
    # two rows of one example count once, of two examples twice
    row = max(negatives, key=lambda r: r.features @ vector_of(components[r.component]))
    again, other = row._replace(place=(99,)), row._replace(example=(0, 99))
    base, same, twice = (Problem(components, [], rows, 1.0)(vector)[0] for rows in ([row], [row, again], [row, other]))
    assert same == pytest.approx(base)
    assert twice > base + 0.1


def test_vector_and_component_are_the_same_numbers():
    rng = np.random.default_rng(3)
    one = component(rng)
    back = component_of(vector_of(one), one)
    for name in ("root", "parts", "anchors", "deformations"):
        assert np.array_equal(getattr(back, name), getattr(one, name))
    assert back.bias == pytest.approx(one.bias)


def test_a_pair_shares_its_weights():
    """What either of a pair sees, as a row, scores with the shared weights what it scores with its own."""
    rng = np.random.default_rng(4)
    bases = [component(rng), component(rng, 3, 2, n=3)]
    mixture = mixture_of(bases, mirrored=True)
    levels = [FeatureLevel(rng.normal(size=(30, 30, 32)).astype(np.float32), (4.0, 4.0)) for _ in range(10)]
    n = [len(one.parts) for one in mixture.components]
    placements = Placements(
        np.arange(4),
        np.full(4, 5),
        rng.integers(4, 10, (4, 2)),
        [rng.integers(0, 20, (m, 2)) for m in n],
        np.zeros(4, np.float32),
    )
    rows = rows_of(mixture, levels, placements, (0, 7), mirrored=True)
    assert [row.component for row in rows] == [0, 0, 1, 1]
    assert [row.example for row in rows] == [(0, 7, 5, *root) for root in placements.roots.tolist()]
    shared = [row.features @ vector_of(bases[row.component]) for row in rows]
    assert np.allclose(shared, rescore(mixture, levels, placements), rtol=1e-4, atol=1e-3)
    alone = Mixture(tuple(bases), 0.0, 5)
    rows = rows_of(alone, levels, placements[:1], (0, 7), mirrored=False)
    assert rows[0].features @ vector_of(bases[0]) == pytest.approx(rescore(alone, levels, placements[:1])[0], rel=1e-4)
