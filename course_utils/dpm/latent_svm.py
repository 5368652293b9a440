"""The latent SVM: its objective for examples whose places are known so far, and the step that lowers it.

Felzenszwalb, Girshick, McAllester, Ramanan, "Object Detection with Discriminatively Trained Part-Based Models", PAMI
2010, sections 4 and 5. An example x (a root's place in a picture) scores ``f(x) = max over z of beta . Phi(x, z)``,
where z says which component sees it and where its parts are, and the objective is

    1/2 |beta|^2 + C * sum over examples of max(0, 1 - y f(x)),    y = 1 or -1.

A maximum of linear functions is convex, and so is the loss of a negative; that of a positive becomes convex once its z
is fixed. Here every example has the places z that are in the cache: one for a positive, all that were found hard so far
for a negative. With some z left out f(x) can only be too low, so the cached loss of a negative is a lower bound.

The authors' release 5 regularizes by the largest of the components' lengths, ``1/2 max |beta_c|^2`` (smoothed), so that
a component with few examples is not held small by their number. We take the sum, as the paper does: `views.aspects_of`
gives all groups equally many objects.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numba import njit
from scipy.optimize import Bounds, minimize

from course_utils.dpm.model import MIRROR, Component
from course_utils.fhog import flip_features

BIAS_FEATURE = 10.0  # so large that the bias, which is not regularized, need not grow far
SPRING_WEIGHT = 10.0  # how much more than templates springs are regularized
STIFFNESS_FROM = 0.001  # lower bound of the weights of dx^2 and dy^2


# ------------------------------------------------------------------------------- components as one vector of numbers


def vector_of(component: Component) -> np.ndarray:
    """Root, parts, springs and bias of a component, one after the other; float64 ``(n,)``."""
    parts = (component.root, component.parts, component.deformations, component.bias / BIAS_FEATURE)
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)


def component_of(vector: np.ndarray, like: Component) -> Component:
    """The component of this vector, with the shapes and anchors of another."""
    cuts = np.cumsum([like.root.size, like.parts.size, like.deformations.size])
    root, parts, springs, bias = np.split(vector, cuts)
    return replace(
        like,
        root=root.reshape(like.root.shape).astype(np.float32),
        parts=parts.reshape(like.parts.shape).astype(np.float32),
        deformations=springs.reshape(like.deformations.shape).astype(np.float32),
        bias=float(bias[0]) * BIAS_FEATURE,
    )


def feature_vector(root: np.ndarray, parts: np.ndarray, displacement: np.ndarray, *, mirrored: bool) -> np.ndarray:
    """Phi(x, z) in the order of `vector_of`; float32 ``(n,)``.

    Parameters
    ----------
    root, parts, displacement : ndarray
        ``(h, w, 32)``, ``(n, p, p, 32)`` and ``(n, 4)`` as `course_utils.dpm.inference.placement_features` gives them.
    mirrored : bool
        Whether the mirror image of the component saw this: a pair has one set of weights, so what the one sees is
        mirrored and then belongs to the other.
    """
    if mirrored:
        root, parts, displacement = flip_features(root), flip_features(parts), displacement * MIRROR
    bias = np.full(1, BIAS_FEATURE)
    return np.concatenate([root.ravel(), parts.ravel(), -displacement.ravel(), bias]).astype(np.float32)


# -------------------------------------------------------------------------------------------- the convex problem


class Row(NamedTuple):
    """One example seen at one place z.

    Attributes
    ----------
    example : tuple of int
        Names the example; rows of the same example compete.
    place : tuple of int
        Names z.
    component : int
        Which component's weights it takes.
    features : ndarray
        Phi(x, z), float32.
    """

    example: tuple[int, ...]
    place: tuple[int, ...]
    component: int
    features: np.ndarray


class Problem:
    """The objective for fixed rows, as a function of all components' weights in one vector.

    Parameters
    ----------
    components : sequence of Component
        Whose shapes the vector has.
    positives, negatives : sequence of Row
        A positive example has one row, a negative one any number.
    C : float
        Weight of the losses against the weights' size.
    """

    def __init__(
        self, components: Sequence[Component], positives: Sequence[Row], negatives: Sequence[Row], C: float
    ) -> None:
        self.C, self.n_positives = C, len(positives)
        self.cuts = np.cumsum([len(vector_of(one)) for one in components])[:-1]
        self.penalty = np.concatenate([penalties(one) for one in components])
        self.lowest = np.concatenate([lowest_allowed(one) for one in components])
        rows = [*positives, *negatives]
        self.rows_of = [
            np.array([i for i, row in enumerate(rows) if row.component == k], np.int64) for k in range(len(components))
        ]
        self.features = [
            np.stack([rows[i].features for i in which]) if len(which) else np.zeros((0, len(part)), np.float32)
            for which, part in zip(self.rows_of, np.split(self.penalty, self.cuts))
        ]
        numbers = {example: g for g, example in enumerate(dict.fromkeys(row.example for row in rows))}
        self.example = np.array([numbers[row.example] for row in rows], np.int64)
        self.sign = np.ones(len(numbers))
        self.sign[[numbers[row.example] for row in negatives]] = -1

    def scores(self, vector: np.ndarray) -> np.ndarray:
        """beta . Phi of every row, positives first; float64 ``(N,)``."""
        out = np.zeros(len(self.example))
        for which, features, weights in zip(self.rows_of, self.features, np.split(vector, self.cuts)):
            if len(which):
                out[which] = features @ weights.astype(np.float32)
        return out

    def without_negatives(self, vector: np.ndarray) -> float:
        """What the objective would be if no negative had a loss."""
        losses = np.maximum(0, 1 - self.scores(vector)[: self.n_positives])
        return float(0.5 * (self.penalty * vector) @ vector + self.C * losses.sum())

    def __call__(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """The objective and its gradient (of hinges and maxima: a subgradient)."""
        scores = self.scores(vector)
        best = best_rows(scores, self.example, len(self.sign))  # f(x) is the maximum over z
        margins = self.sign * scores[best]
        value = 0.5 * (self.penalty * vector) @ vector + self.C * np.maximum(0, 1 - margins).sum()
        pull = np.zeros(len(scores), np.float32)
        pull[best] = -self.C * self.sign * (margins < 1)
        slopes = []
        for which, features in zip(self.rows_of, self.features):
            pulling = np.flatnonzero(pull[which])
            slopes.append(pull[which][pulling] @ features[pulling])
        return float(value), self.penalty * vector + np.concatenate(slopes)


@njit(cache=True)
def best_rows(scores, example, n):
    """The row with the highest score of each of ``n`` examples; int64 ``(n,)``."""
    best = np.full(n, -1)
    for i in range(len(scores)):
        if best[example[i]] < 0 or scores[i] > scores[best[example[i]]]:
            best[example[i]] = i
    return best


def lowered(problem: Problem, start: np.ndarray, steps: int = 100) -> np.ndarray:
    """A vector where the objective is lower than at ``start``, after up to ``steps`` steps of L-BFGS with bounds.

    The quadratic weights of springs stay at or above a bound, so that they remain springs. Hinges have corners, at
    which L-BFGS may stop before the minimum; it never ends higher than it began.
    """
    options = {"maxiter": steps, "maxfun": 2 * steps, "maxcor": 10, "ftol": 1e-6, "gtol": 1e-8}
    bounds = Bounds(problem.lowest, np.inf)
    return minimize(problem, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x


def penalties(component: Component) -> np.ndarray:
    """How much each number of `vector_of` is regularized: templates 1, springs more, the bias not at all."""
    return per_number(component, 1.0, np.full(4, SPRING_WEIGHT), 0.0)


def lowest_allowed(component: Component) -> np.ndarray:
    """The lower bound of each number of `vector_of`."""
    return per_number(component, -np.inf, np.array([-np.inf, -np.inf, STIFFNESS_FROM, STIFFNESS_FROM]), -np.inf)


def per_number(component: Component, template: float, spring: np.ndarray, bias: float) -> np.ndarray:
    """One value for all templates, four for each spring and one for the bias, in the order of `vector_of`."""
    templates = np.full(component.root.size + component.parts.size, template)
    return np.concatenate([templates, np.tile(spring, len(component.parts)), [bias]])
