"""What the figures of scores share: an axis on which scores near 1 are apart, error bars, a look for each width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

# Marker and colour of our networks by their bits, of Okabe and Ito's palette for colour-blind readers.
WIDTHS = {
    1: ("o", "#D55E00"),
    2: ("D", "#CC79A7"),
    4: (">", "#009E73"),
    8: ("X", "#E69F00"),
    16: ("H", "#0072B2"),
    32: ("<", "#56B4E9"),
}
DASHES = ("-", "--", ":", "-.")  # of several series of one width
TICKS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]
FINE_TICKS = [*TICKS[:4], 0.97, 0.98, 0.985, 0.99, 0.992, 0.994, 0.995, 0.996, 0.997, 0.998]
BARS = "Bars: standard deviation over several trainings; for one network the standard error of its score."
MOST = 0.9999  # a logit cannot show 1: better scores are drawn here, one error in 10,000
ODDS_ASIDE = (1.5, 1.8)  # the odds of the axis go that many times below the lowest score and above the highest
Look = dict[str, Any]  # of a marker: arguments of matplotlib


def look(shape: str, size: float, colour: str, *, filled: bool = True, dash: str = "") -> Look:
    """A marker; ``dash``: of the line through it, "" for none."""
    fill = "full" if filled else "none"
    return {"linestyle": dash, "marker": shape, "markersize": size, "color": colour, "fillstyle": fill}


def of_series(series: Iterable[tuple[str, int]]) -> dict[str, Look]:
    """The looks of our series, by name, narrow before wide. ``series``: name and bits of each, in any order."""
    found: dict[str, Look] = {}
    dashes: dict[int, int] = {}
    for name, bits in sorted(set(series), key=lambda each: (each[1], each[0])):
        shape, colour = WIDTHS[bits]
        place = dashes[bits] = dashes.get(bits, -1) + 1
        found[name] = look(shape, 6, colour, dash=DASHES[place % len(DASHES)])
    return found


def join(axes: Axes, places: Iterable[tuple[float, float]], shown: Look) -> list[tuple[float, float]]:
    """The line through the networks of a series, from left to right; their markers are drawn by `mark`."""
    path = sorted((x, visible(score)) for x, score in places)
    axes.plot(*zip(*path, strict=True), color=shown["color"], linestyle=shown["linestyle"], linewidth=1.2, zorder=1)
    return path


def mark(axes: Axes, x: float, score: float, error: float, shown: Look) -> None:
    """A network: its marker, and its error up and down."""
    middle, (low, high) = visible(score), bar(score, error)
    spread = [[middle - low], [high - middle]]
    axes.errorbar(x, middle, yerr=spread, capsize=2, elinewidth=0.8, capthick=0.8, **{**shown, "linestyle": ""})


def legend(figure: Figure, place: Any, looks: Mapping[str, Look], columns: int = 1) -> None:
    """A legend at a place outside of the axes; none without looks."""
    if looks:
        handles = [Line2D([], [], **each) for each in looks.values()]
        figure.legend(handles, [*looks], loc=place, ncols=columns, frameon=False)


def scale(axes: Axes, bottom: float, top: float, ticks: Sequence[float] = TICKS) -> None:
    """An axis of scores from ``bottom`` to ``top``, stretched by a logit."""
    axes.set(yscale="logit", ylim=(bottom, top))
    shown = [tick for tick in ticks if bottom <= tick <= top]
    axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
    axes.set_yticks([], minor=True)


def below(score: float) -> float:
    """Where an axis may begin whose lowest score this is."""
    return _odds(visible(score), 1 / ODDS_ASIDE[0])


def above(score: float) -> float:
    """Where an axis may end whose highest score this is."""
    return _odds(visible(score), ODDS_ASIDE[1])


def bar(score: float, error: float) -> tuple[float, float]:
    """Lower and upper end of the error bar, where a logit can show them."""
    middle = visible(score)
    return visible(middle - error), visible(middle + error)


def visible(score: float) -> float:
    """The score, or the nearest that a logit can show."""
    return min(max(score, 1 - MOST), MOST)


def _odds(score: float, factor: float) -> float:
    """The score with ``factor`` times the odds of ``score``: a step of the same length anywhere on a logit axis."""
    logit = math.log(score / (1 - score)) + math.log(factor)
    return 1 / (1 + math.exp(-logit))
