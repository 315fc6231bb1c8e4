"""Grey images of any size to images like MNIST's: light foreground on black, uint8 (28, 28).

The preparation is MNIST's own (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): the
foreground (the strokes of the digit), cropped to its bounding box, is scaled with anti-aliasing into 20x20 with its
aspect ratio kept, and then placed so that its centre of mass is the centre of the 28x28 field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bnnlib.data.mnist import SIDE, WHITE
from bnnlib.serving.decoding import LEAST_CONTRAST, extremes, no_digit

BOX = 20  # the foreground's longer side, in pixels
CENTRE = SIDE // 2  # row and column of the centre of mass, which is within half a pixel of it in all of MNIST

# Pixels nearer to the background than this share of the contrast are background (the mean pixel of MNIST is as
# bright), ...
FAINT = 0.13
# ... and so are those nearer than this multiple of the background's variation, which is the 90th percentile of the
# border's distances from the background (Gaussian noise of deviation s: 1.64 s, so 4.5 s are cut off), but ...
VARIATION = 2.75
# ... pixels beyond this share of the contrast are always foreground.
SOLID = 0.5
# Outer rows and columns that together hold at most this share of the foreground, at each side, are cut off as specks.
SPECKS = 0.002


def prepare(grey: Image.Image, name: str) -> NDArray[np.uint8]:
    """A grey image (mode L) as an image like MNIST's, uint8 (28, 28); `ImageError` if it shows no digit.

    ``name`` is what an `ImageError` calls the file.
    """
    return _centred(_scaled(_foreground(grey, name)))


def _foreground(grey: Image.Image, name: str) -> Image.Image:
    """Foreground from 0 to 255 (mode L) in its bounding box, with specks cut off.

    The background is the median of the border's pixels. The foreground is dark if the darkest pixel is at least as far
    from the background as the lightest, else light. The furthest pixel becomes 255; pixels too near to the background
    (`FAINT`, `VARIATION`, `SOLID`) become 0.
    """
    border = _border(grey)
    background = int(np.median(border))
    low, high = extremes(grey)
    contrast = max(background - low, high - background)
    if contrast < LEAST_CONTRAST:
        raise no_digit(
            name,
            f"its brightness is {low} to {high} of 255, expected some pixels at least {LEAST_CONTRAST} levels from the "
            f"background's {background}",
        )
    levels = np.arange(WHITE + 1)
    depth = background - levels if background - low >= high - background else levels - background
    variation = float(np.percentile(np.abs(border.astype(np.int16) - background), 90))
    faint = min(max(FAINT * contrast, VARIATION * variation), SOLID * contrast)
    table = np.where(depth >= faint, depth * WHITE / contrast, 0).round().clip(0, WHITE).astype(int)
    foreground = grey.point(table.tolist())
    values = np.asarray(foreground)
    (left, right), (top, bottom) = (_span(values.sum(axis=axis)) for axis in (0, 1))
    return foreground.crop((left, top, right, bottom))


def _span(profile: NDArray[np.uint64]) -> tuple[int, int]:
    """First row that is not a speck, and the row after the last. ``profile``: each row's foreground, (rows,).

    Likewise for columns.
    """
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


def _scaled(foreground: Image.Image) -> NDArray[np.float32]:
    """The longer side scaled to 20 pixels, then the values so that their maximum is 255; (height, width)."""
    scale = BOX / max(foreground.size)
    width, height = (max(1, round(side * scale)) for side in foreground.size)
    # In floats: of a thin line on a large sheet little is left in each pixel, and 8 bits would round it away.
    small = np.asarray(foreground.convert("F").resize((width, height), Image.Resampling.BICUBIC)).clip(0, None)
    return small * np.float32(WHITE / small.max())


def _centred(foreground: NDArray[np.float32]) -> NDArray[np.uint8]:
    """At most 20x20 pixels on the 28x28 field, the centre of mass shifted by whole pixels to the field's centre."""
    field = np.zeros((SIDE, SIDE), np.uint8)
    top, left = (_start(foreground.sum(axis=1 - axis)) for axis in (0, 1))
    height, width = foreground.shape
    field[top : top + height, left : left + width] = foreground.round().clip(0, WHITE)
    return field


def _start(profile: NDArray[np.float32]) -> int:
    """Where the foreground begins along an axis, such that all of it is on the field.

    ``profile``: the sums across the axis, (length,).
    """
    mean = float(np.average(np.arange(len(profile)), weights=profile))
    return min(max(0, round(CENTRE - mean)), SIDE - len(profile))
