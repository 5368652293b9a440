"""FHOG against plain numpy, its own laws, and the places of edges in the pyramid."""

import numpy as np
import pytest
import skimage.data
from fhog_reference import plain_fhog

from course_utils import fhog as module
from course_utils.errors import CourseError, DataError
from course_utils.fhog import CHANNELS, FLIP, area_average, best_directions, feature_pyramid, fhog, flip_features
from course_utils.timing import limited_threads

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def photograph(name: str = "astronaut") -> np.ndarray:
    return np.ascontiguousarray(getattr(skimage.data, name)())


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


# ------------------------------------------------------------------------------------------------------- witnesses


def mean_of_areas(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every pixel repeated ``height`` x ``width`` times, then means of H x W of the copies."""
    before = image.shape[:2]
    rows = np.repeat(image.astype(np.float64), height, 0).reshape(height, before[0], before[1], 3).mean(1)
    return np.repeat(rows, width, 1).reshape(height, width, before[1], 3).mean(2)


# ------------------------------------------------------------------------------------------------------- features


@pytest.mark.parametrize("cell", [8, 4])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_equal_the_description(name, cell):
    image = photograph(name)
    np.testing.assert_allclose(fhog(image, cell), plain_fhog(image, cell), rtol=0, atol=2e-6)


@pytest.mark.parametrize("seed", range(12))
def test_noise_of_any_size_equals_the_description(seed):
    """Sides that are no multiples of a cell: rounded up, the last gradient is repeated; rounded down, pixels drop."""
    height, width, cell = np.random.default_rng(seed).integers((21, 21, 3), (70, 70, 9))
    image = noise(height, width, seed)
    np.testing.assert_allclose(fhog(image, cell), plain_fhog(image, cell), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ((1, 1), (0, 0)),
        ((4, 60), (0, 6)),
        ((19, 24), (0, 1)),
        ((20, 27), (1, 1)),
        ((27, 28), (1, 2)),
        ((64, 2), (6, 0)),
    ],
)
def test_two_cells_less_than_the_rounded_size(size, shape):
    assert fhog(noise(*size)).shape == (*shape, CHANNELS)


def test_float_images_give_the_same_numbers():
    image = photograph("chelsea")
    np.testing.assert_array_equal(fhog(image), fhog(image.astype(np.float32)))


def test_memory_order_does_not_matter_and_the_image_is_left_alone():
    image = photograph("chelsea")
    before, expected = image.copy(), fhog(image[:, ::-1].copy())
    np.testing.assert_array_equal(fhog(image[:, ::-1]), expected)
    np.testing.assert_array_equal(fhog(np.asfortranarray(image)[:, ::-1]), expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("direction", range(18))
def test_a_slope_votes_for_its_own_direction(direction):
    """Grey rising towards 20 o degrees, y down, so gently that nothing is clipped but the one direction itself."""
    y, x = np.mgrid[:40, :40]
    angle = np.radians(20 * direction)
    ramp = 128 + 2 * (np.cos(angle) * x + np.sin(angle) * y)
    features = fhog(np.repeat(ramp[:, :, None], 3, 2).astype(np.float32))
    for row in features.reshape(-1, CHANNELS):
        assert np.flatnonzero(row).tolist() == sorted([direction, 18 + direction % 9, 27, 28, 29, 30])
    np.testing.assert_allclose(features[..., [direction, 18 + direction % 9]], 0.4, atol=1e-6)


def test_the_channel_with_the_longest_gradient_counts():
    """Red rises to the right, green falls downwards twice as steeply: the sum would lie in between."""
    y, x = np.mgrid[:40, :40]
    image = np.stack([3 * x, 250 - 6 * y, 0 * x], 2).astype(np.uint8)
    magnitude, direction = best_directions(module.planes_of(image), module.COSINES, module.SINES)
    assert (magnitude[1:-1, 1:-1] == 12).all() and set(direction[1:-1, 1:-1].ravel()) <= {13, 14}  # 260 or 280 degrees
    assert not magnitude[[0, -1]].any() and not magnitude[:, [0, -1]].any()


# ----------------------------------------------------------------------------------------------------------- laws


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_bounds_and_sums(name):
    features = fhog(photograph(name))
    signed, unsigned, energies = features[..., :18], features[..., 18:27], features[..., 27:31]
    assert features.min() == 0 and not features[..., 31].any()
    assert 0.39 < signed.max() <= 0.4 + 1e-6 and unsigned.max() <= 0.4 + 1e-6
    assert energies.max() <= 0.2357 * 18 * 0.2 + 1e-6
    np.testing.assert_allclose(energies.sum(2), 2 * 0.2357 * signed.sum(2), rtol=0, atol=2e-6)
    assert (unsigned <= signed[..., :9] + signed[..., 9:] + 1e-6).all()
    assert (unsigned >= np.maximum(signed[..., :9], signed[..., 9:]) - 1e-6).all()


def test_brightness_does_not_matter_at_all_and_contrast_hardly():
    image = photograph().astype(np.float32)
    np.testing.assert_array_equal(fhog(image + 30), fhog(image))
    assert np.abs(fhog(image * 10) - fhog(image)).max() < 2e-3


def test_a_flat_picture_has_no_features():
    assert not fhog(np.full((64, 64, 3), 130, np.uint8)).any()


@pytest.mark.parametrize("cell", [8, 4])
def test_a_shift_by_a_cell_moves_features_by_one(cell):
    """But for the border, where the outermost pixels do not vote: two cells, as a normalizer reaches one further."""
    image = photograph("coffee")
    features, shifted = fhog(image, cell), fhog(image[cell:, cell:], cell)
    np.testing.assert_array_equal(shifted[1:-2, 1:-2], features[2:-2, 2:-2])


def test_the_first_entry_is_the_second_cell():
    """A small square in the middle of cell (3, 5) is seen most by entry (2, 4)."""
    image = np.full((80, 96, 3), 100, np.uint8)
    image[3 * 8 + 3 : 3 * 8 + 5, 5 * 8 + 3 : 5 * 8 + 5] = 200
    histograms = fhog(image)[..., :18].sum(2)
    assert np.unravel_index(histograms.argmax(), histograms.shape) == (2, 4)


@pytest.mark.parametrize("cell", [8, 4])
def test_the_mirrored_picture_has_the_mirrored_features(cell):
    """A little noise, because vertical gradients suit two directions equally well and the first is taken."""
    image = photograph()[:200, :240] + np.random.default_rng(0).normal(0, 0.1, (200, 240, 3))
    image = image.astype(np.float32)
    np.testing.assert_allclose(fhog(image[:, ::-1], cell), flip_features(fhog(image, cell)), rtol=0, atol=2e-6)


def test_flip_is_the_table_of_release_5():
    release = [10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 18, 17, 16, 15, 14, 13, 12, 11]
    release += [19, 27, 26, 25, 24, 23, 22, 21, 20, 30, 31, 28, 29, 32]
    assert (FLIP + 1).tolist() == release


def test_flipping_twice_gives_a_copy():
    features = np.random.default_rng(1).random((2, 3, 4, CHANNELS)).astype(np.float32)
    flipped = flip_features(features)
    assert flipped.flags.c_contiguous
    np.testing.assert_array_equal(flip_features(flipped), features)
    np.testing.assert_array_equal(flipped[1], flip_features(features[1]))
    before = features.copy()
    flipped[:] = 0
    np.testing.assert_array_equal(features, before)


# -------------------------------------------------------------------------------------------------------- pyramid


@pytest.mark.parametrize(
    ("size", "interval", "smallest", "levels"),
    [
        ((375, 500), 10, 5, 43),
        ((500, 375), 10, 5, 43),
        ((80, 80), 10, 5, 21),  # exactly one octave: roots at 0 to 10
        ((79, 200), 10, 5, 20),
        ((40, 40), 10, 5, 11),
        ((39, 400), 10, 5, 0),
        ((256, 256), 5, 5, 19),
        ((256, 256), 5, 8, 16),
    ],
)
def test_number_of_levels(size, interval, smallest, levels):
    assert len(feature_pyramid(noise(*size), interval=interval, smallest=smallest)) == levels


def test_the_last_level_holds_the_smallest_number_of_cells():
    for height, width in ((97, 130), (160, 81), (81, 81), (83, 400)):
        last = feature_pyramid(noise(height, width), interval=10, smallest=5)[-1]
        assert min(last.features.shape[:2]) == 5


@pytest.mark.parametrize("interval", [1, 3, 10])
def test_levels_are_the_features_of_the_scaled_picture(interval):
    """With cells of 4 px for the first levels, of 8 px from ``interval`` on, where the same pictures come again."""
    image = photograph("chelsea")[100:203, 100:251]
    levels = feature_pyramid(image, interval=interval)
    for number, level in enumerate(levels):
        i, cell = (number, 4) if number < interval else (number - interval, 8)
        height, width = (round(side / 2 ** (i / interval)) for side in image.shape[:2])
        scaled = mean_of_areas(image, height, width).astype(np.float32)
        inside = level.features[1:-1, 1:-1]
        # Means may differ by rounding, and rounding may decide between directions that suit equally well.
        assert np.quantile(np.abs(inside - fhog(scaled, cell)), 0.999) < 1e-5
        assert level.cell == pytest.approx((cell * 151 / width, cell * 103 / height))


def test_the_picture_itself_is_not_resampled():
    image = photograph("chelsea")
    levels = feature_pyramid(image, interval=4, pad=(2, 3))
    np.testing.assert_array_equal(levels[0].features[3:-3, 4:-4], fhog(image, 4))
    np.testing.assert_array_equal(levels[4].features[3:-3, 4:-4], fhog(image))


def test_uniform_areas_stay_uniform_at_all_sizes():
    """Differences of the size of float32's rounding would be enough to fill a cell."""
    for level in feature_pyramid(np.full((60, 75, 3), 201, np.uint8), interval=7):
        assert not level.features[..., :31].any()


def test_padding_is_nothing_but_truncation():
    for level in feature_pyramid(photograph("chelsea")[:90, :120], interval=3, pad=(2, 5)):
        inside = np.zeros(level.features.shape[:2], bool)
        inside[3:-3, 6:-6] = True
        assert not level.features[~inside, :31].any() and (level.features[~inside, 31] == 1).all()
        assert not level.features[inside, 31].any() and level.features[inside].any()


@pytest.mark.parametrize("place", [37, 100, 171])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_edge_is_at_the_same_pixel_in_all_levels(axis, place):
    """Cell (row, column) begins at pixel (row - py, column - px) times its size; cells next to the edge see it."""
    image = np.full((208, 272, 3), 50, np.uint8)
    image[(slice(place, None), slice(None))[:: 1 if axis == 0 else -1]] = 180
    pad, aside = (3, 6), []
    for level in feature_pyramid(image, interval=5, pad=pad):
        strength = level.features[..., 27:31].sum((2, 1 - axis))
        distance = np.arange(len(strength)) - pad[axis] + 0.5 - place / level.cell[1 - axis]  # of centres, in cells
        assert np.abs(distance[strength > 0]).max() < 1.3
        aside.append(np.average(distance, weights=strength))
    assert np.abs(aside).max() < 0.6 and abs(np.mean(aside)) < 0.15


def test_parts_are_found_where_their_root_is():
    """A square inside one root cell, at every level: the strongest part cell is one of the four of that root cell."""
    interval, (py, px) = 5, (2, 4)
    image = np.full((200, 320, 3), 90, np.uint8)
    image[108:116, 200:208] = 220
    levels = feature_pyramid(image, interval=interval, pad=(py, px))
    found = 0
    for number in range(interval, len(levels)):
        root, part = levels[number], levels[number - interval]
        assert np.allclose(np.divide(root.cell, part.cell), 2, rtol=0.02)
        for level in (root, part):
            strength = level.features[..., :18].sum(2)
            row, column = np.unravel_index(strength.argmax(), strength.shape)
            middle = (column - px + 0.5) * level.cell[0], (row - py + 0.5) * level.cell[1]
            assert np.abs(np.subtract(middle, (204, 112))).max() <= max(0.75 * max(level.cell), 8)
        root_place = [int(112 // root.cell[1]), int(204 // root.cell[0])]
        r, c = 2 * root_place[0] + py, 2 * root_place[1] + px  # 2 (row - py) + py with row = place + py
        found += part.features[r : r + 2, c : c + 2, 27:31].any()
    assert found == len(levels) - interval


def test_threads_do_not_change_the_result():
    image = noise(120, 150)
    with limited_threads(1):
        one = feature_pyramid(image, interval=4, pad=(1, 1))
    with limited_threads(2):
        two = feature_pyramid(image, interval=4, pad=(1, 1))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
        assert a.cell == b.cell


# ------------------------------------------------------------------------------------------------- scaling, errors


@pytest.mark.parametrize("size", [(60, 80), (59, 79), (30, 40), (37, 53), (7, 11), (1, 1), (60, 13)])
def test_scaling_takes_the_mean_of_areas(size):
    image = noise(60, 80)
    scaled = area_average(module.planes_of(image), *size).transpose(1, 2, 0)
    np.testing.assert_allclose(scaled, mean_of_areas(image, *size), rtol=0, atol=1e-4)


def test_scaling_equals_opencv():
    cv2 = pytest.importorskip("cv2", reason="opencv is only installed for the benchmarks")
    image = photograph("coffee")
    for height, width in ((373, 560), (200, 300), (97, 146)):
        expected = cv2.resize(image.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        scaled = area_average(module.planes_of(image), height, width).transpose(1, 2, 0)
        np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("function", [fhog, feature_pyramid])
@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64), np.uint8),
        np.zeros((64, 64, 4), np.uint8),
        np.zeros((0, 64, 3), np.uint8),
        np.zeros((64, 64, 3), np.float64),
        np.zeros((64, 64, 3), bool),
        np.full((64, 64, 3), np.nan, np.float32),
        [[1, 2, 3]],
    ],
)
def test_wrong_images_are_refused(function, image):
    with pytest.raises(DataError, match="FHOG wants"):
        function(image)


def test_other_wrong_arguments_are_refused():
    image = noise(64, 64)
    with pytest.raises(CourseError, match="cells of at least 2 px"):
        fhog(image, 1)
    for wrong in ({"interval": 0}, {"smallest": 0}, {"pad": (-1, 2)}, {"pad": (2, -1)}):
        with pytest.raises(CourseError, match="feature_pyramid"):
            feature_pyramid(image, **wrong)
    with pytest.raises(DataError, match="flip_features"):
        flip_features(np.zeros((3, 3, 31), np.float32))
