"""Score against bytes: the networks of this study beside those of the literature."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnlib.report.comparison import Point
from bnnlib.report.figures import labels, scores, style
from bnnlib.report.figures.labels import Label, Path
from bnnlib.report.figures.scores import Look, look
from bnnlib.sweeps.tables import BASELINE_COMMIT

# How others' networks are drawn, by their kind: only those measured here have a colour.
OTHERS = {
    "throughout": look("s", 7, "black"),
    "wider input": look("s", 7, "black", filled=False),
    "low bits": look("^", 7, "black", filled=False),
    "logic": look("P", 7, "black", filled=False),
    "full precision": look("x", 7, "black"),
}
LEGEND = {
    "throughout": "literature: 1 bit, also the input",
    "wider input": "literature: 1 bit, wider or unknown input",
    "low bits": "literature: 2 to 8 bits, or mixed",
    "logic": "literature: tables or gates, no weights",
    "full precision": "literature: full precision",
}
# Those of this study that are in no line, in the colour of their width: marker, size, filled.
OWN = {"published": ("*", 13, True), "baseline": ("v", 6, True), "old baseline": ("v", 6, False)}
OWN_LEGEND = {
    "published": "the published networks",
    "baseline": "topology baseline",
    "old baseline": f"topology baseline, measured at {BASELINE_COMMIT}",
}
BYTES_ASIDE = (2.5, 4)  # the axes go that many times below the smallest network and above the largest
NEAR = (850, 22_000)  # bytes that the second panel shows
NEAR_SCORE = 0.985  # which it shows too, however good ours are


class Region(NamedTuple):
    """What the second panel shows: bytes and scores, from and to."""

    left: float
    right: float
    bottom: float
    top: float

    def has(self, point: Point) -> bool:
        """Whether the point is inside."""
        return self.left <= point.weight_bytes <= self.right and self.bottom <= point.score <= self.top


def frontier(points: Sequence[Point]) -> Figure:
    """Score against bytes of weights, both stretched: bytes by a logarithm, the score by a logit.

    Beside networks of the literature a panel above shows the small ones, which the other one does not name again.
    """
    looks = scores.of_series((point.name, point.bits) for point in points if point.kind == "seeds" and point.bits)
    near = _near(points)
    others = any(point.bits is None for point in points)
    with style.style():
        figure = Figure(figsize=(10, 7 if near is None else 11.5), dpi=style.DPI)
        whole, *above = _panels(figure, near)
        for axes in (whole, *above):
            paths = _draw(axes, points, looks)
            axes.set_xlabel("bytes of weights")
            axes.set_ylabel("macro-F1 (literature: accuracy)" if others else "macro-F1")
        _show_all(whole, points, near)
        _legends(figure, points, looks)
        figure.supxlabel(scores.BARS, fontsize=labels.FONT)
        named = points
        if near is not None:
            frame = _show_near(whole, above[0], near)
            inside, named = _parted(points, near)
            labels.write(figure, above[0], [_label(point, named=True) for point in inside], paths)
            paths = [*paths, frame]
        labels.write(figure, whole, [_label(point, named=point in named) for point in points], paths)
    return figure


def _parted(points: Sequence[Point], near: Region) -> tuple[list[Point], list[Point]]:
    """The points inside the region, and the others."""
    inside = [point for point in points if near.has(point)]
    return inside, [point for point in points if not near.has(point)]


def _near(points: Sequence[Point]) -> Region | None:
    """What the second panel shows; None without networks of the literature, whose names need room."""
    small = [point for point in points if NEAR[0] <= point.weight_bytes <= NEAR[1]]
    if not any(point.bits is None for point in small):
        return None
    lowest = min([NEAR_SCORE, *(point.score for point in small if point.bits is not None)])
    edge = scores.below(lowest)
    while (least := min((point.score for point in small if point.score >= edge), default=lowest)) < lowest:
        lowest, edge = least, scores.below(least)  # no point is so near to the edge that it is cut off
    return Region(*NEAR, edge, scores.above(max([NEAR_SCORE, *(point.score for point in small)])))


def _panels(figure: Figure, near: Region | None) -> list[Axes]:
    """The panel of all networks, and above it that of the small ones."""
    if near is None:
        return [figure.add_subplot()]
    above, whole = figure.subplots(2, 1, height_ratios=(1.2, 1))
    return [whole, above]


def _draw(axes: Axes, points: Sequence[Point], looks: dict[str, Look]) -> list[Path]:
    """All networks, and the lines through ours, which are returned."""
    for point in points:
        scores.mark(axes, point.weight_bytes, point.score, point.error, _look(point, looks))
    swept = [point for point in points if point.kind == "seeds"]
    return [
        scores.join(axes, [(point.weight_bytes, point.score) for point in swept if point.name == name], each)
        for name, each in looks.items()
    ]


def _look(point: Point, looks: dict[str, Look]) -> Look:
    if point.bits is None:
        return OTHERS[point.kind]
    if point.kind == "seeds":
        return looks[point.name]
    shape, size, filled = OWN[point.kind]
    return look(shape, size, scores.WIDTHS[point.bits][1], filled=filled)


def _show_all(axes: Axes, points: Sequence[Point], near: Region | None) -> None:
    """Scales and limits that show all points, and the frame of the second panel."""
    sizes, found = [point.weight_bytes for point in points], [point.score for point in points]
    sizes += [] if near is None else NEAR
    axes.set(xscale="log", xlim=(min(sizes) / BYTES_ASIDE[0], max(sizes) * BYTES_ASIDE[1]))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    scores.scale(axes, scores.below(min(found)), scores.above(max(found)))


def _show_near(whole: Axes, above: Axes, near: Region) -> Path:
    """Limits of the second panel, and a frame around the same in the other one, which is returned."""
    above.set(xscale="log", xlim=(near.left, near.right))
    ticks = [size for size in (1_000, 2_000, 3_000, 5_000, 7_000, 10_000, 20_000) if near.left <= size <= near.right]
    above.set_xticks(ticks, [f"{size:,}" for size in ticks])
    above.set_xticks([], minor=True)
    scores.scale(above, near.bottom, near.top, scores.FINE_TICKS)
    above.set_title("the small ones, framed below", fontsize=labels.FONT + 1.5)
    left, right, bottom, top = near
    frame = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    whole.plot(*zip(*frame, strict=True), color="0.4", linestyle=":", linewidth=1.2)
    return frame


def _legends(figure: Figure, points: Iterable[Point], looks: dict[str, Look]) -> None:
    kinds = {point.kind for point in points}
    own = {f"this study: {name}": each for name, each in looks.items()}
    for kind, (shape, size, filled) in OWN.items():
        if kind in kinds:
            own[f"this study: {OWN_LEGEND[kind]}"] = look(shape, size, "0.4", filled=filled)
    scores.legend(figure, "outside upper left", own)
    scores.legend(figure, "outside upper right", {LEGEND[kind]: OTHERS[kind] for kind in OTHERS if kind in kinds})


def _label(point: Point, *, named: bool) -> Label:
    """The name of a network of the literature, where it is to be written; ours are in the legend."""
    low, high = scores.bar(point.score, point.error)
    name = point.name if named and point.bits is None else ""
    return Label(name, point.weight_bytes, scores.visible(point.score), low, high)
