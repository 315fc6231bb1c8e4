"""Names in a figure: they cover nothing, and those away from their point have a line to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from support.paths import ROOT

from bnnlib.core import files
from bnnlib.report import comparison, literature
from bnnlib.report.comparison import Point
from bnnlib.report.figures import frontier, style
from bnnlib.report.figures.labels import Box


def boxes(figure: Figure, axes: Axes) -> dict[str, list[Box]]:
    """What is drawn inside the axes, in pixels: names, markers (6 points wide at least), error bars."""
    style.png(figure)
    extents = [Text.get_window_extent(text) for text in axes.texts]  # without the line
    names = [Box(extent.x0, extent.x1, extent.y0, extent.y1) for extent in extents]
    middles = [axes.transData.transform(container.lines[0].get_xydata()[0]) for container in axes.containers]
    side = 6 * figure.dpi / 72
    markers = [Box.around(x, y, side, side) for x, y in middles]
    return {"names": names, "markers": markers, "bars": bars(axes)}


def bars(axes: Axes) -> list[Box]:
    ends = [axes.transData.transform(container.lines[2][0].get_segments()[0]) for container in axes.containers]
    return [Box(low[0], high[0] + 1, low[1], high[1]) for low, high in ends]


def committed() -> list[Point]:
    """The points of the committed figure."""
    reports = ROOT / "reports"
    metrics, sizes = (files.read_json(reports / f"{name}.json") for name in ("metrics", "sizes"))
    page = (ROOT / "docs/literature.md").read_text(encoding="utf-8")
    others = literature.parse(page, "literature.md")
    return comparison.points(metrics, sizes, comparison.swept(reports), others, "mnist")


def many() -> list[Point]:
    """The same with a sweep of eight sizes at 1 bit, and of four at each other width."""
    sizes = (1_100, 2_000, 3_200, 5_400, 7_300, 9_300, 11_300, 16_000)
    lines = {bits: sizes if bits == 1 else [size * bits for size in sizes[1::2]] for bits in (1, 2, 4, 8, 16)}
    swept = [
        Point("seeds", f"{bits} bits", size, 0.9965 - 0.003 * bits**0.5 * (10_000 / size) ** 0.6, 0.0005, bits)
        for bits, line in lines.items()
        for size in line
    ]
    return [point for point in committed() if point.kind != "seeds"] + swept


CROWD = [Point("throughout", f"network {number}", 10_000 + 300 * number, 0.98, 0.001) for number in range(9)]
FAR = Point("low bits", "far", 4_000_000, 0.99, 0.001)


@pytest.mark.parametrize("given", [committed, many, lambda: [*CROWD, FAR]], ids=["committed", "many", "crowd"])
def test_a_name_covers_no_name_marker_bar_or_edge(given: Callable[[], list[Point]]) -> None:
    points = given()
    figure = frontier.frontier(points)
    written = 0
    for axes in figure.axes:
        found = boxes(figure, axes)
        written += len(found["names"])
        extent = axes.get_window_extent()
        frame = Box(extent.x0, extent.x1, extent.y0, extent.y1)
        for one, other in itertools.combinations(found["names"], 2):
            assert not one.touches(other)
        for name, mark in itertools.product(found["names"], found["markers"] + found["bars"]):
            assert not name.touches(mark)
        assert all(name.inside(frame) for name in found["names"])
    assert written == sum(point.bits is None for point in points)


def test_a_name_covers_no_line() -> None:
    """The line goes through the point, to the left and to the right, where the name would be without it."""
    point = Point("low bits", "a name", 100_000, 0.97, 0.001)
    ends = [(20_000, 0.97), (900_000, 0.97)]
    line = [Point("seeds", "1 bit", size, score, 0.0001, 1) for size, score in ends]
    figure = frontier.frontier([point, *line])
    [axes] = figure.axes
    [name] = boxes(figure, axes)["names"]
    (x, y), (to_x, to_y) = axes.transData.transform(ends)
    for share in (step / 1_000 for step in range(1_001)):
        assert not name.touches(Box.around(x + share * (to_x - x), y + share * (to_y - y), 0.1, 0.1))


def test_a_name_away_from_its_point_has_a_line_to_it() -> None:
    texts = [text for axes in frontier.frontier([*CROWD, FAR]).axes for text in axes.texts]
    far = {text.get_text(): max(abs(offset) for offset in text.xyann) > 40 for text in texts}
    lines = {text.get_text(): text.arrow_patch is not None for text in texts}
    assert lines["far"] is False
    assert sum(lines.values()) >= 3
    assert all(lines[name] for name, away in far.items() if away)


def test_with_room_a_name_is_to_the_right_of_its_point() -> None:
    [text] = frontier.frontier([FAR]).axes[0].texts
    right, up = text.xyann
    assert right > 0
    assert up == pytest.approx(0, abs=1e-12)


def test_a_name_crosses_no_edge_of_the_axes() -> None:
    """To the right of the first is another point, and to its left too little room for the name."""
    others = [Point("published", "1 bit", size, 0.98, 0.001, 1) for size in (120_000, 100_000_000)]
    figure = frontier.frontier([Point("throughout", "of a long long name", 100_000, 0.98, 0.001), *others])
    [axes] = figure.axes
    [name] = boxes(figure, axes)["names"]
    assert name.left >= axes.get_window_extent().x0


@pytest.mark.parametrize(
    ("other", "touches", "inside"),
    [
        (Box(2, 4, 2, 4), True, False),
        (Box(3, 5, 0, 3), False, False),  # an edge
        (Box(0, 3, 3, 5), False, False),
        (Box(-1, 4, -1, 4), True, True),
        (Box(0, 3, 0, 3), True, True),
    ],
)
def test_boxes(other: Box, touches: bool, inside: bool) -> None:
    one = Box.around(1.5, 1.5, 3, 3)
    assert one == Box(0, 3, 0, 3)
    assert one.touches(other) is other.touches(one) is touches
    assert one.inside(other) is inside
