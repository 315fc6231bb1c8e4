"""What the figure of score against operations and time shows; test_plots checks that it is the same bytes each time."""

from __future__ import annotations

import pytest
from matplotlib.axes import Axes
from support.figure_data import NETWORKS

from bnnlib.report.figures import cost, scores


def shown(axes: Axes) -> list[tuple[float, float]]:
    markers = (container.lines[0] for container in axes.containers)
    return [(float(line.get_xdata()[0]), float(line.get_ydata()[0])) for line in markers]


def test_each_network_is_at_its_cost_and_score() -> None:
    operations, time = cost.cost(NETWORKS).axes
    assert shown(operations) == [(each.millions, each.score.mean) for each in NETWORKS]
    assert shown(time) == [(each.microseconds, each.score.mean) for each in NETWORKS]
    assert {axes.get_xscale() for axes in (operations, time)} == {"log"}
    assert operations.get_ylim() == time.get_ylim()
    assert "XNOR" in operations.get_xlabel()
    assert "multiply-add" in operations.get_xlabel()
    assert "microseconds" in time.get_xlabel()


def test_a_line_joins_the_sizes_of_a_width_in_the_order_of_their_cost() -> None:
    swapped = [NETWORKS[1], NETWORKS[0], *NETWORKS[2:]]
    for networks in (NETWORKS, swapped):
        operations = cost.cost(networks).axes[0]
        joined = [line for line in operations.lines if line.get_marker() == "None" and line.get_linestyle() == "-"]
        assert joined[0].get_xydata().tolist() == [[1.0, 0.98], [4.0, 0.99]]
        assert joined[0].get_color() == scores.WIDTHS[1][1]
        assert len(joined) == 2  # the other is that of 4 bits; the topology baseline is in none


def test_operations_of_one_bit_and_of_wider_networks_are_told_apart_by_marker_and_colour() -> None:
    figure = cost.cost(NETWORKS)
    looks = [
        (container.lines[0].get_marker(), container.lines[0].get_color()) for container in figure.axes[0].containers
    ]
    assert looks == [scores.WIDTHS[1], scores.WIDTHS[1], scores.WIDTHS[4], ("v", scores.WIDTHS[16][1])]
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1 bit", "4 bits", "16 bits", "topology baseline"]


@pytest.mark.parametrize(
    ("lost", "axis", "note"),
    [
        ("microseconds", "operations", "No panel of the time: it is not known of any network."),
        ("millions", "microseconds", "No panel of the number of operations: it is not known of any network."),
    ],
)
def test_a_cost_that_no_network_has_gets_no_panel_and_a_note(lost: str, axis: str, note: str) -> None:
    figure = cost.cost([each._replace(**{lost: None}) for each in NETWORKS])
    [axes] = figure.axes
    assert axis in axes.get_xlabel()
    assert note in figure.get_supxlabel()


def test_a_network_without_a_time_is_named_and_the_others_are_shown() -> None:
    figure = cost.cost([NETWORKS[0]._replace(microseconds=None), *NETWORKS[1:]])
    operations, time = figure.axes
    assert len(shown(operations)) == 4
    assert shown(time) == [(each.microseconds, each.score.mean) for each in NETWORKS[1:]]
    assert "Not shown, because its time is not known: small (1 bit)." in figure.get_supxlabel()


def test_with_everything_known_there_is_no_note_but_the_bars() -> None:
    assert cost.cost(NETWORKS).get_supxlabel() == scores.BARS


def test_without_networks_the_figure_says_so() -> None:
    figure = cost.cost([])
    assert figure.axes == []
    assert [text.get_text() for text in figure.texts] == [cost.NOTHING]
