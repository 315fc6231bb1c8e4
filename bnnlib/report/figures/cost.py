"""Score against what an image costs: operations, and measured time where a record has it."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from bnnlib.data.mnist import PART_SIZES
from bnnlib.report import comparison, costs
from bnnlib.report.costs import Cost, Network
from bnnlib.report.figures import labels, scores, style
from bnnlib.report.figures.scores import WIDTHS, Look, look

# The axis of each panel, with the cost that it shows.
PANELS: dict[str, Cost] = {
    "million operations an image\n(1 bit: XNOR and count of one bit; wider: multiply-add)": lambda each: each.millions,
    "microseconds an image, one thread": lambda each: each.microseconds,
}
BASELINE = ("v", 6)  # marker and size of networks of that topology, which are in no line
STEPS = (1, 2, 5)  # of the axes' numbers, times a power of ten
NOTE_WIDTH = 90  # characters of a line below the panels
NOTHING = "the sweep has no network on this data set whose topology params.yaml has"


def cost(networks: Sequence[Network], images: int = PART_SIZES["test"]) -> Figure:
    """Macro-F1 against each cost that is known of some network; ``images``: of the test set.

    Below are the bars' meaning and the networks that a panel lacks.
    """
    panels = {axis: known for axis, by in PANELS.items() if (known := _known(networks, by))}
    looks = scores.of_series((each.series, each.group.bits) for each in networks)
    with style.style():
        figure = Figure(figsize=(6 * max(len(panels), 1) + 0.5, 5.2), dpi=style.DPI)
        if not panels:
            figure.text(0.5, 0.5, NOTHING, ha="center", va="center")
            return figure
        found = [each.score.mean for known in panels.values() for each, _ in known]
        drawn = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (axis, known) in zip(drawn, panels.items(), strict=True):
            _draw(axes, known, looks, images)
            axes.set(xscale="log", xlabel=axis)
            axes.xaxis.set_major_locator(LogLocator(subs=STEPS))
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
            scores.scale(axes, scores.below(min(found)), scores.above(max(found)), scores.FINE_TICKS)
        drawn[0].set_ylabel("macro-F1")
        _legend(figure, networks, looks)
        figure.supxlabel("\n".join([scores.BARS, *_notes(networks)]), fontsize=labels.FONT)
    return figure


def _known(networks: Sequence[Network], by: Cost) -> list[tuple[Network, float]]:
    return [(each, spent) for each in networks if (spent := by(each)) is not None]


def _draw(axes: Axes, known: Sequence[tuple[Network, float]], looks: dict[str, Look], images: int) -> None:
    for name, shown in looks.items():
        line = [(spent, each.score.mean) for each, spent in known if each.series == name and each.in_family]
        if line:
            scores.join(axes, line, shown)
    for each, spent in known:
        shown = looks[each.series] if each.in_family else look(*BASELINE, WIDTHS[each.group.bits][1])
        scores.mark(axes, spent, each.score.mean, comparison.error(each.score, images), shown)


def _legend(figure: Figure, networks: Sequence[Network], looks: dict[str, Look]) -> None:
    shown = {**looks}
    if not all(each.in_family for each in networks):
        shown["topology baseline"] = look(*BASELINE, "0.4")
    scores.legend(figure, "outside upper center", shown, columns=len(shown))


def _notes(networks: Sequence[Network]) -> list[str]:
    """What the panels do not show."""
    lines = []
    for name, by in zip(("number of operations", "time"), PANELS.values(), strict=True):
        lacking = costs.lacking(networks, by)
        if len(lacking) == len(networks):
            lines.append(f"No panel of the {name}: it is not known of any network.")
        elif lacking:
            lines.append(f"Not shown, because its {name} is not known: {', '.join(lacking)}.")
    return [part for line in lines for part in textwrap.wrap(line, NOTE_WIDTH)]
