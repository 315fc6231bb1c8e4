"""The figure of the prediction benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bnnlib.report.figures.style import COLOURS, style

BATCH_MARKERS = {1: "s", 64: "^", 256: "D", 1024: "o"}
ONE_BIT = ("reference", "fast")  # the benchmark's contestants that run the 1-bit network


def benchmark(record: Mapping[str, Any]) -> Figure:
    """Time per image of each contestant on one thread, by batch size: medians, with bars from quartile to quartile.

    ``record``: reports/benchmark.json. Markers of the 1-bit network are filled and have its colour; others are hollow.
    """
    timed = [(name, each["times"]) for name, each in record["contestants"].items() if each["times"]]
    batches = sorted({time["batch"] for _, times in timed for time in times})
    with style():
        figure = Figure(figsize=(7, 3.6))
        axes = figure.add_subplot()
        for row, (name, times) in enumerate(timed):
            for time in times:
                if time["threads"] == 1:
                    _point(axes, row, name, time)
        handles = [Line2D([], [], **_marker(batch, "black", filled=False)) for batch in batches]
        figure.legend(
            handles, [f"{batch} at a time" for batch in batches], loc="outside upper center", ncols=4, frameon=False
        )
        axes.set_yticks(range(len(timed)), [name for name, _ in timed])
        axes.invert_yaxis()  # in the order of the record, from the top
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("time per image on one thread (µs)")
    return figure


def _point(axes: Axes, row: int, name: str, time: Mapping[str, Any]) -> None:
    spread, ours = time["us_per_image"], name in ONE_BIT
    reach = [[spread["median"] - spread["low"]], [spread["high"] - spread["median"]]]
    marker = _marker(time["batch"], COLOURS["binary" if ours else "full"], filled=ours)
    axes.errorbar(spread["median"], row, xerr=reach, **marker)


def _marker(batch: int, colour: str, *, filled: bool) -> dict[str, Any]:
    shape = BATCH_MARKERS.get(batch, "o")
    return {
        "linestyle": "",
        "marker": shape,
        "markersize": 8,
        "color": colour,
        "fillstyle": "full" if filled else "none",
    }
