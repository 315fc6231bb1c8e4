"""Grey images of any size to images like MNIST's: light foreground on black, uint8 (28, 28).

The preparation is MNIST's own (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): the
foreground (the strokes of the digit), cropped to its bounding box, is scaled with anti-aliasing into 20x20 with its
aspect ratio kept, and then placed so that its centre of mass is the centre of the 28x28 field.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bnnlib.data.mnist import SIDE, WHITE
from bnnlib.serving import cleaning
from bnnlib.serving.cleaning import Box
from bnnlib.serving.decoding import LEAST_CONTRAST, ImageError, extremes, no_digit
from bnnlib.serving.morphology import Mask, dilated

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
MOST = 20  # digits in a picture
TINY = 40  # pixels: a picture whose longer side is less was prepared by a program
FRAMED, CENTRED = 0.025, 0.04  # of the side
EVEN = 0.08  # of the contrast
EQUAL = 0.8  # of the height of the highest shape: another as high is another digit
SHEET = 0.72  # of its box: what is fuller is rather a sheet than strokes
# A closer look agrees with what is plain if at most this share of the foreground lies outside the digit found, ...
OUTSIDE = 0.02
# ... and at least this share of the digit's solid pixels is brighter in the foreground than that share of white.
COVERED, SHOWN = 0.7, 0.25


@dataclass(frozen=True)
class Digit:
    """A digit of a picture: its box (left, top, right, bottom; pixels) and its image like MNIST's, uint8 (28, 28)."""

    box: Box
    image: NDArray[np.uint8]


@dataclass(frozen=True)
class Plain:
    """What differs from the border's median brightness: 0 to 255 (mode L), the box around it, and its polarity."""

    foreground: Image.Image
    box: Box
    light: bool
    even: bool  # the border is of nearly one brightness

    @property
    def framed(self) -> bool:
        """Whether the picture is framed as MNIST's are: 20 of 28 parts, the centre of mass in the middle.

        It was cut out as one digit, and all that is on it belongs to the digit, in however many parts.
        """
        width, height = self.foreground.size
        left, top, right, bottom = self.box
        if width != height or abs(max(right - left, bottom - top) / width - BOX / SIDE) > FRAMED:
            return False
        values = np.asarray(self.foreground)
        sums = (values.sum(axis=axis, dtype=np.float64) for axis in (0, 1))
        centres = (float(np.average(np.arange(width), weights=each)) / width for each in sums)
        return all(abs(centre - 0.5) <= CENTRED for centre in centres)

    def image(self) -> NDArray[np.uint8]:
        """The foreground as an image like MNIST's."""
        return _centred(_scaled(self.foreground.crop(self.box).convert("F")))


def prepare(grey: Image.Image, name: str) -> NDArray[np.uint8]:
    """A grey image (mode L) as an image like MNIST's, uint8 (28, 28); `ImageError` if it does not show one digit.

    ``name`` is what an `ImageError` calls the file.
    """
    return only(digits(grey, name), name).image


def only(found: list[Digit], name: str) -> Digit:
    """The one digit of a picture; `ImageError` if there are several."""
    if len(found) > 1:
        raise ImageError(
            f"{name}: several shapes: {len(found)}, expected one digit; cut the picture to one of them, or read all of "
            "them with --multi"
        )
    return found[0]


def digits(grey: Image.Image, name: str) -> list[Digit]:
    """All digits of a grey image (mode L), from left to right; `ImageError` if there is none."""
    plain = simple_look(grey, name)
    simple = [Digit(plain.box, plain.image())]
    if max(grey.size) <= TINY:
        return simple
    view = cleaning.reduced(grey)
    look = cleaning.look(view, plain.light)
    if _agree(plain, look) and (not look.solid or (plain.framed and look.fill < SHEET)):
        return simple
    best = cleaning.better(look, cleaning.look(view, not plain.light))
    if not best.scene.digits or (best is look and _trusted(plain, look)):
        return simple
    if len(best.scene.digits) > MOST:
        raise no_digit(name, f"{len(best.scene.digits)} shapes, expected at most {MOST}: noise, text or a texture")
    return [_digit(grey, best, mask) for mask in best.scene.digits]


