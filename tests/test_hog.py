"""HoG against OpenCV, against the formula written out pixel by pixel, and against its own symmetries."""

import numpy as np
import pytest
import skimage.data
import skimage.feature
import torch
from PIL import Image
from scipy.signal import correlate as scipy_correlate

from course_utils import hog as module
from course_utils.errors import CourseError, DataError
from course_utils.hog import (
    block_histograms,
    cell_profiles,
    cell_weights,
    draw_glyphs,
    gradients,
    hog,
    l2_hys,
    level_sizes,
    pyramid,
    score,
    window_boxes,
)
from course_utils.timing import limited_threads

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")


def photograph(name: str = "astronaut") -> np.ndarray:
    return np.ascontiguousarray(getattr(skimage.data, name)())


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def people_template() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(15, 7, 36)).astype(np.float32)


# ------------------------------------------------------------------------------------------------------- witnesses


@pytest.fixture(scope="module")
def cv2():
    return pytest.importorskip("cv2", reason="opencv is only installed for the benchmarks")


def opencv_hog(cv2, image: np.ndarray, sigma: float) -> np.ndarray:
    """All twelve arguments: with fewer, whether the square root is taken depends on OpenCV's version."""
    rows, columns = (side // 8 - 1 for side in image.shape[:2])
    size = (8 * columns + 8, 8 * rows + 8)
    descriptor = cv2.HOGDescriptor(size, (16, 16), (8, 8), (8, 8), 9, 1, sigma, 0, 0.2, False, 64, False)
    blocks = descriptor.compute(image, (8, 8), (0, 0), ((0, 0),)).reshape(columns, rows, 2, 2, 9)
    return blocks.transpose(1, 0, 3, 2, 4).reshape(rows, columns, 36)


@pytest.mark.parametrize("sigma", [8.0, 4.0])
@pytest.mark.parametrize("size", [(16, 16), (64, 48), (75, 101), (31, 127)])
def test_random_pictures_give_opencvs_descriptor(cv2, size, sigma):
    image = noise(*size, seed=sum(size))
    np.testing.assert_allclose(hog(image, sigma=sigma), opencv_hog(cv2, image, sigma), rtol=0, atol=1e-3)


@pytest.mark.parametrize("sigma", [8.0, 4.0])
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_give_opencvs_descriptor(cv2, name, sigma):
    """OpenCV's fast arc tangent is off by up to .01 degrees, which one block in 4,000 shows at more than 1e-3."""
    image = photograph(name)
    error = np.abs(hog(image, sigma=sigma) - opencv_hog(cv2, image, sigma))
    assert error.max() < 1.5e-3
    assert (error > 1e-3).mean() < 1e-5


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_with_opencvs_arc_tangent_the_descriptors_are_equal(cv2, monkeypatch, name):
    dy, dx = np.mgrid[:256, -255:256].astype(np.float32)
    monkeypatch.setattr(module, "ANGLES", np.degrees(cv2.cartToPolar(dx, dy)[1]))
    image = photograph(name)[:-3, :-5]
    np.testing.assert_allclose(hog(image, sigma=4), opencv_hog(cv2, image, 4.0), rtol=0, atol=1e-5)


def test_one_size_gives_opencvs_scores_for_every_window(cv2):
    """The people detector's weights, which OpenCV orders column by column, as our template."""
    image = photograph("chelsea")
    weights = np.ravel(cv2.HOGDescriptor_getDefaultPeopleDetector())
    template = weights[:-1].reshape(7, 15, 2, 2, 9).transpose(1, 0, 3, 2, 4).reshape(15, 7, 36)
    detector = cv2.HOGDescriptor((64, 128), (16, 16), (8, 8), (8, 8), 9, 1, 4.0, 0, 0.2, False, 64, False)
    detector.setSVMDetector(weights)
    corners, expected = detector.detect(image, hitThreshold=-1e9, winStride=(8, 8), padding=(0, 0))
    scores = score(hog(image, sigma=4.0), template) + weights[-1]
    assert len(corners) == scores.size
    np.testing.assert_allclose(scores[corners[:, 1] // 8, corners[:, 0] // 8], np.ravel(expected), rtol=0, atol=2e-3)


def slow_hog(image: np.ndarray, sigma: float) -> np.ndarray:
    """The formula in float64: one block, one pixel, one cell, one bin at a time."""
    height, width = image.shape[:2]
    mirrored = np.pad(image.astype(float), ((1, 1), (1, 1), (0, 0)), mode="reflect")
    blocks = np.zeros((height // 8 - 1, width // 8 - 1, 2, 2, 9))
    for row, column in np.ndindex(blocks.shape[:2]):
        for p, q in np.ndindex(16, 16):
            y, x = 8 * row + p, 8 * column + q
            dx, dy = mirrored[y + 1, x + 2] - mirrored[y + 1, x], mirrored[y + 2, x + 1] - mirrored[y, x + 1]
            channel = np.argmax(dx**2 + dy**2)
            dx, dy = dx[channel], dy[channel]
            theta = np.degrees(np.arctan2(dy, dx))
            for i, j, k in np.ndindex(2, 2, 9):
                apart = abs(theta - (20 * k + 10)) % 180
                blocks[row, column, i, j, k] += (
                    np.hypot(dx, dy)
                    * max(0, 1 - min(apart, 180 - apart) / 20)
                    * max(0, 1 - abs(p + 0.5 - (8 * i + 4)) / 8)
                    * max(0, 1 - abs(q + 0.5 - (8 * j + 4)) / 8)
                    * np.exp(-((p - 8) ** 2 + (q - 8) ** 2) / (2 * sigma**2))
                )
        v = blocks[row, column]
        v /= np.sqrt((v**2).sum()) + 0.1 * 36
        v[v > 0.2] = 0.2
        v /= np.sqrt((v**2).sum()) + 1e-3
    return blocks.reshape(*blocks.shape[:2], 36)


@pytest.mark.parametrize("sigma", [8.0, 4.0])
@pytest.mark.parametrize("kind", ["noise", "photograph", "faint"])
def test_the_formula_written_out_gives_the_same(kind, sigma):
    image = {
        "noise": noise(37, 44, seed=3),
        "photograph": photograph()[90:131, 200:238],
        "faint": (noise(33, 26, seed=4) // 64 + 100).astype(np.uint8),  # short gradients: the epsilons matter
    }[kind]
    np.testing.assert_allclose(hog(image, sigma=sigma), slow_hog(image, sigma), rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_scikit_images_hog_is_another_algorithm_of_the_same_name(name):
    image = photograph(name)
    theirs = skimage.feature.hog(
        image, 9, (8, 8), (2, 2), block_norm="L2-Hys", feature_vector=False, channel_axis=2
    ).reshape(hog(image).shape)
    assert 0.8 < np.corrcoef(theirs.ravel(), hog(image).ravel())[0, 1] < 0.95
    assert np.abs(theirs - hog(image)).max() > 0.3


# -------------------------------------------------------------------------------------------------------- gradients


def test_gradients_are_numpys_of_the_strongest_channel():
    image = noise(40, 53, seed=1)
    dy, dx = (2 * g for g in np.gradient(image.astype(float), axis=(0, 1)))
    lengths = np.hypot(dx, dy)[1:-1, 1:-1]
    channel = lengths.argmax(2)[..., None]
    pick = [np.take_along_axis(a, channel, 2)[..., 0] for a in (lengths, dx[1:-1, 1:-1], dy[1:-1, 1:-1])]
    magnitude, orientation = gradients(image)
    assert magnitude.shape == orientation.shape == (40, 53)
    assert magnitude.dtype == orientation.dtype == np.float32
    np.testing.assert_allclose(magnitude[1:-1, 1:-1], pick[0], rtol=1e-6)
    apart = (orientation[1:-1, 1:-1] - np.degrees(np.arctan2(pick[2], pick[1])) + 90) % 180 - 90
    assert np.abs(apart[pick[0] > 0]).max() < 1e-4
    assert orientation.min() >= 0 and orientation.max() <= 180


def test_the_difference_across_the_border_is_zero_and_the_one_along_it_counts():
    y, x = np.mgrid[:20, :30]
    image = np.repeat((3 * x + 5 * y).astype(np.uint8)[..., None], 3, 2)
    magnitude, orientation = gradients(image)
    np.testing.assert_allclose(magnitude[1:-1, 1:-1], 2 * np.hypot(3, 5), rtol=1e-6)
    for border in (np.s_[0, 1:-1], np.s_[-1, 1:-1]):  # only dx is left
        np.testing.assert_allclose(magnitude[border], 6)
        np.testing.assert_allclose(orientation[border], 0)
    for border in (np.s_[1:-1, 0], np.s_[1:-1, -1]):  # only dy is left
        np.testing.assert_allclose(magnitude[border], 10)
        np.testing.assert_allclose(orientation[border], 90)
    assert magnitude[[0, 0, -1, -1], [0, -1, 0, -1]].max() == 0


def test_each_channel_is_looked_at_and_none_is_mixed_with_another():
    for channel in range(3):
        image = np.full((20, 20, 3), 128, np.uint8)
        image[:, 10:, channel] += 40  # an upright edge in one channel...
        image[10:, :, (channel + 1) % 3] += 30  # ... and a weaker level one in another
        magnitude, orientation = gradients(image)
        assert (magnitude[10, 10], orientation[10, 10]) == (40, 0)
        assert (magnitude[10, 4], orientation[10, 4]) == (30, 90)


@pytest.mark.parametrize("k", range(9))
def test_a_ramp_falls_into_the_bin_of_its_direction_and_half_way_into_two(k):
    def votes(degrees: float) -> np.ndarray:
        y, x = np.mgrid[:48, :48] - 24.0
        theta = np.radians(degrees)
        ramp = np.round(128 + 3.6 * (x * np.cos(theta) + y * np.sin(theta))).astype(np.uint8)
        magnitude, orientation = gradients(np.repeat(ramp[..., None], 3, 2))
        histogram = block_histograms(magnitude, orientation, cell_profiles(8))[2, 2].sum((0, 1))
        return histogram / histogram.sum()

    assert votes(20 * k + 10).argmax() == k
    assert votes(20 * k + 10)[k] > 0.7  # rounding to whole grey levels turns some gradients a little
    between = votes(20 * k + 20)
    assert set(between.argsort()[-2:]) == {k, (k + 1) % 9}
    assert between.max() < 0.65


# ------------------------------------------------------------------------------------------------ parts and symmetries


def test_profiles_are_bilinear_weight_times_gaussian():
    flat = cell_profiles(1e6)
    assert flat.shape == (2, 16) and flat.dtype == np.float32
    np.testing.assert_allclose(flat[0], flat[1, ::-1], rtol=1e-5)
    np.testing.assert_allclose(flat[:, 4:12].sum(0), 1, rtol=1e-6)  # between the centres nothing is lost
    np.testing.assert_allclose(flat[0, :4], [0.5625, 0.6875, 0.8125, 0.9375], rtol=1e-6)
    assert flat[0, 12:].max() == 0
    np.testing.assert_allclose(cell_profiles(4.0)[0, 2] / flat[0, 2], np.exp(-36 / 32), rtol=1e-5)


def test_l2_hys_clips_and_has_length_one():
    blocks = np.random.default_rng(2).uniform(0, 1000, (4, 5, 2, 2, 9)).astype(np.float32) ** 2
    before = blocks.copy()
    v = l2_hys(blocks)
    assert v.shape == (4, 5, 36) and v.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(v, axis=2), 1, atol=2e-3)
    unclipped = blocks.reshape(4, 5, 36) / np.linalg.norm(blocks.reshape(4, 5, 36), axis=2, keepdims=True)
    for mine, plain in zip(v.reshape(-1, 36), unclipped.reshape(-1, 36)):
        assert np.ptp(mine[plain > 0.2001]) < 1e-6 and (plain > 0.2001).any()
    np.testing.assert_array_equal(blocks, before)
    assert not l2_hys(np.zeros((1, 1, 2, 2, 9), np.float32)).any()


def test_a_flat_picture_has_no_features():
    assert not hog(np.full((40, 40, 3), 77, np.uint8)).any()


def test_a_mirrored_picture_has_the_permuted_features():
    """Not to the last digit: OpenCV's Gaussian is centred half a pixel off, so with a wide one only."""
    image = photograph()[:128, :96]
    mirrored = hog(np.ascontiguousarray(image[:, ::-1]), sigma=1e6).reshape(15, 11, 2, 2, 9)
    expected = hog(image, sigma=1e6).reshape(15, 11, 2, 2, 9)[:, ::-1, :, ::-1, ::-1]
    np.testing.assert_allclose(mirrored, expected, rtol=0, atol=1e-5)


def test_a_picture_turned_upside_down_has_the_permuted_features():
    image = photograph()[:128, :96]
    turned = hog(np.ascontiguousarray(image[::-1]), sigma=1e6).reshape(15, 11, 2, 2, 9)
    expected = hog(image, sigma=1e6).reshape(15, 11, 2, 2, 9)[::-1, :, ::-1, :, ::-1]
    np.testing.assert_allclose(turned, expected, rtol=0, atol=1e-5)


def test_a_shift_by_a_cell_shifts_the_features_by_a_block():
    image = photograph()
    whole, shifted = hog(image[:200, :240]), hog(image[8:200, 16:240])
    np.testing.assert_array_equal(shifted[1:, 1:], whole[2:, 3:])  # blocks at the new border see other neighbours
    assert np.abs(shifted[0] - whole[1, 2:]).max() > 1e-3


def test_brightness_changes_nothing_and_contrast_only_against_the_epsilons():
    image = photograph() // 4
    np.testing.assert_array_equal(hog(image), hog(image + 60))
    strong, faint = noise(64, 64) // 2, noise(64, 64) // 128
    np.testing.assert_allclose(hog(strong), hog(2 * strong), rtol=0, atol=5e-3)
    assert np.abs(hog(faint) - hog(2 * faint)).max() > 5e-3


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (15, 40), (16, 15), (2, 2), (7, 16), (16, 16), (24, 31)])
def test_pictures_too_small_for_a_block_have_none(size):
    features = hog(noise(*size))
    assert features.shape == (max(size[0] // 8 - 1, 0), max(size[1] // 8 - 1, 0), 36)
    assert features.dtype == np.float32


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a[:, ::-1],
        lambda a: a[::2, ::2],
        lambda a: np.asfortranarray(a),
        lambda a: np.ascontiguousarray(a.transpose(2, 0, 1)).transpose(1, 2, 0),
        lambda a: np.asarray(Image.fromarray(a)),  # read-only
    ],
)
def test_any_memory_layout_is_the_same_picture_and_stays_as_it_was(view):
    image = view(noise(80, 88, seed=8))
    before = image.copy()
    np.testing.assert_array_equal(hog(image), hog(np.ascontiguousarray(image)))
    ours, plain = (pyramid(a, (32, 32), step=1.2) for a in (image, np.ascontiguousarray(image)))
    np.testing.assert_array_equal(ours[1].features, plain[1].features)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((40, 40), np.uint8),
        np.zeros((40, 40, 4), np.uint8),
        np.zeros((3, 40, 40), np.uint8),
        np.zeros((40, 40, 3), np.float32),
        np.zeros((0, 40, 3), np.uint8),
        torch.zeros((40, 40, 3), dtype=torch.uint8),
        Image.new("RGB", (40, 40)),
    ],
)
@pytest.mark.parametrize("function", [hog, gradients, lambda image: pyramid(image, (16, 16))])
def test_anything_but_a_uint8_rgb_array_is_refused(function, image):
    with pytest.raises(DataError, match=r"uint8 array \(H, W, 3\), RGB; got "):
        function(image)


# -------------------------------------------------------------------------------------------------- score and windows


@pytest.mark.parametrize("shape", [(15, 7), (1, 1), (3, 20), (20, 30), (5, 5)])
@pytest.mark.parametrize("depth", [36, 32, 5])
def test_scores_are_each_windows_dot_product(shape, depth):
    rng = np.random.default_rng(shape[0])
    features = rng.normal(size=(20, 30, depth)).astype(np.float32)
    template = rng.normal(size=(*shape, depth)).astype(np.float32)
    scores = score(features, template)
    assert scores.shape == (21 - shape[0], 31 - shape[1]) and scores.dtype == np.float32
    brute = [
        [(features[i : i + shape[0], j : j + shape[1]].astype(float) * template).sum() for j in range(scores.shape[1])]
        for i in range(scores.shape[0])
    ]
    np.testing.assert_allclose(scores, brute, rtol=0, atol=2e-3)
    np.testing.assert_allclose(
        scores, scipy_correlate(features.astype(float), template, "valid")[..., 0], rtol=0, atol=2e-3
    )


def test_a_template_that_does_not_fit_has_no_window():
    features, template = np.zeros((5, 9, 36), np.float32), np.zeros((6, 4, 36), np.float32)
    assert score(features, template).shape == (0, 6)
    assert score(features[:, :2], template[:3]).shape == (3, 0)
    assert score(hog(noise(9, 9)), template).shape == (0, 0)


def test_score_takes_any_layout_and_float64_templates():
    rng = np.random.default_rng(0)
    features, template = rng.normal(size=(8, 9, 36)), rng.normal(size=(3, 2, 36))
    plain = score(features.astype(np.float32), template.astype(np.float32))
    np.testing.assert_allclose(score(np.asfortranarray(features), template), plain, atol=1e-4)
    np.testing.assert_allclose(score(features[:, ::-1], template[:, ::-1])[:, ::-1], plain, atol=1e-4)


@pytest.mark.parametrize("shapes", [((5, 5, 36), (2, 2, 9)), ((5, 5), (2, 2)), ((5, 5, 36), (0, 2, 36))])
def test_score_refuses_shapes_that_do_not_go_together(shapes):
    with pytest.raises(DataError, match="same D"):
        score(*(np.zeros(shape, np.float32) for shape in shapes))


def test_a_windows_score_is_that_of_its_crop_if_the_crop_keeps_its_neighbours():
    """Gradients at a crop's border need the pixel beyond; so cut out one pixel more, or a whole cell more."""
    image, template = photograph(), people_template()
    scores = score(hog(image), template)
    for row, column in [(1, 1), (10, 20), (scores.shape[0] - 2, scores.shape[1] - 2)]:
        y, x = 8 * row, 8 * column
        magnitude, orientation = (a[1:-1, 1:-1] for a in gradients(image[y - 1 : y + 129, x - 1 : x + 65]))
        by_pixel = l2_hys(block_histograms(magnitude, orientation, cell_profiles(8)))
        by_cell = hog(image[y - 8 : y + 136, x - 8 : x + 72])[1:-1, 1:-1]
        np.testing.assert_array_equal(by_pixel, by_cell)
        np.testing.assert_allclose((by_cell * template).sum(), scores[row, column], atol=1e-4)
        bare = hog(image[y : y + 128, x : x + 64])
        assert abs((bare * template).sum() - scores[row, column]) > 1e-3
        np.testing.assert_array_equal(bare[1:-1, 1:-1], by_cell[1:-1, 1:-1])


def test_boxes_of_windows_lie_on_the_picture_and_the_last_touches_its_edge():
    image = noise(240, 320)
    template = people_template()[:5, :4]
    for level in pyramid(image, (56, 48), step=1.3):
        scores = score(level.features, template)
        boxes = window_boxes(*np.indices(scores.shape).reshape(2, -1), template.shape[:2], level.scale)
        assert boxes.dtype == torch.float32 and boxes.shape == (scores.size, 4)
        sx, sy = level.scale
        np.testing.assert_allclose(boxes[0], [0, 0, 40 * sx, 48 * sy], rtol=1e-6)
        np.testing.assert_allclose(boxes[1] - boxes[0], [8 * sx, 0, 8 * sx, 0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(boxes[scores.shape[1]] - boxes[0], [0, 8 * sy, 0, 8 * sy], rtol=1e-5, atol=1e-5)
        edge = boxes.amax(0)[2:].numpy() / (320, 240)
        assert (edge <= 1 + 1e-6).all() and (edge > 1 - 8 * np.array([sx / 320, sy / 240])).all()
    exact = pyramid(image, (48, 40))[0]
    last = score(exact.features, template).shape
    np.testing.assert_array_equal(
        window_boxes(np.array([last[0] - 1]), np.array([last[1] - 1]), (5, 4), exact.scale), [[280, 192, 320, 240]]
    )
    assert window_boxes(np.zeros(0), np.zeros(0), (5, 4), (1, 1)).shape == (0, 4)


# ----------------------------------------------------------------------------------------------------------- pyramid


def test_level_sizes_go_down_to_the_window_and_include_it():
    sizes = level_sizes((512, 512), (128, 64), 1.05)
    assert len(sizes) == 29 and sizes[0] == (512, 512) and sizes[-1] == (131, 131)
    assert sizes == [(round(512 / 1.05**i), round(512 / 1.05**i)) for i in range(29)]
    assert level_sizes((200, 100), (50, 25), 2) == [(200, 100), (100, 50), (50, 25)]
    assert level_sizes((200, 100), (51, 25), 2) == [(200, 100), (100, 50)]
    assert level_sizes((200, 100), (50, 26), 2) == [(200, 100), (100, 50)]
    assert level_sizes((200, 100), (150, 20), 2, upsample=2) == [(400, 200), (200, 100)]
    assert level_sizes((127, 500), (128, 64), 1.05) == []


def test_levels_are_hog_of_the_resized_picture_with_the_true_scales():
    image = photograph()[:300, :401]
    levels = pyramid(image, (64, 64), step=1.3, upsample=1.5, sigma=4)
    sizes = level_sizes((300, 401), (64, 64), 1.3, 1.5)
    assert len(levels) == len(sizes) == 8
    for level, (height, width) in zip(levels, sizes):
        assert level.scale == (401 / width, 300 / height)
        resized = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        expected = hog(resized, sigma=4)
        assert level.features.shape == expected.shape
        # One grey level more or less turns short gradients, so the two agree on the whole, not everywhere.
        assert np.corrcoef(level.features.ravel(), expected.ravel())[0, 1] > 0.995
    np.testing.assert_array_equal(pyramid(image, (64, 64))[0].features, hog(image))


def test_resizing_is_pillows_to_one_grey_level(monkeypatch):
    image, seen = photograph("coffee"), []
    monkeypatch.setattr(module, "hog", lambda picture, sigma: seen.append(picture.copy()))
    with limited_threads(1):
        pyramid(image, (100, 100), step=1.4)
    assert len(seen) == 5
    for picture in seen:
        theirs = np.asarray(Image.fromarray(image).resize(picture.shape[1::-1], Image.Resampling.BILINEAR))
        assert np.abs(theirs.astype(int) - picture).max() <= 1


def test_fine_stripes_do_not_turn_into_false_edges():
    image = np.zeros((256, 256, 3), np.uint8)
    image[:, ::2] = 255  # finer than the pixels of the small levels
    small = pyramid(image, (40, 40), step=3.1)[-1]
    magnitude = gradients(image)[0]
    assert magnitude.max() == 0  # equal neighbours on both sides
    assert np.abs(small.features).max() < 0.7
    image[:, ::2], image[:, 1::2] = 120, 121
    assert np.abs(pyramid(image, (40, 40), step=3.1)[-1].features).max() < 0.7


def test_threads_change_nothing():
    image = photograph("coffee")
    results = []
    for threads in (1, 2):
        with limited_threads(threads):
            results.append(pyramid(image, (128, 64), step=1.2))
    assert len(results[0]) == len(results[1])
    for one, two in zip(*results):
        np.testing.assert_array_equal(one.features, two.features)
        assert one.scale == two.scale


def test_no_more_threads_than_allowed_work_at_a_time(monkeypatch):
    asked = []

    class Pool(module.ThreadPoolExecutor):
        def __init__(self, workers):
            asked.append(workers)
            super().__init__(workers)

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    for threads in (1, 2):
        with limited_threads(threads):
            pyramid(noise(64, 64), (32, 32))
    assert asked == [1, 2]


def test_a_known_pattern_is_found_at_another_size():
    """The template is the pattern's own features; pasted 1.5 times as large, the best window lies on it."""
    pattern = photograph()[50:178, 180:276]  # a face, 128 x 96 px
    template = hog(pattern) - hog(pattern).mean()
    scene = photograph("coffee").copy()
    large = np.asarray(Image.fromarray(pattern).resize((144, 192), Image.Resampling.BILINEAR))
    scene[150:342, 300:444] = large
    best = (-np.inf, None)
    for level in pyramid(scene, (128, 96)):
        scores = score(level.features, template)
        at = np.unravel_index(scores.argmax(), scores.shape)
        if scores[at] > best[0]:
            best = (scores[at], window_boxes([at[0]], [at[1]], template.shape[:2], level.scale)[0])
    np.testing.assert_allclose(best[1], [300, 150, 444, 342], atol=8)


@pytest.mark.parametrize("wrong", [{"step": 1.0}, {"step": 0.9}, {"upsample": 0}, {"window": (0, 64)}])
def test_a_pyramid_without_end_is_refused(wrong):
    arguments = {"window": (128, 64), **wrong}
    with pytest.raises(CourseError, match="step > 1, upsample > 0"):
        pyramid(noise(40, 40), **arguments)


def test_a_picture_smaller_than_the_window_has_no_level():
    assert pyramid(noise(100, 200), (128, 64)) == []


# ------------------------------------------------------------------------------------------------------------ glyphs


def test_cells_are_sums_over_their_blocks():
    blocks = np.random.default_rng(0).normal(size=(4, 3, 36)).astype(np.float32)
    cells = cell_weights(blocks)
    expected = np.zeros((5, 4, 9))
    for r, c, i, j in np.ndindex(4, 3, 2, 2):
        expected[r + i, c + j] += blocks.reshape(4, 3, 2, 2, 9)[r, c, i, j]
    np.testing.assert_allclose(cells, expected, atol=1e-5)
    assert (
        cell_weights(np.ones((3, 3, 36)))[:, :, 0] == [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    ).all()


@pytest.mark.parametrize("k", range(9))
def test_a_glyph_is_a_line_along_the_edge(k):
    cells = np.zeros((2, 3, 9))
    cells[1, 2, k] = 2
    picture = draw_glyphs(cells, size=32)
    assert picture.shape == (64, 96) and picture.dtype == np.float32
    drawn = picture[32:, 64:]
    assert picture.sum() == pytest.approx(drawn.sum()) and drawn.max() == pytest.approx(2)
    y, x = np.nonzero(drawn > 1)
    axes = np.linalg.svd(np.stack([x - x.mean(), y - y.mean()], 1))[2]
    along = np.degrees(np.arctan2(axes[0, 1], axes[0, 0]))
    apart = (along - (20 * k + 10) - 90 + 90) % 180 - 90  # from the direction across the gradient
    assert abs(apart) < 3


def test_glyphs_show_an_upright_edge_upright_and_only_positive_weights():
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, 32:] = 200
    picture = draw_glyphs(hog(image))
    assert picture.shape == (128, 128)
    dy, dx = np.abs(np.diff(picture, axis=0)).sum(), np.abs(np.diff(picture, axis=1)).sum()
    assert dx > 3 * dy
    weights = np.random.default_rng(1).normal(size=(3, 3, 36))
    assert draw_glyphs(weights).min() == 0 and draw_glyphs(-np.abs(weights)).max() == 0
    np.testing.assert_allclose(draw_glyphs(weights), draw_glyphs(cell_weights(weights)))
