"""Accuracy against the share of stored bits that are flipped."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnnlib.data.mnist import CLASSES
from bnnlib.report.figures.scores import WIDTHS
from bnnlib.report.figures.style import style
from bnnlib.report.robustness import KIND
from bnnlib.sweeps.results import width

TITLES = {"all": "any stored bit", "weights": "only bits of weights"}
BITS = (1, 8, 16)  # of the networks that the stage measures


def robustness(summary: pd.DataFrame) -> Figure:
    """Mean accuracy, in a band from the minimum to the maximum of the draws; a panel for each kind of bits.

    ``summary``: of `report.robustness`. Its rows without a flip are left out: a logarithm cannot show 0.
    """
    flipped = summary[summary["share"] > 0]
    with style():
        figure = Figure(figsize=(10, 4.2))
        panels = figure.subplots(1, len(TITLES), sharey=True)
        for axes, (kind, title) in zip(panels, TITLES.items(), strict=True):
            for bits in BITS:
                _draw(axes, flipped[(flipped[KIND] == kind) & (flipped["bits"] == bits)], width(bits), *WIDTHS[bits])
            axes.axhline(1 / CLASSES, color="black", linestyle=":", linewidth=1, label="chance")
            axes.set(xscale="log", ylim=(-0.02, 1.02), title=title, xlabel="share of these bits that is flipped")
        panels[0].set_ylabel("accuracy, validation set")
        panels[0].legend(frameon=False)
    return figure


def _draw(axes: Axes, found: pd.DataFrame, name: str, marker: str, colour: str) -> None:
    axes.fill_between(found["share"], found["minimum"], found["maximum"], color=colour, alpha=0.2, linewidth=0)
    axes.plot(found["share"], found["mean"], color=colour, marker=marker, markersize=4, label=name)
