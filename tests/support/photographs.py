"""Pictures as people take them, of MNIST's digits: on lines, in frames, in bad light, with dirt."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Sheet = NDArray[np.float64]
Digit = NDArray[np.uint8]
PAPER, INK, SIDE, FIELD = 235.0, 40.0, 600, 280


def sheet(
    digit: Digit, paper: float = PAPER, ink: float = INK, field: int = FIELD, at: tuple[int, int] = (170, 150)
) -> Sheet:
    """Dark ink on light paper, (600, 600), with the digit's field at a row and a column."""
    large = np.asarray(Image.fromarray(digit).resize((field, field), Image.Resampling.BICUBIC), float) / 255
    page = np.full((SIDE, SIDE), float(paper))
    page[at[0] : at[0] + field, at[1] : at[1] + field] -= large * (paper - ink)
    return page


def _line(page: Sheet, row: int, thickness: int, level: float) -> Sheet:
    page[row : row + thickness] = np.minimum(page[row : row + thickness], level)
    return page


def ruled(digit: Digit) -> Sheet:
    page = sheet(digit)
    for row in range(13, SIDE, 52):
        _line(page, row, 3, 150)
    return page


def grid(digit: Digit) -> Sheet:
    page = ruled(digit)
    for column in range(21, SIDE, 52):
        _line(page.T, column, 3, 150)
    return page


def dashed(digit: Digit) -> Sheet:
    page, lines = sheet(digit), ruled(digit)
    return np.where(np.arange(SIDE) % 22 < 13, lines, page)


def slanted(digit: Digit) -> Image.Image:
    return picture(ruled(digit)).rotate(6, Image.Resampling.BICUBIC, fillcolor=235).crop((40, 40, 560, 560))


def line(digit: Digit) -> Sheet:
    return _line(sheet(digit), 425, 5, 60)


def boxed(digit: Digit) -> Sheet:
    page = sheet(digit)
    ImageDraw.Draw(frame := Image.new("L", (SIDE, SIDE), 255)).rectangle([120, 140, 460, 480], outline=90, width=4)
    return np.minimum(page, np.asarray(frame, float))


def row_of_boxes(digit: Digit) -> Sheet:
    page = sheet(digit, field=150, at=(225, 225))
    for row in (215, 380):
        _line(page, row, 3, 80)
    for column in (20, 210, 395, 580):
        page[215:380, column : column + 3] = np.minimum(page[215:380, column : column + 3], 80)
    return page


def margin(digit: Digit) -> Sheet:
    page = sheet(digit)
    page[:25] = page[:, :9] = 25
    return page


def dark_corner(digit: Digit) -> Sheet:
    page = sheet(digit)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    page[rows + columns < 190] = 30
    return page


def desk(digit: Digit) -> Image.Image:
    grain = 70 + 12 * np.sin(np.arange(700)[:, None] / 5 + np.sin(np.arange(700) / 60))
    table = picture(grain)
    turned = picture(sheet(digit)).crop((60, 70, 520, 530))
    table.paste(turned.rotate(7, expand=True), (60, 90), Image.new("L", turned.size, 255).rotate(7, expand=True))
    return table


def specks(digit: Digit) -> Sheet:
    page = sheet(digit, 120, 50)
    page[30:33, 560:563] = page[500:502, 60:62] = 255
    page[80:84, 90:94] = 0
    return page


def shadow(digit: Digit) -> Sheet:
    edge = np.arange(SIDE) - 0.3 * np.arange(SIDE)[:, None] - 190
    return sheet(digit) * (1 - 0.5 / (1 + np.exp((edge / 4).clip(-50, 50))))


def slope(digit: Digit) -> Sheet:
    return sheet(digit) * np.linspace(0.35, 1, SIDE)[:, None]


def vignette(digit: Digit) -> Sheet:
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE - 0.5
    return sheet(digit) * (1 - 1.3 * (rows**2 + columns**2))


def chalk_on_lines(digit: Digit) -> Sheet:
    return 255 - ruled(digit)


def round_corners(digit: Digit) -> Image.Image:
    grey = picture(sheet(digit, 250, 200, field=90))
    alpha = Image.new("L", grey.size)
    ImageDraw.Draw(alpha).rounded_rectangle([0, 0, SIDE - 1, SIDE - 1], radius=24, fill=255)
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def window(digit: Digit) -> Image.Image:
    """With the soft shadow of a screenshot."""
    framed = Image.new("L", (700, 700))
    framed.paste(picture(sheet(digit)), (50, 50))
    alpha = Image.new("L", framed.size)
    ImageDraw.Draw(alpha).rectangle([40, 45, 660, 665], fill=110)
    alpha = alpha.filter(ImageFilter.GaussianBlur(18))
    ImageDraw.Draw(alpha).rounded_rectangle([50, 50, 649, 649], radius=12, fill=255)
    return Image.merge("RGBA", (framed, framed, framed, alpha))


def picture(page: Sheet) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, 2.5, page.shape)
    return Image.fromarray((page + noise).clip(0, 255).astype(np.uint8))


KINDS: list[Callable[[Digit], Sheet | Image.Image]] = [
    ruled, grid, dashed, slanted, line, boxed, row_of_boxes, margin, dark_corner, desk, specks, shadow, slope, vignette,
    chalk_on_lines, round_corners, window,
]  # fmt: skip
