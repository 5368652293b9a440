"""Image files of every kind become uint8 RGB, or one error that names the file."""

import numpy as np
import pytest
from PIL import Image

from course_utils.errors import DataError
from course_utils.images import is_turned, read_header, read_image

RNG = np.random.default_rng(1)
GREY = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)


def saved(tmp_path, image, name="x.png", **keywords):
    image.save(tmp_path / name, **keywords)
    return read_image(tmp_path / name)


def test_color_is_unchanged(tmp_path):
    read = saved(tmp_path, Image.fromarray(COLOR))
    assert np.array_equal(read, COLOR) and read.dtype == np.uint8
    read[0] = 0  # a copy of its own, that can be drawn upon


def test_grey_gets_three_equal_channels(tmp_path):
    for name in ("x.png", "x.bmp", "x.tif"):
        assert np.array_equal(saved(tmp_path, Image.fromarray(GREY), name), np.dstack([GREY] * 3))


def test_black_and_white(tmp_path):
    read = saved(tmp_path, Image.fromarray(GREY > 127))
    assert np.array_equal(read[..., 1], np.where(GREY > 127, 255, 0))


def test_sixteen_bits_are_scaled_and_not_wrapped(tmp_path):
    deep = GREY.astype(np.uint16) * 257
    for name in ("x.png", "x.tif"):
        assert np.array_equal(saved(tmp_path, Image.fromarray(deep), name), np.dstack([GREY] * 3))


def test_palette_is_looked_up(tmp_path):
    palette = RNG.integers(0, 256, (256, 3), dtype=np.uint8)
    image = Image.fromarray(GREY)
    image.putpalette(palette.ravel().tolist())
    assert image.mode == "P"
    assert np.array_equal(saved(tmp_path, image), palette[GREY])


def test_transparency_is_laid_on_white(tmp_path):
    rgba = np.dstack([COLOR, np.full((20, 30), 255, np.uint8)])
    rgba[:10, :, 3] = 0
    read = saved(tmp_path, Image.fromarray(rgba))
    assert (read[:10] == 255).all() and np.array_equal(read[10:], COLOR[10:])
    palette = Image.fromarray(np.zeros((4, 4), np.uint8))
    palette.putpalette([255, 0, 0] + [0] * 765)
    assert (saved(tmp_path, palette, transparency=0) == 255).all()
    grey = Image.fromarray(np.dstack([GREY, np.full_like(GREY, 255)]))
    assert grey.mode == "LA" and np.array_equal(saved(tmp_path, grey)[..., 0], GREY)


def test_cmyk(tmp_path):
    cyan, black = (255, 0, 0, 0), (0, 0, 0, 255)
    for ink, expected in ((cyan, (0, 255, 255)), (black, (0, 0, 0)), ((0, 0, 0, 0), (255, 255, 255))):
        read = saved(tmp_path, Image.new("CMYK", (16, 16), ink), "x.jpg", quality=95)
        assert read.shape == (16, 16, 3)
        assert np.abs(read.astype(int) - expected).max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLOR).save(tmp_path / "x.png", exif=exif)
    # what the eight values mean, by the numpy operation that puts the picture upright
    upright = [
        lambda a: a,
        lambda a: a[:, ::-1],
        lambda a: a[::-1, ::-1],
        lambda a: a[::-1],
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.rot90(a, -1),
        lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        np.rot90,
    ][orientation - 1](COLOR)
    assert read_header(tmp_path / "x.png") == (30, 20, orientation)
    assert np.array_equal(read_image(tmp_path / "x.png"), upright)
    assert np.array_equal(read_image(tmp_path / "x.png", turn=False), COLOR)
    # Pillow turns a TIFF by itself, so its header is upright already, and nothing may turn it twice
    Image.fromarray(COLOR).save(tmp_path / "x.tif", exif=exif)
    assert read_header(tmp_path / "x.tif") == (upright.shape[1], upright.shape[0], 1)
    for turn in (None, True, False):
        assert np.array_equal(read_image(tmp_path / "x.tif", turn), upright)


def test_the_stated_size_decides_about_turning():
    assert not is_turned((30, 20), 1, (20, 30))
    assert is_turned((30, 20), 6, (20, 30)) and not is_turned((30, 20), 6, (30, 20))
    assert not is_turned((30, 20), 6, (99, 99))
    assert is_turned((30, 20), 6, None)
    # a half turn or a square leaves the size alone: the tag is followed
    assert is_turned((30, 20), 3, (30, 20)) and is_turned((30, 30), 6, (30, 30))


def test_damage(tmp_path):
    big = Image.fromarray(RNG.integers(0, 256, (200, 200, 3), dtype=np.uint8))
    for name in ("x.jpg", "x.png", "x.gif"):
        big.save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(DataError, match=name):
            read_image(tmp_path / name)
    # a flipped byte in a PNG's pixels fails its checksum
    big.save(tmp_path / "x.png")
    whole = bytearray((tmp_path / "x.png").read_bytes())
    whole[len(whole) // 2] ^= 255
    (tmp_path / "x.png").write_bytes(whole)
    with pytest.raises(DataError, match=r"x\.png"):
        read_image(tmp_path / "x.png")


def test_no_image(tmp_path):
    (tmp_path / "x.jpg").write_text("<html>404</html>")
    for read in (read_image, read_header):
        with pytest.raises(DataError, match=r"x\.jpg .*empty, damaged, or no image"):
            read(tmp_path / "x.jpg")
        with pytest.raises(DataError, match=r"y\.jpg .*no such file"):
            read(tmp_path / "y.jpg")
    for mode in ("F", "I"):
        Image.new(mode, (4, 4)).save(tmp_path / "x.tif")
        with pytest.raises(DataError, match="32 bits"):
            read_image(tmp_path / "x.tif")