def _digit(grey: Image.Image, look: cleaning.Look, mask: Mask) -> Digit:
    box = cleaning.box_of(mask, look.view, grey.size)
    side = max(mask.shape) * max(box[2] - box[0], box[3] - box[1]) / max(grey.size)
    small = side < cleaning.SMALL and max(grey.size) > 1.3 * max(mask.shape)
    strokes = cleaning.nearer(grey, look.light, box) if small else None
    return Digit(box, _centred(_scaled(Image.fromarray(look.strokes(mask) if strokes is None else strokes))))


def _agree(plain: Plain, look: cleaning.Look) -> bool:
    """Whether a closer look at the picture found what is plain to see, and nothing else."""
    if len(look.scene.digits) != 1:
        return False
    [mask] = look.scene.digits
    reach = _reach(plain, look)
    if not _same_box(plain, look, reach):
        return False
    shown = np.asarray(plain.foreground.resize(look.view.size, Image.Resampling.BOX), np.float32)
    solid = mask & (look.relief.depth >= cleaning.SOLID)
    outside = float(shown[~dilated(mask, round(reach))].sum()) / max(1.0, float(shown.sum()))
    return outside <= OUTSIDE and float((shown[solid] > SHOWN * WHITE).mean()) >= COVERED


def _reach(plain: Plain, look: cleaning.Look) -> float:
    """How far the edges of a digit may be apart, in pixels of the view."""
    (top, bottom), (left, right) = cleaning.extent(look.shown)
    return max(0.07 * max(bottom - top, right - left), 1.5 * look.view.width / plain.foreground.width, 2)


def _same_box(plain: Plain, look: cleaning.Look, reach: float) -> bool:
    scale = look.view.width / plain.foreground.width
    (top, bottom), (left, right) = cleaning.extent(look.shown)
    sides = zip((left, top, right, bottom), plain.box, strict=True)
    return all(abs(side - other * scale) <= reach for side, other in sides)


def _trusted(plain: Plain, look: cleaning.Look) -> bool:
    """Whether to keep what is plain to see although a closer look found less, or several parts of it."""
    if _agree(plain, look):
        return True
    if look.scene.left_out or not plain.even:
        return False
    # It took parts out of very wide strokes; or the picture was cut out as one digit, of several parts.
    heights = sorted(rows[1] - rows[0] for rows, _ in map(cleaning.extent, look.scene.digits))
    (top, bottom), _ = cleaning.extent(look.shown)
    apart = len(heights) > 1 and heights[-2] > max(EQUAL * heights[-1], (bottom - top) / 2)
    return (plain.framed and not apart) or (
        look.outlined < cleaning.OUTLINED and _same_box(plain, look, _reach(plain, look))
    )


def simple_look(grey: Image.Image, name: str) -> Plain:
    """Foreground from 0 to 255 (mode L) and its bounding box, with specks cut off.

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
    light = background - low < high - background
    depth = levels - background if light else background - levels
    variation = float(np.percentile(np.abs(border.astype(np.int16) - background), 90))
    faint = min(max(FAINT * contrast, VARIATION * variation), SOLID * contrast)
    table = np.where(depth >= faint, depth * WHITE / contrast, 0).round().clip(0, WHITE).astype(int)
    foreground = grey.point(table.tolist())
    values = np.asarray(foreground)
    (left, right), (top, bottom) = (_span(values.sum(axis=axis)) for axis in (0, 1))
    return Plain(foreground, (left, top, right, bottom), light, variation <= EVEN * contrast)


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
    small = np.asarray(foreground.resize((width, height), Image.Resampling.BICUBIC)).clip(0, None)
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
