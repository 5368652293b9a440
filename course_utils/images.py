"""Image files as uint8 RGB arrays, whatever their kind."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from course_utils.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
_ORIENTATION = 0x0112  # the EXIF tag
# what Pillow raises on files that are cut short, damaged, or no images at all
_UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_header(path: str | Path) -> tuple[int, int, int]:
    """Stored width and height, and EXIF orientation (1..8, 1 is upright); raises `DataError`."""
    try:
        with Image.open(path) as image:
            # Pillow turns TIFF files by itself. Of a PNG only a tag before the pixels counts: to look behind
            # them, Pillow decodes them all.
            looked_at = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
            orientation = image.getexif().get(_ORIENTATION, 1) if looked_at else 1
            return *image.size, orientation if orientation in range(1, 9) else 1
    except _UNREADABLE as error:
        raise DataError(f"{path} cannot be read as an image ({_reason(error)}).") from error


def is_turned(stored: tuple[int, int], orientation: int, stated: tuple[int, int] | None) -> bool:
    """Whether an image has to be turned as its EXIF tag says to fit its annotation.

    ``stored`` and ``stated`` are (width, height) in the file and in the annotation. Annotation tools differ,
    so the stated size decides; where it cannot (no size stated, a square, a half turn, a mirror image) the
    tag is followed, because that is how people and most tools see the picture.
    """
    if orientation == 1:
        return False
    upright = stored[::-1] if orientation >= 5 else stored
    return stated is None or stated == upright


def read_shape(path: str | Path, stated: tuple[int, int] | None) -> tuple[int, int, bool]:
    """Width and height of an image as its annotation sees it, and whether it has to be turned for that.

    ``stated`` is (width, height) in the annotation, or None. Only the header is read. Raises `DataError`.
    """
    *stored, orientation = read_header(path)
    turn = is_turned(tuple(stored), orientation, stated)
    width, height = stored[::-1] if turn and orientation >= 5 else stored
    return width, height, turn


def read_image(path: str | Path, turn: bool | None = None) -> np.ndarray:
    """An image file as uint8 ``(H, W, 3)`` RGB.

    Grey becomes three equal channels, 16 bits are scaled to 8, palettes are looked up, CMYK is converted
    without colour profile, transparency is laid on white. ``turn`` says whether to turn the image as its EXIF
    tag says (None: yes). Raises `DataError` that names the file, if it is missing, cut short, damaged, or of
    a kind without a sensible 8-bit form.
    """
    try:
        with Image.open(path) as image:
            image.load()
            if turn is not False:
                ImageOps.exif_transpose(image, in_place=True)
            if image.mode.startswith("I;16"):
                # 65535 / 257 = 255 exactly
                pixels = np.round(np.asarray(image).astype(np.float32) / 257).astype(np.uint8)
                return np.repeat(pixels[..., None], 3, axis=2)
            if image.mode in ("I", "F"):
                raise DataError(
                    f"{path} has pixels of 32 bits (mode {image.mode}) of unknown range; save it with 8 bits."
                )
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return np.array(image.convert("RGB"))
    except DataError:
        raise
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as an image ({_reason(error)}). "
            "Copy or download it again, or take it out of the data set."
        ) from error


def _reason(error: Exception) -> str:
    """Pillow's reason in one line, without the path, which the message has already."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "empty, damaged, or no image"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
