"""Names beside the points of a figure, where they cover nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

# Lengths are in points of 1/72 inch, angles in degrees anticlockwise from the right.
FONT = 8.5
GAP = 1.5  # around a name
MARKER = 4.5  # half the size of a marker
BAR = 2.0  # half the width of an error bar with its caps
ANGLES = (0, 180, 90, 270, 45, 315, 135, 225, 22.5, 337.5, 157.5, 202.5, 67.5, 292.5, 112.5, 247.5)
NEAR = 7.0  # from a point to its name; a name that has to be farther away gets a line
FAR = (14.0, 22.0, 30.0, 40.0, 52.0, 66.0)
STEP = 3.0  # between the boxes that stand for a line
LINE: dict[str, Any] = {"arrowstyle": "-", "color": "0.55", "linewidth": 0.7, "shrinkA": 0, "shrinkB": MARKER}


class Label(NamedTuple):
    """A name for the point (x, y), whose error bar goes from ``low`` to ``high``; all in the units of the axes."""

    name: str
    x: float
    y: float
    low: float
    high: float


class Box(NamedTuple):
    """A rectangle in points, from the lower left corner of the figure."""

    left: float
    right: float
    bottom: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, width: float, height: float) -> Box:
        """The rectangle of that size with its middle at (x, y)."""
        return cls(x - width / 2, x + width / 2, y - height / 2, y + height / 2)

    def touches(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        aside = self.right <= other.left or other.right <= self.left
        return not aside and self.bottom < other.top and other.bottom < self.top

    def inside(self, other: Box) -> bool:
        """Whether it lies entirely within the other."""
        across = other.left <= self.left and self.right <= other.right
        return across and other.bottom <= self.bottom and self.top <= other.top


class Place(NamedTuple):
    """A possible place of a name: the offset of its middle from its point, and what it and its line would cover.

    ``anchor``: where on the name the line ends, (0, 0) its lower left corner and (1, 1) the upper right one.
    """

    offset: tuple[float, float]
    anchor: tuple[float, float]
    name: Box
    line: list[Box]


Path = Sequence[tuple[float, float]]  # a line through these points (x, y), in the units of the axes


def write(figure: Figure, axes: Axes, labels: Sequence[Label], paths: Sequence[Path] = ()) -> None:
    """Write each name at the first place where it covers no point, bar, name, line or edge; else where it covers least.

    ``paths``: lines drawn already. The axes must have their final scales and limits.
    """
    figure.draw_without_rendering()  # fixes where the axes are
    scale = 72 / figure.dpi
    frame = _frame(axes, scale)
    taken: list[Box] = [box for label in labels for box in _marks(axes, label, scale)]
    taken += [box for path in paths for box in _along(axes, path, scale) if box.touches(frame)]
    for label in labels:
        if label.name:
            places = _places(*_position(axes, label.x, label.y, scale), *_size(axes, label.name, scale))
            best = _best(places, np.array(taken), frame)
            taken += [best.name, *best.line]
            _write(axes, label, best)


def _write(axes: Axes, label: Label, place: Place) -> None:
    axes.annotate(
        label.name,
        (label.x, label.y),
        xytext=place.offset,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=FONT,
        arrowprops={**LINE, "relpos": place.anchor} if place.line else None,
    )


def _places(x: float, y: float, width: float, height: float) -> Iterator[Place]:
    """All places of a name of that size around (x, y), the best first."""
    for reach, angle in itertools.product((NEAR, *FAR), ANGLES):
        along, up = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # -1, 0 or 1: on which side of its anchor the name is
        right, above = (round(part * 1.2) for part in (along, up))
        offset = reach * along + right * width / 2, reach * up + above * height / 2
        name = Box.around(x + offset[0], y + offset[1], width + 2 * GAP, height + 2 * GAP)
        steps = range(int(MARKER) + 1, int(reach), 2) if reach > NEAR else ()
        line = [Box.around(x + step * along, y + step * up, 1, 1) for step in steps]
        yield Place(offset, ((1 - right) / 2, (1 - above) / 2), name, line)


def _best(places: Iterator[Place], taken: NDArray[np.float64], frame: Box) -> Place:
    """The first place that covers nothing, else the first of those that cover least. ``taken``: boxes, (n, 4)."""
    costs = ((place, _cost(place, taken, frame)) for place in places)
    best, least = next(costs)
    for place, cost in costs:
        if least == 0:
            break
        if cost < least:
            best, least = place, cost
    return best


def _cost(place: Place, taken: NDArray[np.float64], frame: Box) -> int:
    """How much it covers: lines may cross other things rather than names touch, and nothing leaves the axes."""
    names, lines = _touched(place.name, taken), sum(_touched(box, taken) for box in place.line)
    return 1_000 * (not place.name.inside(frame)) + 100 * names + lines


def _touched(box: Box, taken: NDArray[np.float64]) -> int:
    """How many of the boxes (n, 4) it shares more than an edge with."""
    left, right, bottom, top = taken.T
    return int(((box.left < right) & (left < box.right) & (box.bottom < top) & (bottom < box.top)).sum())


def _marks(axes: Axes, label: Label, scale: float) -> list[Box]:
    """The marker and the error bar of a point."""
    x, y = _position(axes, label.x, label.y, scale)
    low, high = (_position(axes, label.x, end, scale)[1] for end in (label.low, label.high))
    return [Box.around(x, y, 2 * MARKER, 2 * MARKER), Box(x - BAR, x + BAR, low - 1, high + 1)]


def _along(axes: Axes, path: Path, scale: float) -> Iterator[Box]:
    """Small boxes along a line."""
    places = [_position(axes, x, y, scale) for x, y in path]
    for (x, y), (to_x, to_y) in itertools.pairwise(places):
        steps = max(math.ceil(math.hypot(to_x - x, to_y - y) / STEP), 1)
        for share in (step / steps for step in range(steps + 1)):
            yield Box.around(x + share * (to_x - x), y + share * (to_y - y), 1, 1)


def _position(axes: Axes, x: float, y: float, scale: float) -> tuple[float, float]:
    across, up = axes.transData.transform((x, y))
    return float(across) * scale, float(up) * scale


def _frame(axes: Axes, scale: float) -> Box:
    extent = axes.get_window_extent()
    return Box(extent.x0 * scale, extent.x1 * scale, extent.y0 * scale, extent.y1 * scale)


def _size(axes: Axes, name: str, scale: float) -> tuple[float, float]:
    """Width and height of a written name."""
    text = axes.text(0.5, 0.5, name, fontsize=FONT, transform=axes.transAxes)
    extent = text.get_window_extent()
    text.remove()
    return extent.width * scale, extent.height * scale
