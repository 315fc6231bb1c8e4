"""The shapes in a picture: which of its connected parts belong to a digit, and which are lines, frames, dirt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bnnlib.serving import lines, morphology
from bnnlib.serving.morphology import Mask
from bnnlib.serving.shading import Relief

FAINT, SOLID = 0.2, 0.45  # of the depth of strokes: a digit has a solid part, and what is faint around it belongs to it
LONG_LINE, WHOLE = 0.45, 0.9  # of the picture's longer side, or of the one that it goes along
OTHER_SIDE, OTHER_AREA = 0.35, 0.1  # of the largest shape: from here on a shape is another digit
NEAR, BESIDE, ABOVE = 0.22, 0.07, 0.3  # gaps between the parts of a digit, of the longer side of its largest part
DOT = 0.06  # of the longer side of the largest part: specks, and crossings of lines
THIN_WALL = 4  # pixels


@dataclass(frozen=True)
class Part:
    """A connected part: its number in the labels, its box (first and last plus one), its pixels."""

    number: int
    top: int
    left: int
    bottom: int
    right: int
    area: int

    @property
    def height(self) -> int:
        """Of the box."""
        return self.bottom - self.top

    @property
    def width(self) -> int:
        """Of the box."""
        return self.right - self.left

    @property
    def side(self) -> int:
        """The longer side of the box."""
        return max(self.height, self.width)


@dataclass(frozen=True)
class Scene:
    """The digits found, each as a mask (height, width), from left to right; and whether something was left out."""

    digits: list[Mask]
    left_out: bool = False


def find(relief: Relief) -> Scene:
    """Look for digits in the relief of a picture."""
    faint = relief.depth > min(max(FAINT, relief.noise), 0.5)
    solid = relief.depth > min(max(SOLID, relief.noise), 0.6)
    ruled = _ruled(faint)
    if (solid & ~ruled).sum() <= 0.02 * solid.sum():  # then they are strokes
        ruled = np.zeros_like(faint)
    solid, faint = solid & ~ruled, faint & ~ruled
    labels = morphology.label(solid)
    parts = [part for part in measure(labels) if not _rung(part, ruled)]
    return Scene([_grown(labels, group, faint) for group in _groups(parts)], bool(ruled.any()))


def _ruled(mask: Mask) -> Mask:
    height, width = mask.shape
    longer = max(mask.shape)  # on a narrow strip a digit is as high as the strip
    level = lines.across(mask, min(LONG_LINE * longer, WHOLE * width))
    upright = lines.across(np.ascontiguousarray(mask.T), min(LONG_LINE * longer, WHOLE * height)).T
    return level | upright


def measure(labels: NDArray[np.int32]) -> list[Part]:
    """The parts of a labelled picture, the largest first, specks of one or two pixels left out."""
    count = int(labels.max())
    area = np.bincount(labels.ravel(), minlength=count + 1)
    rows, columns = np.nonzero(labels)
    numbers = labels[rows, columns]
    low = np.full((2, count + 1), 1 << 30)
    high = np.full((2, count + 1), -1)
    for axis, places in enumerate((rows, columns)):
        np.minimum.at(low[axis], numbers, places)
        np.maximum.at(high[axis], numbers, places)
    order = [number for number in np.argsort(-area[1:], kind="stable") + 1 if area[number] > 2]
    return [
        Part(int(n), int(low[0, n]), int(low[1, n]), int(high[0, n]) + 1, int(high[1, n]) + 1, int(area[n]))
        for n in order[:200]
    ]


def _rung(part: Part, ruled: Mask) -> bool:
    """Whether a straight thin part goes from one line to another, as the walls of a row of boxes do."""
    if part.side < 4 * min(part.height, part.width) or part.area > THIN_WALL * part.side:
        return False
    upright = part.height > part.width
    across = slice(max(0, (part.left if upright else part.top) - 2), (part.right if upright else part.bottom) + 2)
    first, last = (part.top, part.bottom) if upright else (part.left, part.right)
    ends = (ruled if upright else ruled.T)[:, across]
    return bool(ends[max(0, first - 5) : first + 2].any() and ends[last - 2 : last + 5].any())


def _groups(parts: list[Part]) -> list[list[Part]]:
    """The parts of each digit, from left to right; specks are left out."""
    if not parts:
        return []
    largest = max(parts, key=lambda part: part.area * part.side)
    close = [part for part in parts if part.area > 0.001 * largest.area]
    group = list(range(len(close)))
    for i in range(len(close)):
        for j in range(i):
            if group[i] != group[j] and _belong(close[i], close[j], largest.side):
                group = [group[j] if g == group[i] else g for g in group]
    found = [[part for part, g in zip(close, group, strict=True) if g == number] for number in sorted(set(group))]
    main = max(found, key=lambda each: sum(part.area for part in each))
    area, height = sum(part.area for part in main), _height(main)
    found = [
        each
        for each in found
        if each is main or (sum(part.area for part in each) > OTHER_AREA * area and _height(each) > OTHER_SIDE * height)
    ]
    return sorted(found, key=lambda each: min(part.left for part in each))


def _height(parts: list[Part]) -> int:
    return max(part.bottom for part in parts) - min(part.top for part in parts)


def _side(parts: list[Part]) -> int:
    return max(_height(parts), max(part.right for part in parts) - min(part.left for part in parts))


def _belong(one: Part, other: Part, side: int) -> bool:
    """Whether two parts are near enough to be of one digit, by their boxes."""
    down = max(one.top, other.top) - min(one.bottom, other.bottom)
    aside = max(one.left, other.left) - min(one.right, other.right)
    gap = max(down, aside, 0)
    narrower = min(one.width, other.width)
    if min(one.side, other.side) < DOT * side:
        return gap <= BESIDE * side
    bit = min(one.height, other.height) < OTHER_SIDE * side  # a digit beside another is as high
    if aside < 0:
        return gap <= (ABOVE if -aside >= 0.4 * narrower else NEAR) * side
    return gap <= (NEAR if bit else BESIDE) * side


def _grown(labels: NDArray[np.int32], group: list[Part], faint: Mask) -> Mask:
    """The digit's solid parts with what is faint around them."""
    mask = np.isin(labels, [part.number for part in group])
    for _ in range(max(2, round(0.04 * _side(group)))):
        mask = mask | (morphology.dilated(mask, 1) & faint)
    return mask
