"""Score against bytes: the networks of this study beside those of the literature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnnlib.report.comparison import Point
from bnnlib.report.figures import labels, style
from bnnlib.report.figures.labels import Label
from bnnlib.sweeps.tables import BASELINE_COMMIT

Corner = Literal["outside upper left", "outside upper right"]
# How a point is drawn, by its kind: marker, size, colour, filled. Those measured here have a colour.
KINDS: dict[str, tuple[str, int, str, bool]] = {
    "binary": ("o", 8, style.COLOURS["binary"], True),
    "full": ("o", 8, style.COLOURS["full"], True),
    "seeds": ("D", 5, "#009E73", False),
    "baseline": ("v", 6, "#CC79A7", True),
    "throughout": ("s", 7, "black", True),
    "wider input": ("s", 7, "black", False),
    "low bits": ("^", 7, "black", False),
    "logic": ("P", 7, "black", False),
    "full precision": ("x", 7, "black", False),
}
LEGEND = {
    "binary": "this study: the binary network",
    "full": "this study: the full network",
    "seeds": "this study: sweep, mean of the seeds",
    "baseline": f"baseline topology: the same, measured at {BASELINE_COMMIT}",
    "throughout": "literature: 1 bit, also the input",
    "wider input": "literature: 1 bit, wider or unknown input",
    "low bits": "literature: 2 to 8 bits, or mixed",
    "logic": "literature: tables or gates, no weights",
    "full precision": "literature: full precision",
}
BARS = "Bars: standard deviation over several trainings; for one network the standard error of its score."
OWN = {"binary", "full", "seeds", "baseline"}
SCORES = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]
MOST = 0.9999  # a logit cannot show 1: better scores are drawn here, one error in 10,000
SIZE = (10, 7)  # inches
BYTES_ASIDE = (2.5, 4)  # the axes go that many times below the smallest network and above the largest
ODDS_ASIDE = (1.5, 1.8)  # the same for the odds of the scores


def frontier(points: Sequence[Point]) -> Figure:
    """Score against bytes of weights, both stretched: bytes by a logarithm, the score by a logit."""
    with style.style():
        figure = Figure(figsize=SIZE, dpi=style.DPI)
        axes = figure.add_subplot()
        for point in points:
            _draw(axes, point)
        _scale(axes, points)
        kinds = [kind for kind in KINDS if any(point.kind == kind for point in points)]
        others = [kind for kind in kinds if kind not in OWN]
        axes.set_xlabel("bytes of weights")
        axes.set_ylabel("macro-F1 (literature: accuracy)" if others else "macro-F1")
        _legend(figure, "outside upper left", [kind for kind in kinds if kind in OWN])
        _legend(figure, "outside upper right", others)
        figure.supxlabel(BARS, fontsize=labels.FONT)
        labels.write(figure, axes, [_label(point) for point in points])
    return figure


def _legend(figure: Figure, place: Corner, kinds: Sequence[str]) -> None:
    if kinds:
        handles = [Line2D([], [], **_marker(kind)) for kind in kinds]
        figure.legend(handles, [LEGEND[kind] for kind in kinds], loc=place, frameon=False)


def _draw(axes: Axes, point: Point) -> None:
    score, (low, high) = _shown(point.score), _bar(point)
    bar = [[score - low], [high - score]]
    axes.errorbar(point.weight_bytes, score, yerr=bar, capsize=2, elinewidth=0.8, capthick=0.8, **_marker(point.kind))


def _label(point: Point) -> Label:
    low, high = _bar(point)
    return Label(point.name, point.weight_bytes, _shown(point.score), low, high)


def _scale(axes: Axes, points: Sequence[Point]) -> None:
    """Scales, limits and ticks that show all points."""
    scores, sizes = [_shown(point.score) for point in points], [point.weight_bytes for point in points]
    bottom, top = _odds(min(scores), 1 / ODDS_ASIDE[0]), _odds(max(scores), ODDS_ASIDE[1])
    left, right = min(sizes) / BYTES_ASIDE[0], max(sizes) * BYTES_ASIDE[1]
    axes.set(xscale="log", yscale="logit", xlim=(left, right), ylim=(bottom, top))
    ticks = [tick for tick in SCORES if bottom <= tick <= top]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.xaxis.set_major_formatter("{x:,.0f}")


def _bar(point: Point) -> tuple[float, float]:
    """Lower and upper end of the error bar, where a logit can show them."""
    score = _shown(point.score)
    return _shown(score - point.error), _shown(score + point.error)


def _shown(score: float) -> float:
    return min(max(score, 1 - MOST), MOST)


def _odds(score: float, factor: float) -> float:
    """The score with ``factor`` times the odds of ``score``: a step of the same length anywhere on a logit axis."""
    odds = math.log(score / (1 - score)) + math.log(factor)
    return 1 / (1 + math.exp(-odds))


def _marker(kind: str) -> dict[str, Any]:
    shape, size, colour, filled = KINDS[kind]
    fill = "full" if filled else "none"
    return {"linestyle": "", "marker": shape, "markersize": size, "color": colour, "fillstyle": fill}
