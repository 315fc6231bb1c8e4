"""Confusion matrices, kernels, and images that are classified wrongly."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from bnnlib.report.figures.style import style

HEAT = "cividis"
KERNELS = 5  # of each network, drawn one by one
TILE = 0.6  # inches of each plane of a kernel that has several
WIDEST = 6.0  # inches of all planes together: more than ten are smaller
TILE_GAP = 0.15  # between two planes, in tiles
COLUMNS = 8  # of the grid of images
CAPTION = {"is": "label", "binary": "binary", "full": "full"}  # of an image, and the column that each line names


def confusion(matrix: NDArray[np.int64], title: str, names: Sequence[str]) -> Figure:
    """Row-normalised confusion matrix: each row sums to 1; every cell with images shows its share in percent.

    ``names``: of the classes, in the order of the rows; words below the columns are rotated.
    """
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with style():
        figure = Figure(figsize=(6.4, 5.6))
        axes = figure.add_subplot()
        axes.grid(visible=False)
        # Nearly all images lie on the diagonal: a power below 1 keeps the rare confusions visible.
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


def mistakes(images: NDArray[np.uint8], worst: pd.DataFrame, classes: Sequence[str]) -> Figure:
    """The images that ``worst`` names, in its order, each with its class and the predictions of both networks.

    ``images``: the test set, (n, height, width). ``worst``: from `bnnlib.report.mistakes.worst`. ``classes``: names.
    """
    rows = max(math.ceil(len(worst) / COLUMNS), 1)
    with style():
        figure = Figure(figsize=(1.3 * COLUMNS, 1.9 * rows))
        if worst.empty:
            figure.text(0.5, 0.5, "no image is predicted wrongly", ha="center", va="center")
        for place, (index, row) in enumerate(zip(worst.index, worst.to_dict("records"), strict=True), start=1):
            axes = figure.add_subplot(rows, COLUMNS, place)
            axes.imshow(images[index], cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
            said = (f"{name}: {classes[row[column]]}" for name, column in CAPTION.items())
            axes.set_title("\n".join(said), fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
            axes.spines[["top", "right"]].set_visible(True)
    return figure
