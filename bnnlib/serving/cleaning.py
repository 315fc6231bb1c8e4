"""Digits found in pictures as people take them: on ruled paper, in frames, in bad light, with dirt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bnnlib.data.mnist import WHITE
from bnnlib.serving import shading, shapes
from bnnlib.serving.morphology import Grey, Mask, dilated, highest, holds_square
from bnnlib.serving.shading import Relief

LEAST, WORK = 192, 384  # pixels: the longer side of the picture that is looked at, of a small one and of a large one
SMALL = 90  # pixels: a digit whose longer side is less is looked at again, nearer
SOLID = 0.5  # of the depth of strokes
FAINT = 0.13  # of the depth of strokes: what is fainter is paper
# Strokes are narrower than this share of the digit's longer side (of 1,000 digits of MNIST one is as wide as 0.4).
# What is wider is a sheet, a stain or a hand.
BLOB = 0.45
FULL, SQUARE = 0.66, 0.55  # ... and so is what fills that share of a box that is at least as square as that

NOISY = 0.4  # of the depth of strokes: noise that is smoothed first
EDGE = 0.4  # of the difference to the paper that a shape's outline must have within two pixels
UNIFORM = 0.75  # share of what is around a digit that is as bright as the paper
OUTLINED = 0.95  # share of an outline that has an edge, for strokes

Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Look:
    """A picture as it is looked at, for dark strokes or for ``light`` ones, and what was found in it."""

    view: Image.Image
    light: bool
    relief: Relief
    scene: shapes.Scene

    def strokes(self, mask: Mask) -> NDArray[np.float32]:
        """The strokes of a digit, 0 to 1, in their box; float32 (height, width)."""
        shown = dilated(mask, 1) & (self.relief.depth >= max(FAINT, min(self.relief.noise, 0.5)))
        rows, columns = extent(shown)
        return np.where(shown, self.relief.depth, 0)[slice(*rows), slice(*columns)].astype(np.float32)

    @property
    def solid(self) -> bool:
        """Whether the largest shape, or most of them, are too solid to be made of strokes."""
        largest = sorted(self.scene.digits, key=np.sum)[-8:]
        return bool(largest) and (is_blob(largest[-1]) or sum(map(is_blob, largest)) > len(largest) / 2)

    @cached_property
    def shown(self) -> Mask:
        """All digits together."""
        return np.logical_or.reduce(self.scene.digits)

    @property
    def fill(self) -> float:
        """The share of their box that the digits cover."""
        return float(_in_box(self.shown).mean())

    @cached_property
    def outlined(self) -> float:
        """The share of the digits' outline at which the picture has an edge.

        A sheet that is cut up, because parts of it are too wide for strokes, has outlines where there is nothing.
        """
        outline = self.shown & dilated(~self.shown, 1)
        padded = np.pad(np.asarray(self.view), 2, mode="edge")
        high = highest(highest(padded, 5, 0), 5, 1)[outline]
        low = WHITE - highest(highest(WHITE - padded, 5, 0), 5, 1)[outline]
        return float((high.astype(np.float32) - low >= EDGE * self.relief.difference[outline]).mean())

    @cached_property
    def quality(self) -> float:
        """How much the digits stand out from what is just outside their box, times the side of the box.

        What a loop of a stroke encloses stands out from the stroke, but not from the paper beyond it.
        """
        if not self.scene.digits:
            return -1.0
        (top, bottom), (left, right) = extent(self.shown)
        if not self.outside.size:
            return 0.0
        paper, strokes = self.levels
        contrast = (strokes - paper if self.light else paper - strokes) / (max(paper, strokes) + 1)
        return contrast * max(bottom - top, right - left) * self.outlined**4

    @cached_property
    def outside(self) -> Grey:
        """The pixels just outside the box of the digits, (n,)."""
        (top, bottom), (left, right) = extent(self.shown)
        reach = max(4, max(bottom - top, right - left) // 5)
        ring = np.ones_like(self.shown)
        ring[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = False
        around = slice(max(0, top - reach), bottom + reach), slice(max(0, left - reach), right + reach)
        return np.asarray(self.view)[around][ring[around]]

    @cached_property
    def levels(self) -> tuple[float, float]:
        """The median brightness just outside the box of the digits, and that of the digits."""
        return float(np.median(self.outside)), float(np.median(np.asarray(self.view)[self.shown]))

    @property
    def on_paper(self) -> bool:
        """Whether what is outside the box is all alike: no strokes of the other look, whose loops these would be."""
        if not self.outside.size:
            return False
        paper, strokes = self.levels
        return float((np.abs(self.outside.astype(np.float32) - paper) < 0.3 * abs(paper - strokes)).mean()) > UNIFORM


def look(view: Image.Image, light: bool) -> Look:
    """Look for digits of dark strokes, or of light ones."""
    relief = shading.relief(view, light)
    if relief.noise > NOISY and relief.contrast:
        view = view.filter(ImageFilter.MedianFilter(5))
        relief = shading.relief(view, light)
    return Look(view, light, relief, shapes.find(relief) if relief.contrast else shapes.Scene([]))


def better(one: Look, other: Look) -> Look:
    """Of the looks for dark and for light strokes the one that found the digits, rather than what is around them."""
    first, second = sorted((one, other), key=lambda each: each.quality, reverse=True)
    if second.quality <= 0 or second.solid or not second.on_paper or not _inside(second, first):
        return first
    return second if first.solid or first.outlined < OUTLINED <= second.outlined else first


def _inside(inner: Look, outer: Look) -> bool:
    (top, bottom), (left, right) = extent(inner.shown)
    (above, below), (before, behind) = extent(outer.shown)
    return above <= top and bottom <= below and before <= left and right <= behind


def reduced(grey: Image.Image) -> Image.Image:
    """The picture with a longer side of `LEAST` to `WORK` pixels."""
    scale = min(max(max(grey.size), LEAST), WORK) / max(grey.size)
    size = (max(1, round(grey.width * scale)), max(1, round(grey.height * scale)))
    if scale > 1:
        return grey.resize(size, Image.Resampling.BICUBIC)
    return grey.resize(size, Image.Resampling.BOX, reducing_gap=2.0)


def extent(mask: Mask) -> tuple[tuple[int, int], tuple[int, int]]:
    """First row and the one after the last, and likewise the columns, of what is true."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(rows[0]), int(rows[-1]) + 1), (int(columns[0]), int(columns[-1]) + 1)


