"""Image files to images like MNIST's: light ink on black, uint8 (28, 28).

The preparation is MNIST's own (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): the ink,
cropped to its bounding box, is scaled with anti-aliasing into 20x20 with its aspect ratio kept, and then placed so
that its centre of mass is the centre of the 28x28 field.
"""

from __future__ import annotations

import io
import math
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import SIDE, WHITE

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF")
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff"})
LARGEST_IMAGE = 1 << 26  # pixels: 64 megapixels, such as 8192 x 8192
LARGEST_FILE = LARGEST_IMAGE * 8  # bytes: that many pixels of four uncompressed channels of 16 bits

BOX = 20  # the ink's longer side, in pixels
CENTRE = SIDE // 2  # row and column of the centre of mass, which is within half a pixel of it in all of MNIST

# Levels of brightness, of 255. An image whose brightest and darkest pixels are closer to its ground holds no ink.
LEAST_CONTRAST = 12
# Pixels nearer to the ground than this share of the ink's contrast are no ink (MNIST's mean pixel has as much), ...
FAINT = 0.13
# ... nor are those nearer than so many times the ground's variation, which is the 90th percentile of the border's
# distances from the ground (Gaussian noise of deviation s: 1.64 s, so 4.5 s are cut off), but ...
VARIATION = 2.75
# ... what is beyond this share of the contrast always is ink.
SOLID = 0.5
# Outer rows and columns that together hold at most this share of all ink, at each side, are specks and are cut off.
SPECKS = 0.002

# A transparent image whose visible part fills its bounding box and is of more than one brightness is a picture
# (a scan with round corners, say); otherwise the visible part is a drawing, and all of it is ink.
PICTURE_FILL = 0.6  # visible share of the bounding box
PICTURE_SPREAD = 64  # levels from the 1st to the 99th percentile of brightness
OPAQUE = 128  # pixels of at least this alpha are visible

# What damage makes Pillow's decoders raise. Pillow lists none; these are what its own `Image.open` expects of them,
# and what their arithmetic on damaged sizes can add.
DECODER_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
)


class ImageError(BnnError):
    """A file is no image that can be read, or holds no ink; the message names it."""


def find(path: Path) -> list[Path]:
    """The file itself, or a folder's image files in the order of their names.

    Files are images by their suffix; hidden files and folders inside the folder are passed over.
    """
    try:
        if not path.is_dir():
            return [path]
        found = sorted(item for item in path.iterdir() if _looks_like_image(item))
    except OSError as error:
        raise _unreadable(path, error) from error
    if not found:
        raise ImageError(
            f"{path}: a folder without images; files directly in it whose names end in "
            f"{', '.join(sorted(SUFFIXES))} are read: name a folder that holds such files, or name the files"
        )
    return found


def load(path: Path) -> NDArray[np.uint8]:
    """An image file as an image like MNIST's, uint8 (28, 28); `ImageError` names the file and what is wrong."""
    return prepare(decode(_read(path), str(path)), str(path))


def _looks_like_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"{path}: not a regular file; name an image file or a folder of them")
        if status.st_size > LARGEST_FILE:
            raise ImageError(f"{path}: {status.st_size} bytes, at most {LARGEST_FILE} are read; save the image smaller")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"{path}: cannot be read ({error.strerror}); check the name and the permissions")


