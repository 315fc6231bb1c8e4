"""Score against bytes: the networks of this study beside others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnnlib.report.comparison import Point
from bnnlib.report.figures import style
from bnnlib.sweeps.tables import BASELINE_COMMIT

# How a point is drawn, by what it stands for: marker, size, colour, filled. The study's own are in colour.
KINDS: dict[str, tuple[str, int, str, bool]] = {
    "binary": ("o", 8, style.COLOURS["binary"], True),
    "full": ("o", 8, style.COLOURS["full"], True),
    "seeds": ("D", 5, "#009E73", False),
    "baseline": ("v", 6, "#CC79A7", True),
    "throughout": ("s", 8, "black", True),
    "wider input": ("^", 8, "black", False),
    "full precision": ("x", 8, "black", False),
}
LEGEND = {
    "binary": "this study: the binary network",
    "full": "this study: the full network",
    "seeds": "this study: seeds, mean ± standard deviation",
    "baseline": f"baseline topology: seeds, measured at {BASELINE_COMMIT}",
    "throughout": "published: 1 bit, also the input",
    "wider input": "published: 1 bit, wider input",
    "full precision": "published: full precision",
}
OWN = {"binary", "full", "seeds", "baseline"}
SCORES = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]
MOST = 0.9999  # no logit shows 1: better scores are drawn here, one error in 10,000
FRONTIER = (8.4, 5.4)  # inches
AREA = (520, 285)  # what of it the axes take, in points of 1/72 inch: near enough to see which names would touch
LETTER = (5, 10)  # width and height of a letter of the names, in points
PLACES = {"right": (8, 0, "left"), "left": (-8, 0, "right"), "above": (0, 12, "center"), "below": (0, -12, "center")}


class Box(NamedTuple):
    """A rectangle in points, from the lower left corner of a figure with no bounds."""

    left: float
    right: float
    bottom: float
    top: float

    def touches(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        aside = self.right <= other.left or other.right <= self.left
        return not aside and self.bottom < other.top and other.bottom < self.top


def frontier(points: Sequence[Point]) -> Figure:
    """Score against bytes of weights, both stretched: bytes by a logarithm, the score by a logit."""
    scores, sizes = [_shown(point.score) for point in points], [point.weight_bytes for point in points]
    bottom, top = _odds(min(scores), 0.6), _odds(max(scores), 1.8)
    left, right = min(sizes) / 2.5, max(sizes) * 8  # names stand mostly to the right
    scale = AREA[0] / math.log10(right / left), AREA[1] / (_logit(top) - _logit(bottom))
    with style.style():
        figure = Figure(figsize=FRONTIER)
        axes = figure.add_subplot()
        for point in points:
            _point(axes, point)
        _name(axes, points, scale, (left, right))
        axes.set(xscale="log", yscale="logit", xlim=(left, right), ylim=(bottom, top))
        ticks = [tick for tick in SCORES if bottom <= tick <= top]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set_xlabel("bytes of weights")
        kinds = [kind for kind in KINDS if any(point.kind == kind for point in points)]
        axes.set_ylabel("macro-F1" if set(kinds) <= OWN else "macro-F1 (published: accuracy)")
        handles = [Line2D([], [], **_marker(kind)) for kind in kinds]
        figure.legend(handles, [LEGEND[kind] for kind in kinds], loc="outside upper center", ncols=2, frameon=False)
    return figure


def _point(axes: Axes, point: Point) -> None:
    reach = None if point.sd is None else [[point.sd], [min(point.sd, MOST - _shown(point.score))]]
    axes.errorbar(point.weight_bytes, _shown(point.score), yerr=reach, capsize=3, **_marker(point.kind))


def _name(axes: Axes, points: Sequence[Point], scale: tuple[float, float], limits: tuple[float, float]) -> None:
    """Write each name beside its point, where it touches no other point, no name and no edge, if there is room.

    ``scale``: points of 1/72 inch for a factor of ten in bytes, and for a unit of the logit. ``limits``: least and most
    bytes that the axes show.
    """
    left, right = (math.log10(limit) * scale[0] for limit in limits)
    edges = [Box(-math.inf, left, -math.inf, math.inf), Box(right, math.inf, -math.inf, math.inf)]
    taken = [*edges, *(_box(point, (-4, 4), (-4, 4), scale) for point in points)]
    for point in points:
        if point.name:
            boxes = {place: _box(point, *_reach(point.name, place), scale) for place in PLACES}
            free = [place for place, box in boxes.items() if not any(box.touches(other) for other in taken)]
            place = (free or [*PLACES])[0]
            taken.append(boxes[place])
            x, y, align = PLACES[place]
            axes.annotate(
                point.name,
                (point.weight_bytes, _shown(point.score)),
                xytext=(x, y),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=9,
            )


def _reach(name: str, place: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """How far a name at that place reaches from its point, left to right and bottom to top, in points."""
    x, y, align = PLACES[place]
    width, height = len(name) * LETTER[0], LETTER[1]
    start = {"left": x, "right": x - width, "center": x - width / 2}[align]
    return (start, start + width), (y - height / 2, y + height / 2)


def _box(point: Point, across: tuple[float, float], up: tuple[float, float], scale: tuple[float, float]) -> Box:
    x, y = math.log10(point.weight_bytes) * scale[0], _logit(point.score) * scale[1]
    return Box(x + across[0], x + across[1], y + up[0], y + up[1])


def _shown(score: float) -> float:
    return min(max(score, 1 - MOST), MOST)


def _logit(score: float) -> float:
    return math.log(_shown(score) / (1 - _shown(score)))


def _odds(score: float, factor: float) -> float:
    """The score whose odds are so many times those of ``score``: a step of the same length anywhere on a logit axis."""
    return 1 / (1 + math.exp(-_logit(score)) / factor)


def _marker(kind: str) -> dict[str, Any]:
    shape, size, colour, filled = KINDS[kind]
    fill = "full" if filled else "none"
    return {"linestyle": "", "marker": shape, "markersize": size, "color": colour, "fillstyle": fill}
