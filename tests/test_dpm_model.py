"""What a part model may be, its mirror image, and its way through tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from course_utils.dpm.model import Component, Mixture
from course_utils.errors import DataError


def component(*, parts=3, side=4, size=(5, 7), seed=0, predictor=True) -> Component:
    rng = np.random.default_rng(seed)
    deformations = rng.normal(size=(parts, 4))
    deformations[:, 2:] = 0.1 + np.abs(deformations[:, 2:])
    return Component(
        root=rng.normal(size=(*size, 32)).astype(np.float32),
        parts=rng.normal(size=(parts, side, side, 32)).astype(np.float32),
        anchors=rng.integers(0, 6, (parts, 2)),
        deformations=deformations.astype(np.float32),
        bias=float(rng.normal()),
        level_bias=rng.normal(size=3).astype(np.float32),
        box_predictor=rng.normal(size=(2 * parts + 3, 4)).astype(np.float32) if predictor else None,
    )


def test_tensors_bring_back_the_same_mixture():
    mixture = Mixture((component(), component(parts=0, predictor=False), component(seed=1)), -0.7, 6)
    tensors = mixture.tensors("cat.") | Mixture((component(),), 1.0, 3).tensors("catfish.")
    assert all(isinstance(value, torch.Tensor) for value in tensors.values())
    back = Mixture.from_tensors(tensors, "cat.")
    assert (back.threshold, back.interval, len(back.components)) == (-0.7, 6, 3)
    for one, other in zip(mixture.components, back.components, strict=True):
        for name, value in vars(one).items():
            again = getattr(other, name)
            if value is None:
                assert again is None
            else:
                assert np.array_equal(value, again) and np.asarray(value).dtype == np.asarray(again).dtype, name


def test_padding_is_the_largest_root():
    mixture = Mixture((component(size=(5, 7)), component(size=(8, 2))), 0.0)
    assert mixture.padding == (8, 7)


@pytest.mark.parametrize("parts", [0, 3])
def test_mirrored_twice_is_the_same(parts):
    one = component(parts=parts, predictor=False)
    twice = one.mirrored().mirrored()
    for name in ("root", "parts", "anchors", "deformations", "bias", "level_bias"):
        assert np.array_equal(getattr(one, name), getattr(twice, name)), name
    assert component(parts=parts).mirrored().box_predictor is None


def test_mirrored_anchors_count_from_the_other_side():
    one = replace(component(parts=2, side=6, size=(5, 7)), anchors=np.array([[0, 3], [8, 1]]))
    assert one.mirrored().anchors.tolist() == [[8, 3], [0, 1]]  # 14 cells of parts across the root


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("root", np.zeros((5, 7, 31), np.float32)),
        ("root", np.zeros((5, 32), np.float32)),
        ("root", np.full((5, 7, 32), np.nan, np.float32)),
        ("parts", np.zeros((3, 4, 5, 32), np.float32)),
        ("parts", np.zeros((4, 4, 32), np.float32)),
        ("anchors", np.zeros((2, 2), int)),
        ("deformations", np.ones((3, 3), np.float32)),
        ("deformations", np.array([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1]], np.float32)),
        ("level_bias", np.zeros(2, np.float32)),
        ("box_predictor", np.zeros((8, 4), np.float32)),
    ],
)
def test_what_does_not_fit_together_is_refused(field, value):
    with pytest.raises(DataError, match=r"positive" if value.shape == (3, 4) else field):
        replace(component(), **{field: value})
