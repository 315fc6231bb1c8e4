"""Curves over the epochs."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bnnlib.report.figures.style import COLOURS, DASHES, style

# Label, scale and ticks of each metric. A logit scale spreads values near 1, as a logarithm spreads those near 0.
AXES = {
    "loss": ("cross-entropy (nats)", "log", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]),
    "macro_f1": ("macro-F1", "logit", [0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]),
}
SHARES = [part * 10.0**power for power in range(-6, 0) for part in (1, 2, 5)] + [1.0]  # ticks of the flips


def curve(histories: Mapping[str, pd.DataFrame], names: Mapping[str, str], metric: str) -> Figure:
    """A metric over the epochs: train (dashed) and validation (solid) of both networks.

    ``metric``: "loss" or "macro_f1", the end of the columns' names. ``names``: of each variant in the legend.
    """
    label, scale, ticks = AXES[metric]
    with style():
        figure = Figure(figsize=(7, 4.2))
        axes = figure.add_subplot()
        for variant, history in histories.items():
            for part, dash in DASHES.items():
                axes.plot(
                    history["epoch"],
                    history[f"{part}_{metric}"],
                    dash,
                    color=COLOURS[variant],
                    label=f"{names[variant]}, {part}",
                    marker=".",
                    markersize=4,
                )
        axes.set_yscale(scale)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_yticks([], minor=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.legend(frameon=False)
    return figure


def flips(history: pd.DataFrame) -> Figure:
    """Share of the binary weights whose sign changed, by epoch. ``history``: columns epoch and flip_ratio."""
    ratios = history["flip_ratio"].mask(history["flip_ratio"] == 0)  # a logarithm cannot show 0
    with style():
        figure = Figure(figsize=(7, 4.2))
        axes = figure.add_subplot()
        axes.plot(history["epoch"], ratios, color=COLOURS["binary"], marker=".", markersize=4)
        if ratios.notna().any():
            axes.set_yscale("log")
            ticks = [tick for tick in SHARES if ratios.min() / 2 <= tick <= ratios.max() * 2]
            axes.set_yticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
            axes.set_yticks([], minor=True)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_ylabel("weights that changed sign")
    return figure