def decode(content: bytes, name: str) -> Image.Image:
    """The first frame of an image file as grey levels of 8 bits (Pillow's mode L), turned upright as EXIF says.

    Colour becomes brightness (see `_brightness`), transparency what `_without_alpha` says, and 16-bit or float values
    are stretched from their lowest to their highest. ``name`` stands for the file in an `ImageError`.
    """
    if not content:
        raise ImageError(f"{name}: empty (0 bytes); a file of one of these formats is needed: {', '.join(FORMATS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they tell of odd metadata; a fault of the picture itself raises
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(image, name)
                image.load()
                _turn_upright(image)
                return _grey(image, name)
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: too large: {error} {_size_limit()}") from error
        except UnidentifiedImageError as error:
            raise ImageError(f"{name}: not an image of a known format; known: {', '.join(FORMATS)}") from error
        except DECODER_FAULTS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(
                f"{name}: damaged, or of a kind that is not read ({reason}); save it anew as PNG"
            ) from error


def _check_size(image: Image.Image, name: str) -> None:
    """Refuse what would take too much memory, before a pixel is decoded."""
    width, height = image.size
    if width * height > LARGEST_IMAGE:
        raise ImageError(f"{name}: too large: {width} x {height} pixels. {_size_limit()}")


def _size_limit() -> str:
    return f"At most {LARGEST_IMAGE} pixels (64 megapixels) are read; scale the image down"


def _turn_upright(image: Image.Image) -> None:
    """Apply EXIF's orientation; metadata that cannot be read say nothing about it."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except DECODER_FAULTS:
        return


def _grey(image: Image.Image, name: str) -> Image.Image:
    """Any of Pillow's modes to mode L."""
    if image.mode == "F" or image.mode.startswith("I"):
        return _narrowed(np.asarray(image), name)
    if image.has_transparency_data:
        return _without_alpha(image.convert("RGBA"), name)
    if image.mode in ("1", "L"):
        return image.convert("L")
    return _brightness(image.convert("RGB"))


def _narrowed(values: NDArray[np.generic], name: str) -> Image.Image:
    """Values of 16 or 32 bits, stretched from their lowest and highest to 0 and 255.

    Their full scale is not known (a 12-bit scan fills a sixteenth of 16 bits). What differs by less than
    `LEAST_CONTRAST`, of 255 for the largest value, is uniform: stretched, it would be noise.
    """
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(high - low):
        raise ImageError(f"{name}: holds values from {low} to {high}, expected finite ones; save it anew as PNG")
    if (high - low) * WHITE < max(abs(low), abs(high)) * LEAST_CONTRAST or high == low:
        raise _no_ink(name, f"its values from {low:g} to {high:g} are nearly uniform")
    stretched = values.astype(np.float64)  # float32 could overflow
    stretched -= low
    stretched *= WHITE / (high - low)
    return Image.fromarray(np.rint(stretched, out=stretched).astype(np.uint8))


def _without_alpha(image: Image.Image, name: str) -> Image.Image:
    """Mode RGBA to L such that ink on a transparent ground shows, be it dark or light.

    Of a drawing, alpha itself is the ink, whatever the colour. A picture stands on the median of its own brightness.
    A constant alpha says nothing and is left out.
    """
    alpha = image.getchannel("A")
    lowest, highest = _extremes(alpha)
    if highest == 0:
        raise _no_ink(name, "it is transparent throughout")
    if lowest == highest:
        return _brightness(image.convert("RGB"))
    visible = alpha.point([WHITE * (level >= OPAQUE) for level in range(WHITE + 1)])
    grey = _brightness(image.convert("RGB"))
    levels = np.cumsum(grey.histogram(visible))
    box = visible.getbbox()
    if box is None or levels[-1] < PICTURE_FILL * (box[2] - box[0]) * (box[3] - box[1]):
        return alpha
    low, median, high = np.searchsorted(levels, levels[-1] * np.array([0.01, 0.5, 0.99])).tolist()
    if high - low < PICTURE_SPREAD:
        return alpha
    return Image.composite(grey, Image.new("L", image.size, median), alpha)


def _brightness(image: Image.Image) -> Image.Image:
    """Mode RGB to L: luminance, or one of the channels where ink and ground differ far more in it (red on green)."""
    luminance = image.convert("L")
    best = max(image.split(), key=_contrast)
    return best if _contrast(best) > 2 * _contrast(luminance) else luminance


def _contrast(image: Image.Image) -> int:
    low, high = _extremes(image)
    return high - low


def _extremes(image: Image.Image) -> tuple[int, int]:
    """Lowest and highest value of an image of mode L."""
    return cast("tuple[int, int]", image.getextrema())


def prepare(grey: Image.Image, name: str) -> NDArray[np.uint8]:
    """A grey image (mode L) of any size as an image like MNIST's, uint8 (28, 28); without ink an `ImageError`."""
    return _centred(_scaled(_ink(grey, name)))


def _ink(grey: Image.Image, name: str) -> Image.Image:
    """Ink from 0 to 255 (mode L) in its bounding box, from which specks are cut off.

    The ground is the median of the border's pixels. Ink is dark if the darkest pixel is further from the ground than
    the lightest, or as far; else it is light. The furthest becomes 255; what is too near to the ground (`FAINT`,
    `VARIATION`, `SOLID`) becomes 0.
    """
    border = _border(grey)
    ground = int(np.median(border))
    low, high = _extremes(grey)
    contrast = max(ground - low, high - ground)
    if contrast < LEAST_CONTRAST:
        raise _no_ink(
            name, f"its brightness stays within {low} to {high} of 255, and ink is {LEAST_CONTRAST} from the ground"
        )
    levels = np.arange(WHITE + 1)
    depth = ground - levels if ground - low >= high - ground else levels - ground
    variation = float(np.percentile(np.abs(border.astype(np.int16) - ground), 90))
    faint = min(max(FAINT * contrast, VARIATION * variation), SOLID * contrast)
    table = np.where(depth >= faint, depth * WHITE / contrast, 0).round().clip(0, WHITE).astype(int)
    ink = grey.point(table.tolist())
    values = np.asarray(ink)
    (left, right), (top, bottom) = (_span(values.sum(axis=axis)) for axis in (0, 1))
    return ink.crop((left, top, right, bottom))


def _span(profile: NDArray[np.uint64]) -> tuple[int, int]:
    """First row that is no speck, and the row after the last; ``profile`` is each row's ink, (rows,). Or columns."""
    below = np.cumsum(profile)
    total = int(below[-1])
    first = np.searchsorted(below, SPECKS * total, side="right")
    last = np.searchsorted(below, (1 - SPECKS) * total, side="left")
    return int(first), int(last) + 1


def _border(grey: Image.Image) -> NDArray[np.uint8]:
    """The pixels of a frame one fiftieth of the shorter side wide, (n,); the corners count twice."""
    width, height = grey.size
    edge = max(1, min(grey.size) // 50)
    boxes = [
        (0, 0, width, edge),
        (0, height - edge, width, height),
        (0, 0, edge, height),
        (width - edge, 0, width, height),
    ]
    return np.concatenate([np.asarray(grey.crop(box)).ravel() for box in boxes])


def _scaled(ink: Image.Image) -> NDArray[np.float32]:
    """Ink scaled so that the longer side is 20 pixels, and stretched so that its maximum is 255; (height, width)."""
    scale = BOX / max(ink.size)
    width, height = (max(1, round(side * scale)) for side in ink.size)
    # In floats: of a thin line on a large sheet little is left in each pixel, and 8 bits would round it away.
    small = np.asarray(ink.convert("F").resize((width, height), Image.Resampling.BICUBIC)).clip(0, None)
    return small * np.float32(WHITE / small.max())


def _centred(ink: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Ink of at most 20x20 on the 28x28 field, its centre of mass moved by whole pixels to the field's centre."""
    field = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (_start(ink.sum(axis=1 - axis)) for axis in (0, 1))
    field[top : top + ink.shape[0], left : left + ink.shape[1]] = ink.round().clip(0, WHITE)
    return field


def _start(profile: NDArray[np.float32]) -> int:
    """Where ink begins along an axis; ``profile`` is the sum across the axis, (length,). The ink stays on the field."""
    mean = float(np.average(np.arange(len(profile)), weights=profile))
    return min(max(0, round(CENTRE - mean)), SIDE - len(profile))


def _no_ink(name: str, finding: str) -> ImageError:
    return ImageError(f"{name}: no ink found: {finding}; draw one digit in a colour that stands out from the ground")
