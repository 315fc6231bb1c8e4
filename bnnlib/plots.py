"""Figures, alike in style, readable by colour-blind people, the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

# Two colours of Okabe and Ito's palette for colour-blind readers; dashes tell the parts apart without colour.
COLOURS = {"full": "#0072B2", "binary": "#D55E00"}
DASHES = {"train": "--", "validation": "-"}
HEAT = "cividis"
STYLE: Any = {  # matplotlib's type lists all its 300 names
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
}
# Label, scale and ticks of each metric. A logit scale spreads what lies near 1, as a logarithm what lies near 0.
AXES = {
    "loss": ("cross-entropy (nats)", "log", [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]),
    "macro_f1": ("macro-F1", "logit", [0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998]),
}
BATCH_MARKERS = {1: "s", 64: "^", 256: "D", 1024: "o"}
ONE_BIT = ("reference", "fast")  # the benchmark's contestants that run the 1-bit network
DPI = 110
KERNELS = 5  # of each network, drawn one by one
TILE = 0.6  # inches that a plane of a kernel takes, where there are several
WIDEST = 6.0  # inches of all planes: more than ten are smaller
TILE_GAP = 0.15  # between two of them, in tiles


def style() -> AbstractContextManager[None]:
    """Our style over matplotlib's defaults: a user's own matplotlibrc would change the bytes."""
    defaults = {name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")}
    return matplotlib.rc_context({**defaults, **STYLE})


def png(figure: Figure) -> bytes:
    """The figure as PNG, without metadata."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def name(variant: str, bits: int) -> str:
    """How figures and tables call a network: "full (16 bits)", "binary (1 bit)"."""
    return f"{variant} ({bits} bit{'s' if bits > 1 else ''})"


def curve(histories: Mapping[str, pd.DataFrame], names: Mapping[str, str], metric: str) -> Figure:
    """A metric over the epochs: train (dashed) and validation (solid) of both networks.

    ``metric``: "loss" or "macro_f1", the end of the columns' names. ``names``: what the legend calls each variant.
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


def confusion(matrix: NDArray[np.int64], title: str, names: Sequence[str]) -> Figure:
    """Row-normalised confusion matrix: each row sums to 1; every cell with images shows its share in percent.

    ``names``: of the classes, in the order of the rows; words are written upwards below the columns.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with style():
        figure = Figure(figsize=(6.4, 5.6))
        axes = figure.add_subplot()
        axes.grid(visible=False)
        # Nearly all lies on the diagonal: a power below 1 keeps the rare confusions visible.
        image = axes.imshow(shares, cmap=HEAT, norm=matplotlib.colors.PowerNorm(0.4, vmin=0, vmax=1))
        for (row, column), count in np.ndenumerate(matrix):
            if count:
                share = shares[row, column]
                axes.text(
                    column,
                    row,
                    f"{share:.1%}".removesuffix("%"),
                    ha="center",
                    va="center",
                    fontsize=9,
                    color="black" if share > 0.15 else "white",
                )
        axes.set_xticks(range(len(matrix)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(range(len(matrix)), names)
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")
        axes.set_title(f"{title} (% of each row)")
        bar = figure.colorbar(image, ticks=[0, 0.01, 0.1, 0.5, 1])
        bar.ax.set_yticklabels(["0 %", "1 %", "10 %", "50 %", "100 %"])
    return figure


def kernel(weights: NDArray[np.float32]) -> Figure:
    """One kernel, (side, planes * side): 0 is grey, its largest magnitude black (negative) or white (positive).

    Its planes are framed tiles, side by side.
    """
    limit = max(float(np.abs(weights).max()), float(np.finfo(np.float32).tiny))
    side, width = weights.shape
    step = side * (1 + TILE_GAP)  # from tile to tile
    planes = width // side
    with style():
        figure = Figure(figsize=(1.2, 1.2) if planes == 1 else (min(TILE * planes, WIDEST), TILE))
        axes: Axes = figure.add_subplot()
        axes.set_axis_off()
        for number, tile in enumerate(np.split(weights, planes, axis=1)):
            left = number * step
            place = (left, left + side, side, 0)
            axes.imshow(tile, cmap="gray", vmin=-limit, vmax=limit, interpolation="nearest", extent=place)
            axes.add_patch(Rectangle((left, 0), side, side, fill=False, linewidth=0.8, clip_on=False))
        axes.set(xlim=(0, planes * step - side * TILE_GAP), ylim=(side, 0))
    return figure


def benchmark(record: Mapping[str, Any]) -> Figure:
    """Time an image of each contestant on one thread, by batch size, with bars from quartile to quartile.

    ``record``: reports/benchmark.json. The 1-bit network is filled and in its own colour, the other one hollow.
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
        axes.set_xlabel("time an image on one thread (µs)")
    return figure


def _point(axes: Axes, row: int, name: str, time: Mapping[str, Any]) -> None:
    spread, ours = time["us_per_image"], name in ONE_BIT
    reach = [[spread["median"] - spread["low"]], [spread["high"] - spread["median"]]]
    style = _marker(time["batch"], COLOURS["binary" if ours else "full"], filled=ours)
    axes.errorbar(spread["median"], row, xerr=reach, **style)


def _marker(batch: int, colour: str, *, filled: bool) -> dict[str, Any]:
    shape = BATCH_MARKERS.get(batch, "o")
    return {
        "linestyle": "",
        "marker": shape,
        "markersize": 8,
        "color": colour,
        "fillstyle": "full" if filled else "none",
    }
