"""What the figure of score against size shows; test_plots checks that it is the same bytes each time."""

from __future__ import annotations

import pytest
from support.figure_data import POINTS

from bnnlib.report.comparison import Point
from bnnlib.report.figures import frontier


def test_each_network_is_at_its_size_and_score() -> None:
    figure = frontier.frontier(POINTS)
    [axes] = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "logit")
    shown = [container.lines[0] for container in axes.containers]
    assert [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in shown] == [
        (point.weight_bytes, point.score) for point in POINTS
    ]
    assert [line.get_marker() for line in shown] == ["o", "o", "D", "v", "s", "s", "^", "P", "x"]
    assert [text.get_text() for text in axes.texts] == [point.name for point in POINTS]


def test_the_legends_explain_what_is_shown() -> None:
    figure = frontier.frontier(POINTS)
    own, others = ([text.get_text() for text in legend.get_texts()] for legend in figure.legends)
    assert own == [frontier.LEGEND[point.kind] for point in POINTS[:4]]
    assert others == [frontier.LEGEND[point.kind] for point in POINTS[4:]]
    assert all(text.startswith("literature: ") for text in others)
    assert "standard error" in figure.get_supxlabel()


@pytest.mark.parametrize(("count", "legends", "label"), [(4, 1, "macro-F1"), (9, 2, "macro-F1 (literature: accuracy)")])
def test_the_axis_says_what_score_the_literature_has(count: int, legends: int, label: str) -> None:
    figure = frontier.frontier(POINTS[:count])
    assert figure.axes[0].get_ylabel() == label
    assert len(figure.legends) == legends


def test_the_bar_of_each_network_is_its_error_up_and_down() -> None:
    [axes] = frontier.frontier(POINTS).axes
    for container, point in zip(axes.containers, POINTS, strict=True):
        [[[_, low], [_, high]]] = container.lines[2][0].get_segments()
        expected = [point.score - point.error, point.score + point.error]
        assert [low, high] == pytest.approx(expected, abs=1e-12), point.name


def test_every_kind_of_point_looks_different_and_has_a_label() -> None:
    assert set(frontier.LEGEND) == set(frontier.KINDS)
    assert len(set(frontier.LEGEND.values())) == len(frontier.KINDS)
    colourless = [(shape, filled) for shape, _, _, filled in frontier.KINDS.values()]
    assert len(set(colourless)) == len(colourless) - 1  # our two published networks share theirs


@pytest.mark.parametrize(("score", "ends"), [(0.0, [0.0001, 0.1]), (1.0, [0.9, 0.9999])])
def test_a_score_that_no_logit_shows_is_drawn_at_the_edge(score: float, ends: list[float]) -> None:
    [axes] = frontier.frontier([Point("binary", "one", 7_000, score, 0.1)]).axes
    line, _, [bar] = axes.containers[0].lines
    assert float(line.get_ydata()[0]) == pytest.approx(abs(score - 0.0001))
    # The bar starts at the score that is shown, 0.0001 from the real one.
    assert [end for _, end in bar.get_segments()[0]] == pytest.approx(ends, abs=1.1e-4)


def test_all_bars_are_inside_the_axes() -> None:
    [axes] = frontier.frontier(POINTS).axes
    bottom, top = axes.get_ylim()
    assert bottom < min(point.score - point.error for point in POINTS)
    assert top > max(point.score + point.error for point in POINTS)
