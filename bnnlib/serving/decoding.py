"""The bytes of an image file to grey levels, from any of the modes that Pillow decodes them to."""

from __future__ import annotations

import contextlib
import io
import math
import struct
import warnings
import zlib
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bnnlib.core.errors import BnnError
from bnnlib.data.mnist import WHITE

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
LARGEST_IMAGE = 1 << 26  # pixels: 64 megapixels, such as 8192 x 8192
LARGEST_KEPT = 1 << 24  # pixels: what is larger is reduced before anything else is done with it
LARGEST_DECODED = 300_000_000  # bytes that decoding may take
STRIP = 64  # rows of the reduced picture that are made at a time
BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}  # for each pixel; else ...
COLOUR = 4
DECODERS = {"WEBP": 12, "GIF": 4}  # bytes for each pixel that the decoder itself takes
PROGRESSIVE = 6  # and that of a progressive JPEG
DEFLATED = 1100  # deflate makes at most 1,032 bytes of one

# Levels of brightness, of 255. An image in which no pixel differs from the background by this much shows no digit.
LEAST_CONTRAST = 12

# A transparent image whose visible part fills its bounding box and is of more than one brightness is a picture
# (a scan with round corners, say); otherwise the visible part is a drawing, and all of it is foreground.
PICTURE_FILL = 0.6  # visible share of the bounding box
PICTURE_SPREAD = 24  # levels of brightness from the darkest to the lightest, without the outermost ...
PICTURE_SPECKS = 0.0002  # ... share of its pixels at either end
OPAQUE = 128  # pixels of at least this alpha are visible