def _in_box(mask: Mask) -> Mask:
    """The part of a mask that holds all that is true."""
    rows, columns = extent(mask)
    return mask[slice(*rows), slice(*columns)]


def is_blob(mask: Mask) -> bool:
    """Whether a shape is too solid to be made of strokes."""
    shape = _in_box(mask)
    full = shape.mean() > FULL and min(shape.shape) > SQUARE * max(shape.shape)
    return bool(full) or holds_square(shape, max(2, round(BLOB * max(shape.shape))))


def box_of(mask: Mask, view: Image.Image, size: tuple[int, int]) -> Box:
    """A digit's box in the picture of ``size`` (width, height) that the view shows."""
    (top, bottom), (left, right) = extent(mask)
    across, down = size[0] / view.width, size[1] / view.height
    return round(left * across), round(top * down), round(right * across), round(bottom * down)


def nearer(grey: Image.Image, light: bool, box: Box) -> NDArray[np.float32] | None:
    """The strokes of a small digit, of the picture around its box alone; None where they are not found again."""
    left, top, right, bottom = box
    wider = int(0.8 * max(right - left, bottom - top))
    around = max(0, left - wider), max(0, top - wider), min(grey.width, right + wider), min(grey.height, bottom + wider)
    again = look(reduced(grey.crop(around)), light)
    return again.strokes(max(again.scene.digits, key=np.sum)) if again.scene.digits else None
