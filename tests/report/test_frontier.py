"""What the figure of score against size shows; test_plots checks that it is the same bytes each time."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.axes import Axes
from support.figure_data import OWN, POINTS

from bnnlib.config.spec import BITS
from bnnlib.report.comparison import Point
from bnnlib.report.figures import frontier, scores


def shown(axes: Axes) -> list[tuple[float, float]]:
    """Where the markers are, in the order of the points."""
    return [
        (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in (container.lines[0] for container in axes.containers)
    ]


def names(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_each_network_is_at_its_size_and_score_in_both_panels() -> None:
    figure = frontier.frontier(POINTS)
    assert len(figure.axes) == 2
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "logit")
        assert shown(axes) == [(point.weight_bytes, point.score) for point in POINTS]
        markers = [container.lines[0].get_marker() for container in axes.containers]
        assert markers == ["*", "*", "o", "o", "D", "v", "v", "s", "s", "^", "P", "x"]


def test_a_line_joins_the_sizes_of_a_width_and_nothing_else() -> None:
    for axes in frontier.frontier(POINTS).axes:
        joined = [line for line in axes.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]
        assert [line.get_xydata().tolist() for line in joined] == [
            [[3_000, 0.985], [9_000, 0.992]],
            [[13_928, 0.991]],
        ]
        assert [line.get_color() for line in joined] == [scores.WIDTHS[bits][1] for bits in (1, 2)]


def test_a_point_in_no_line_has_the_colour_of_its_width() -> None:
    axes = frontier.frontier(POINTS).axes[0]
    found = {point: container.lines[0] for point, container in zip(POINTS, axes.containers, strict=True)}
    for point in OWN:
        assert found[point].get_color() == scores.WIDTHS[point.bits][1]
    assert {found[point].get_color() for point in POINTS if point.bits is None} == {"black"}
    fills = {point.kind: found[point].get_fillstyle() for point in OWN}
    assert (fills["baseline"], fills["old baseline"]) == ("full", "none")


def test_the_literature_is_named_once_where_it_is_larger_and_ours_is_in_the_legend() -> None:
    above, whole = frontier.frontier(POINTS).axes
    assert names(above) == ["A CNN"]
    assert names(whole) == ["A net", "An MLP", "A chip", "Another"]


def test_the_second_panel_shows_the_small_networks_and_is_framed_in_the_other() -> None:
    above, whole = frontier.frontier(POINTS).axes
    [frame] = [line for line in whole.lines if line.get_linestyle() == ":"]
    (left, right), (bottom, top) = above.get_xlim(), above.get_ylim()
    assert (left, right) == frontier.NEAR
    assert frame.get_path().get_extents().extents.tolist() == pytest.approx([left, bottom, right, top])
    assert whole.get_xlim()[0] < left < right < whole.get_xlim()[1]
    for point in OWN:
        if left <= point.weight_bytes <= right:
            assert bottom < point.score - point.error
            assert point.score + point.error < top


@pytest.mark.parametrize("score", [0.5, 0.93, 0.974, 0.979])
def test_a_far_off_network_of_others_is_left_to_the_panel_of_all_or_shown_whole(score: float) -> None:
    far = Point("low bits", "far", 5_000, score, 0.001)
    above, whole = frontier.frontier([*POINTS, far]).axes
    assert ("far" in names(above)) == (score > above.get_ylim()[0]) == (score > 0.975)
    assert ("far" in names(above)) != ("far" in names(whole))
    # Nothing is cut off: the least score shown is as far from the edge as anything of ours would be.
    least = min(y for x, y in shown(above) if frontier.NEAR[0] <= x <= frontier.NEAR[1] and y > above.get_ylim()[0])
    assert above.get_ylim()[0] == pytest.approx(scores.below(least))


def test_our_own_small_network_is_in_the_second_panel_however_bad() -> None:
    above, _ = frontier.frontier([*POINTS, Point("seeds", "1 bit", 1_100, 0.7, 0.001, 1)]).axes
    assert above.get_ylim()[0] < 0.7


def test_without_literature_there_is_one_panel() -> None:
    figure = frontier.frontier(OWN)
    [axes] = figure.axes
    assert axes.get_ylabel() == "macro-F1"
    assert names(axes) == []
    assert len(figure.legends) == 1
    assert {axes.get_ylabel() for axes in frontier.frontier(POINTS).axes} == {"macro-F1 (literature: accuracy)"}


def test_the_legends_explain_what_is_shown() -> None:
    figure = frontier.frontier(POINTS)
    own, others = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    kinds = [frontier.OWN_LEGEND[kind] for kind in ("published", "baseline", "old baseline")]
    assert own == [f"this study: {name}" for name in ("1 bit", "2 bits", *kinds)]
    assert others == [frontier.LEGEND[point.kind] for point in POINTS if point.bits is None]
    assert "standard error" in figure.get_supxlabel()


def test_two_surrogates_of_a_width_are_two_lines_apart_in_their_dashes() -> None:
    points = [Point("seeds", f"1 bit, {name}", size, 0.99, 0.001, 1) for name in ("ste", "approx") for size in (2, 3)]
    figure = frontier.frontier(points)
    lines = [line for line in figure.axes[0].lines if line.get_marker() == "None" and len(line.get_xdata()) == 2]
    assert len({line.get_linestyle() for line in lines}) == 2
    assert len({line.get_color() for line in lines}) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "this study: 1 bit, approx",
        "this study: 1 bit, ste",
    ]


def test_the_bar_of_each_network_is_its_error_up_and_down() -> None:
    for axes, (container, point) in itertools.chain.from_iterable(
        ((axes, pair) for pair in zip(axes.containers, POINTS, strict=True)) for axes in frontier.frontier(POINTS).axes
    ):
        [[[_, low], [_, high]]] = container.lines[2][0].get_segments()
        expected = [point.score - point.error, point.score + point.error]
        assert [low, high] == pytest.approx(expected, abs=1e-12), (axes, point.name)


def test_every_kind_of_point_looks_different_without_colours_and_has_a_label() -> None:
    assert set(frontier.LEGEND) == set(frontier.OTHERS)
    assert set(frontier.OWN_LEGEND) == set(frontier.OWN)
    shapes = [(each["marker"], each["fillstyle"] == "full") for each in frontier.OTHERS.values()]
    shapes += [(shape, filled) for shape, _, filled in frontier.OWN.values()]
    shapes += [(shape, True) for shape, _ in scores.WIDTHS.values()]
    assert len(set(shapes)) == len(shapes)
    assert len({colour for _, colour in scores.WIDTHS.values()}) == len(scores.WIDTHS)
    assert tuple(scores.WIDTHS) == BITS


@pytest.mark.parametrize(("score", "ends"), [(0.0, [0.0001, 0.1]), (1.0, [0.9, 0.9999])])
def test_a_score_that_no_logit_shows_is_drawn_at_the_edge(score: float, ends: list[float]) -> None:
    [axes] = frontier.frontier([Point("published", "1 bit", 7_000, score, 0.1, 1)]).axes
    line, _, [bar] = axes.containers[0].lines
    assert float(line.get_ydata()[0]) == pytest.approx(abs(score - 0.0001))
    # The bar starts at the score that is shown, 0.0001 from the real one.
    assert [end for _, end in bar.get_segments()[0]] == pytest.approx(ends, abs=1.1e-4)


def test_all_bars_are_inside_the_axes() -> None:
    _, axes = frontier.frontier(POINTS).axes
    bottom, top = axes.get_ylim()
    assert bottom < min(point.score - point.error for point in POINTS)
    assert top > max(point.score + point.error for point in POINTS)