# What damage makes Pillow's decoders raise. Pillow lists none; these are what its own `Image.open` expects of them,
# and what their arithmetic on damaged sizes can add.
DECODER_ERRORS = (
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
    """A file is not an image that can be read, or shows no digit; the message names it."""


def no_digit(name: str, finding: str) -> ImageError:
    """The error for an image in which nothing stands out."""
    return ImageError(
        f"{name}: no digit found: {finding}; draw one digit in a colour that stands out from the background"
    )


def decode(content: bytes, name: str) -> Image.Image:
    """The first frame of an image file as grey levels of 8 bits (Pillow's mode L), upright by its EXIF orientation.

    Colour becomes brightness (see `_brightness`), transparency as in `_without_alpha`, and 16-bit or float values
    are stretched from their lowest to their highest. ``name``: of the file, for an `ImageError`.
    """
    if not content:
        raise ImageError(f"{name}: empty (0 bytes); a file of one of these formats is needed: {', '.join(FORMATS)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they tell of odd metadata; an error in the picture itself raises
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _check_size(image, name, len(content))
                return _grey(_upright(_decoded(image)), name)
        except Image.DecompressionBombError as error:
            raise ImageError(f"{name}: too large: {error} {_size_limit()}") from error
        except UnidentifiedImageError as error:
            raise ImageError(f"{name}: not an image of a known format; known: {', '.join(FORMATS)}") from error
        except DECODER_ERRORS as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ImageError(
                f"{name}: damaged, or of a kind that is not read ({reason}); save it again as PNG"
            ) from error


def _check_size(image: Image.Image, name: str, length: int) -> None:
    """Refuse what would take too much memory, or cannot be complete, before a pixel is decoded."""
    width, height = image.size
    if width * height > LARGEST_IMAGE:
        raise ImageError(f"{name}: too large: {width} x {height} pixels. {_size_limit()}")
    needed = width * height * _bytes_a_pixel(image)
    if needed > LARGEST_DECODED:
        raise ImageError(
            f"{name}: too large: {width} x {height} pixels of this kind ({image.format}, {image.mode}) take "
            f"{needed / 1e6:.0f} MB to decode, at most {LARGEST_DECODED / 1e6:.0f} MB are allowed; scale the image down"
        )
    if image.format == "PNG" and width * height > 8 * DEFLATED * length:
        raise ImageError(
            f"{name}: damaged: {length} bytes cannot hold the {width} x {height} pixels that they declare; "
            "save it again as PNG"
        )


def _bytes_a_pixel(image: Image.Image) -> float:
    own = BYTES.get(image.mode, COLOUR)
    if image.format in ("JPEG", "MPO"):  # read at half the size or less
        return own / 4 + (PROGRESSIVE if "progressive" in image.info else 0)
    if image.format == "TIFF":
        return 2 * own  # a file of one strip is decoded whole, then copied
    return own + DECODERS.get(image.format or "", 0)


def _size_limit() -> str:
    return f"At most {LARGEST_IMAGE} pixels (64 megapixels) are read; scale the image down"


def _decoded(image: Image.Image) -> Image.Image:
    """The pixels, of a large image at a half, a third, ... of its size."""
    factor = math.ceil(math.sqrt(image.width * image.height / LARGEST_KEPT))
    if factor == 1:
        image.load()
        return image
    exif = image.getexif()
    image.draft(image.mode, (image.width // factor, image.height // factor))  # of a JPEG, less is decoded
    image.load()
    factor = math.ceil(math.sqrt(image.width * image.height / LARGEST_KEPT))
    small = _shrunk(image, factor)
    if "transparency" in image.info and small.mode == image.mode:
        small.info["transparency"] = image.info["transparency"]
    small.getexif().update(exif)
    image.close()  # frees its pixels
    return small


def _shrunk(image: Image.Image, factor: int) -> Image.Image:
    """A picture at a fraction of its size, strip by strip, because conversions copy what they convert."""
    mode = {"1": "L", "P": "RGBA"}.get(image.mode, "I" if image.mode.startswith("I;") else image.mode)
    rows = STRIP * factor
    small = Image.new(mode, (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(image.height, top + rows)))
        small.paste(strip.convert(mode).reduce(factor), (0, top // factor))
    return small


def _upright(image: Image.Image) -> Image.Image:
    """By EXIF's orientation; metadata that cannot be read is ignored."""
    with contextlib.suppress(*DECODER_ERRORS):
        ImageOps.exif_transpose(image, in_place=True)
    return image


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
        raise ImageError(f"{name}: holds values from {low} to {high}, expected finite ones; save it again as PNG")
    if (high - low) * WHITE < max(abs(low), abs(high)) * LEAST_CONTRAST or high == low:
        raise no_digit(name, f"its values from {low:g} to {high:g} are nearly uniform")
    stretched = values.astype(np.float64)  # float32 could overflow
    stretched -= low
    stretched *= WHITE / (high - low)
    return Image.fromarray(np.rint(stretched, out=stretched).astype(np.uint8))


def _without_alpha(image: Image.Image, name: str) -> Image.Image:
    """Mode RGBA to L such that a digit on a transparent background shows, be it dark or light.

    Of a drawing, alpha itself is the foreground, whatever the colour. A picture gets the median of its own brightness
    as its background. A constant alpha says nothing and is ignored.
    """
    alpha = image.getchannel("A")
    lowest, highest = extremes(alpha)
    if highest == 0:
        raise no_digit(name, "it is transparent throughout")
    if lowest == highest:
        return _brightness(image.convert("RGB"))
    visible = alpha.point([WHITE * (level >= OPAQUE) for level in range(WHITE + 1)])
    grey = _brightness(image.convert("RGB"))
    levels = np.cumsum(grey.histogram(visible))
    box = visible.getbbox()
    if box is None or levels[-1] < PICTURE_FILL * (box[2] - box[0]) * (box[3] - box[1]):
        return alpha
    shares = np.array([PICTURE_SPECKS, 0.5, 1 - PICTURE_SPECKS])
    low, median, high = np.searchsorted(levels, levels[-1] * shares).tolist()
    if high - low < PICTURE_SPREAD:
        return alpha
    # What is less than half visible is not of the picture: a window's shadow, say.
    over = alpha.point([max(0, 2 * level - WHITE) for level in range(WHITE + 1)])
    return Image.composite(grey, Image.new("L", image.size, median), over)


def _brightness(image: Image.Image) -> Image.Image:
    """Mode RGB to L: luminance, or one of the channels where the contrast is far larger in it (red on green)."""
    luminance = image.convert("L")
    best = max(image.split(), key=_contrast)
    return best if _contrast(best) > 2 * _contrast(luminance) else luminance


def _contrast(image: Image.Image) -> int:
    low, high = extremes(image)
    return high - low


def extremes(image: Image.Image) -> tuple[int, int]:
    """Lowest and highest value of an image of mode L."""
    return cast("tuple[int, int]", image.getextrema())
