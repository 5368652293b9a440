"""The distance transforms against all pairs of places, and against scipy's dilation, filters and distances."""

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt, grey_dilation, maximum_filter

from course_utils.distance_transform import bounded_distance_transform, bounded_envelope, distance_transform, envelope
from course_utils.errors import CourseError, DataError

BOTH = pytest.mark.parametrize("transform", [distance_transform, bounded_distance_transform])


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Responses float64 of a random size up to 24 x 24, and weights of both signs, weak and strong."""
    rng = np.random.default_rng(seed)
    f = rng.normal(size=rng.integers(1, 25, 2)) * rng.choice([0.1, 1, 10])
    return f, np.append(rng.normal(size=2) * 0.5, 10 ** rng.uniform(-3, 0.5, 2))


def cost(deformation: np.ndarray, dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    return deformation[0] * dx + deformation[1] * dy + deformation[2] * dx**2 + deformation[3] * dy**2


def all_pairs(f: np.ndarray, deformation: np.ndarray, reach: float = np.inf) -> np.ndarray:
    """Every place of the anchor with every place of the part."""
    y, x = (axis.ravel() for axis in np.indices(f.shape))
    dy, dx = y - y[:, None], x - x[:, None]  # part minus anchor: (anchor, part)
    values = f.ravel() - cost(deformation, dx, dy)
    return np.where((abs(dx) <= reach) & (abs(dy) <= reach), values, -np.inf).max(1).reshape(f.shape)


def dilation(f: np.ndarray, deformation: np.ndarray, reach: int) -> np.ndarray:
    """scipy subtracts the displacement where we add it: hence the reversal."""
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    structure = -cost(deformation, dx, dy)[::-1, ::-1]
    return grey_dilation(f, structure=structure, mode="constant", cval=-1e9)


# --------------------------------------------------------------------------------------------------- one dimension


@pytest.mark.parametrize("seed", range(40))
def test_envelope_equals_all_pairs(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 50))
    f = rng.normal(size=n) * 3 if seed % 4 else rng.integers(-3, 4, n).astype(float)  # whole numbers have ties
    linear, quadratic = rng.normal(), 10 ** rng.uniform(-3, 1)
    d = np.arange(n) - np.arange(n)[:, None]
    expected = (f - linear * d - quadratic * d**2).max(1)
    values, argmax = envelope(f, linear, quadratic)
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    d = argmax - np.arange(n)
    np.testing.assert_allclose(f[argmax] - linear * d - quadratic * d**2, expected, rtol=0, atol=1e-12)


def test_envelope_by_hand():
    """One peak of 10 at place 1; a step to the right costs 1 - 3, a step to the left 1 + 3."""
    values, argmax = envelope(np.array([0.0, 10.0, 0.0, 0.0]), 3.0, 1.0)
    assert values.tolist() == [10 - 3 - 1, 10, 10 + 3 - 1, 10 + 6 - 4]
    assert argmax.tolist() == [1, 1, 1, 1]


def test_envelope_follows_a_hill_and_leaves_it_for_a_higher_one():
    """Costs (p - q)^2 / 4 and peaks 0 and 2 at places 0 and 8 cross at q = 3."""
    f = np.full(9, -100.0)
    f[0], f[8] = 0.0, 2.0
    assert envelope(f, 0.0, 0.25)[1].tolist() == [0, 0, 0] + [envelope(f, 0.0, 0.25)[1][3]] + [8] * 5
    assert envelope(f, 0.0, 0.25)[0][3] == -9 / 4 == 2 - 25 / 4 + 2


@pytest.mark.parametrize("reach", [0, 1, 4, 30])
def test_bounded_envelope_equals_all_pairs(reach):
    rng = np.random.default_rng(reach)
    for n in (1, 2, 5, 24):
        f = rng.normal(size=n).astype(np.float32)
        d = np.arange(n) - np.arange(n)[:, None]
        expected = np.where(abs(d) <= reach, f + 0.3 * d - 0.05 * d**2, -np.inf)
        values, argmax = bounded_envelope(f, -0.3, 0.05, reach)
        np.testing.assert_allclose(values, expected.max(1), rtol=0, atol=1e-6)
        np.testing.assert_array_equal(argmax, expected.argmax(1))


# -------------------------------------------------------------------------------------------------- two dimensions


@pytest.mark.parametrize("seed", range(25))
def test_both_equal_all_pairs_and_their_tables_lead_to_the_values(seed):
    f, deformation = random_case(seed)
    y, x = np.indices(f.shape)
    for reach, result in (
        (np.inf, distance_transform(f, deformation)),
        (4, bounded_distance_transform(f, deformation)),
        (2, bounded_distance_transform(f, deformation, reach=2)),
    ):
        values, rows, columns = result
        assert values.dtype == np.float32 and rows.dtype == columns.dtype == np.int32
        scale = 1 + np.abs(values).max()
        np.testing.assert_allclose(values, all_pairs(f, deformation, reach), rtol=0, atol=2e-6 * scale)
        found = f[rows, columns] - cost(deformation, columns - x, rows - y)
        np.testing.assert_allclose(values, found, rtol=0, atol=2e-6 * scale)
        assert (abs(rows - y) <= reach).all() and (abs(columns - x) <= reach).all()


@pytest.mark.parametrize("seed", range(5))
def test_equal_scipy_s_dilation_with_the_structure_reversed(seed):
    rng = np.random.default_rng(seed)
    f, deformation = rng.normal(size=(23, 31)), np.array([0.2, -0.1, 0.03, 0.05])
    np.testing.assert_allclose(bounded_distance_transform(f, deformation)[0], dilation(f, deformation, 4), atol=2e-6)
    np.testing.assert_allclose(distance_transform(f, deformation)[0], dilation(f, deformation, 31), atol=2e-6)


def test_hardly_any_cost_is_a_maximum_filter():
    f = np.random.default_rng(1).normal(size=(20, 33))
    values, _, _ = bounded_distance_transform(f, np.array([0, 0, 1e-9, 1e-9]))
    np.testing.assert_allclose(values, maximum_filter(f, size=9, mode="constant", cval=-1e9), rtol=0, atol=1e-6)


def test_on_a_picture_of_points_it_is_the_squared_distance_to_the_nearest():
    points = np.random.default_rng(2).random((40, 50)) < 0.02
    values, rows, columns = distance_transform(np.where(points, 0.0, -1e7), np.array([0, 0, 1.0, 1.0]))
    np.testing.assert_allclose(-values, distance_transform_edt(~points) ** 2, rtol=1e-6)
    assert points[rows, columns].all()


def test_equals_unfolded_windows_of_torch():
    """Windows of 9 x 9 around each anchor, cost subtracted, largest taken."""
    f, deformation = np.random.default_rng(3).normal(size=(12, 17)).astype(np.float32), np.array([0.3, 0.1, 0.02, 0.04])
    dy, dx = np.mgrid[-4:5, -4:5]
    padded = torch.nn.functional.pad(torch.from_numpy(f), (4, 4, 4, 4), value=-1e9)
    windows = padded.unfold(0, 9, 1).unfold(1, 9, 1) - torch.from_numpy(cost(deformation, dx, dy))
    values, rows, columns = bounded_distance_transform(f, deformation)
    np.testing.assert_allclose(values, windows.amax((2, 3)), rtol=0, atol=1e-6)
    best = windows.flatten(2).argmax(2).numpy()
    np.testing.assert_array_equal(rows - np.arange(12)[:, None], best // 9 - 4)
    np.testing.assert_array_equal(columns - np.arange(17), best % 9 - 4)


@BOTH
def test_a_mirrored_map_with_mirrored_springs_gives_the_mirrored_result(transform):
    f, deformation = np.random.default_rng(4).normal(size=(9, 14)), np.array([0.4, -0.2, 0.05, 0.1])
    values, rows, columns = transform(f, deformation)
    mirrored, mirrored_rows, mirrored_columns = transform(f[:, ::-1], deformation * [-1, 1, 1, 1])
    np.testing.assert_allclose(mirrored[:, ::-1], values, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(mirrored_rows[:, ::-1], rows)
    np.testing.assert_array_equal(13 - mirrored_columns[:, ::-1], columns)


def test_stiff_springs_hold_parts_at_their_anchors():
    f = np.random.default_rng(5).normal(size=(7, 8)).astype(np.float32)
    values, rows, columns = distance_transform(f, np.array([0, 0, 100.0, 100.0]))
    np.testing.assert_array_equal(values, f)
    np.testing.assert_array_equal(np.stack([rows, columns]), np.indices(f.shape))


@BOTH
@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (1, 1), (1, 6), (6, 1)])
def test_small_and_empty_maps(transform, shape):
    f, deformation = np.ones(shape), np.array([0.0, 0, 1, 1])
    values, rows, columns = transform(f, deformation)
    assert values.shape == rows.shape == columns.shape == shape
    np.testing.assert_array_equal(values, f)


@BOTH
def test_any_float_type_and_memory_order_and_f_is_left_alone(transform):
    f, deformation = np.random.default_rng(6).normal(size=(8, 11)).astype(np.float32), np.array([0.1, 0, 0.1, 0.2])
    before, expected = f.copy(), transform(f, deformation)
    for other in (np.asfortranarray(f), f.astype(np.float64), np.repeat(f, 2, axis=1)[:, ::2], f.tolist()):
        for a, b in zip(transform(other, deformation.astype(np.float32)), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(f, before)


@BOTH
@pytest.mark.parametrize(
    ("f", "deformation"),
    [
        (np.zeros(5), [0, 0, 1, 1]),
        (np.zeros((2, 3, 4)), [0, 0, 1, 1]),
        (np.full((3, 3), np.nan), [0, 0, 1, 1]),
        (np.full((3, 3), -np.inf), [0, 0, 1, 1]),
        (np.zeros((3, 3)), [0, 0, 0, 1]),
        (np.zeros((3, 3)), [0, 0, 1, -0.1]),
        (np.zeros((3, 3)), [0, 0, np.nan, 1]),
        (np.zeros((3, 3)), [0, np.inf, 1, 1]),
        (np.zeros((3, 3)), [1, 1]),
    ],
)
def test_wrong_input_is_refused(transform, f, deformation):
    with pytest.raises(DataError, match=r"distance transform wants"):
        transform(f, np.array(deformation, np.float64))


def test_an_envelope_without_curvature_is_refused():
    for quadratic in (0.0, -1.0):
        with pytest.raises(DataError, match="positive quadratic weight"):
            envelope(np.zeros(3), 0.0, quadratic)


def test_a_negative_reach_is_refused():
    with pytest.raises(CourseError, match="reach >= 0"):
        bounded_distance_transform(np.zeros((3, 3)), np.array([0, 0, 1.0, 1.0]), reach=-1)
