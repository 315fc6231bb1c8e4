"""What the figures that weigh the results show; that they are the same bytes each time is in test_plots."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure
from support.evidences import IMAGES, POINTS, history, worst

from bnnlib.data import mnist
from bnnlib.report.comparison import Point
from bnnlib.report.figures import curves, frontier, pictures, style


def test_the_frontier_puts_each_network_at_its_size_and_score() -> None:
    figure = frontier.frontier(POINTS)
    [axes] = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "logit")
    shown = [container.lines[0] for container in axes.containers]
    assert [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in shown] == [
        (point.weight_bytes, point.score) for point in POINTS
    ]
    assert [line.get_marker() for line in shown] == ["o", "o", "D", "v", "s", "x"]
    assert [text.get_text() for text in axes.texts] == [point.name for point in POINTS]
    [legend] = figure.legends
    kinds = ("binary", "full", "seeds", "baseline", "throughout", "full precision")
    assert [text.get_text() for text in legend.get_texts()] == [frontier.LEGEND[kind] for kind in kinds]


@pytest.mark.parametrize(("count", "label"), [(4, "macro-F1"), (6, "macro-F1 (published: accuracy)")])
def test_the_frontier_says_what_score_the_others_have(count: int, label: str) -> None:
    assert frontier.frontier(POINTS[:count]).axes[0].get_ylabel() == label


def test_the_frontier_shows_the_deviation_of_the_seeds() -> None:
    [axes] = frontier.frontier(POINTS).axes
    bars = [container.lines[2] for container in axes.containers]
    assert [len(bar) for bar in bars] == [0, 0, 1, 1, 0, 0]
    [[[_, low], [_, high]]] = bars[2][0].get_segments()
    assert [low, high] == pytest.approx([0.99, 0.992], abs=1e-12)


def rectangles(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Left, right, bottom, top of each name, as they are drawn."""
    style.png(figure)
    extents = [text.get_window_extent() for text in figure.axes[0].texts]
    return [(extent.x0, extent.x1, extent.y0, extent.y1) for extent in extents]


def test_names_of_neighbours_do_not_overlap() -> None:
    close = [Point("throughout", f"network {number}", 10_000 + 300 * number, 0.98) for number in range(4)]
    found = rectangles(frontier.frontier([*close, Point("full", "far", 4_000_000, 0.99)]))
    for number, (left, right, bottom, top) in enumerate(found):
        for other_left, other_right, other_bottom, other_top in found[number + 1 :]:
            apart = right <= other_left or other_right <= left or top <= other_bottom or other_top <= bottom
            assert apart, (number, found)


def test_a_name_crosses_no_edge_of_the_axes() -> None:
    """To the right of the first is another point, and to its left too little room for the name."""
    others = [Point("throughout", "", size, 0.98) for size in (12_000, 10_000_000)]
    figure = frontier.frontier([Point("throughout", "of a long name", 10_000, 0.98), *others])
    [(left, _, _, _)] = rectangles(figure)
    assert left >= figure.axes[0].get_window_extent().x0


def test_every_kind_of_point_looks_different_and_has_a_label() -> None:
    assert set(frontier.LEGEND) == set(frontier.KINDS)
    assert len(set(frontier.LEGEND.values())) == len(frontier.KINDS)
    colourless = [shape for shape, *_ in frontier.KINDS.values()]
    assert len(set(colourless)) == len(colourless) - 1  # our two published networks share theirs


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_a_score_that_no_logit_shows_is_drawn_at_the_edge(score: float) -> None:
    [axes] = frontier.frontier([Point("binary", "one", 7_000, score, 0.1)]).axes
    assert float(axes.containers[0].lines[0].get_ydata()[0]) == pytest.approx(abs(score - 0.0001))


def test_flips_are_drawn_on_a_logarithm() -> None:
    [axes] = curves.flips(history(0.05, 0.02, 0.001)).axes
    [line] = axes.lines
    assert axes.get_yscale() == "log"
    assert np.asarray(line.get_ydata()).tolist() == [0.05, 0.02, 0.001]
    ticks = ["0.05 %", "0.1 %", "0.2 %", "0.5 %", "1 %", "2 %", "5 %", "10 %"]
    assert [label.get_text() for label in axes.get_yticklabels()][-len(ticks) :] == ticks


@pytest.mark.parametrize("ratios", [(0.0,), (0.0, 0.0), (0.1, 0.0)])
def test_an_epoch_without_flips_leaves_a_gap(ratios: tuple[float, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = curves.flips(history(*ratios))
        style.png(figure)
    shown = np.asarray(figure.axes[0].lines[0].get_ydata(), float)
    assert np.array_equal(shown, [np.nan if ratio == 0 else ratio for ratio in ratios], equal_nan=True)


@pytest.mark.parametrize("numbers", [(7,), (30, 2, 11), tuple(range(16))])
def test_mistakes_are_shown_in_their_order_with_all_three_classes(numbers: tuple[int, ...]) -> None:
    figure = pictures.mistakes(IMAGES, worst(*numbers), mnist.CLASS_NAMES["fashion_mnist"])
    assert len(figure.axes) == len(numbers)
    for axes, number in zip(figure.axes, numbers, strict=True):
        assert np.array_equal(np.asarray(axes.images[0].get_array()), IMAGES[number])
        assert axes.get_title() == "is: Sneaker\nbinary: Sandal\nfull: Sneaker"


def test_without_mistakes_the_figure_says_so() -> None:
    figure = pictures.mistakes(IMAGES, worst(), mnist.CLASS_NAMES["mnist"])
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == ["no image is predicted wrongly"]
