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


def boxes(figure: Figure) -> dict[str, list[Box]]:
    """What is drawn, in pixels: the names, the markers (6 points wide at least), the error bars."""
    style.png(figure)
    [axes] = figure.axes
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
    names = {variant: style.name(variant, result["bits"]) for variant, result in metrics.items()}
    page = (ROOT / "docs/literature.md").read_text(encoding="utf-8")
    others = literature.parse(page, "literature.md")
    return comparison.points(metrics, sizes, names, comparison.swept(reports), others, "mnist")


CROWD = [Point("throughout", f"network {number}", 10_000 + 300 * number, 0.98, 0.001) for number in range(9)]
FAR = Point("full", "far", 4_000_000, 0.99, 0.001)


@pytest.mark.parametrize("given", [committed, lambda: [*CROWD, FAR]], ids=["committed", "crowd"])
def test_a_name_covers_no_name_marker_bar_or_edge(given: Callable[[], list[Point]]) -> None:
    points = given()
    figure = frontier.frontier(points)
    found = boxes(figure)
    extent = figure.axes[0].get_window_extent()
    frame = Box(extent.x0, extent.x1, extent.y0, extent.y1)
    assert len(found["names"]) == sum(bool(point.name) for point in points)
    for one, other in itertools.combinations(found["names"], 2):
        assert not one.touches(other)
    for name, mark in itertools.product(found["names"], found["markers"] + found["bars"]):
        assert not name.touches(mark)
    assert all(name.inside(frame) for name in found["names"])


def test_a_name_away_from_its_point_has_a_line_to_it() -> None:
    texts = frontier.frontier([*CROWD, FAR]).axes[0].texts
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
    others = [Point("throughout", "", size, 0.98, 0.001) for size in (12_000, 10_000_000)]
    figure = frontier.frontier([Point("throughout", "of a long long name", 10_000, 0.98, 0.001), *others])
    [name] = boxes(figure)["names"]
    assert name.left >= figure.axes[0].get_window_extent().x0


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
