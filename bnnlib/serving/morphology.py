"""Shapes in arrays, with NumPy alone: closing, dilation, runs and connected components."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Grey = NDArray[np.uint8]
Kind = TypeVar("Kind", np.uint8, np.bool_, np.float32, np.int64)


def highest(values: NDArray[Kind], width: int, axis: int) -> NDArray[Kind]:
    """The maximum of each window of ``width`` values along an axis; the axis becomes ``width`` - 1 shorter."""
    found = np.moveaxis(values, axis, 0)
    reach = 1  # doubled until the windows are long enough: log2(width) passes, not width
    while reach < width:
        step = min(reach, width - reach)
        found = np.maximum(found[:-step], found[step:])
        reach += step
    return np.moveaxis(found, 0, axis)


def closing(grey: Grey, width: int) -> Grey:
    """Dark parts narrower than ``width`` (odd, pixels) filled with what is around them; (height, width).

    The picture goes on beyond its edges as it is there, so a dark margin is not narrow.
    """
    padded = np.pad(grey, width - 1, mode="edge")
    light = highest(highest(padded, width, 0), width, 1)
    return ~highest(highest(~light, width, 0), width, 1)  # of bytes, ~ is 255 - value


def median3(grey: Grey) -> Grey:
    """The median of three pixels along rows, then along columns: single bright and dark pixels are gone."""
    for axis in (0, 1):
        padded = np.pad(np.moveaxis(grey, axis, 0), ((1, 1), (0, 0)), mode="edge")
        before, here, after = padded[:-2], padded[1:-1], padded[2:]
        low, high = np.minimum(before, here), np.maximum(before, here)
        grey = np.moveaxis(np.maximum(low, np.minimum(high, after)), 0, axis)
    return grey


def dilated(mask: Mask, reach: int) -> Mask:
    """True within ``reach`` pixels (of rows and of columns) of the mask."""
    if reach < 1:
        return mask
    padded = np.pad(mask, reach)
    return highest(highest(padded, 2 * reach + 1, 0), 2 * reach + 1, 1).astype(bool)


def opened(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Light parts narrower than ``width`` (odd, pixels) lowered to what is around them."""
    padded = np.pad(values, width // 2, mode="edge")
    low = -highest(highest(-padded, width, 0), width, 1)
    padded = np.pad(low, width // 2, mode="edge")
    return highest(highest(padded, width, 0), width, 1).astype(np.float32)


def run_lengths(mask: Mask) -> NDArray[np.int32]:
    """For each true pixel the length of its vertical run, else 0; (height, width)."""
    columns = np.ascontiguousarray(mask.T)
    _, starts, stops = _runs(columns)
    lengths = np.zeros(columns.size, np.int32)
    size = stops - starts
    lengths[np.flatnonzero(columns)] = np.repeat(size, size)
    return lengths.reshape(columns.shape).T


def _runs(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, start and stop of each horizontal run, as (runs,): starts and stops index the flat padded rows."""
    width = mask.shape[1] + 1  # a false column after each row keeps runs apart
    flat = np.zeros((mask.shape[0], width), np.int8)
    flat[:, :-1] = mask
    change = np.diff(flat.ravel(), prepend=0)
    starts, stops = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return starts // width, starts, stops


def label(mask: Mask) -> NDArray[np.int32]:
    """Connected components (of 8 neighbours): 0 where the mask is false, else 1, 2, ... in no special order."""
    rows, starts, stops = _runs(mask)
    width = mask.shape[1] + 1
    # Runs of the next row that touch a run, diagonally too: from the first that ends at its start or later, ...
    first = np.searchsorted(stops, starts + width, side="left")
    last = np.searchsorted(starts, stops + width, side="right")  # ... to the last that starts at its stop or before.
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(rows)), counts)
    below = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    number = _joined(len(rows), above, below)
    labels = np.zeros(mask.shape, np.int32)
    labels[mask] = np.repeat(number + 1, stops - starts)
    return labels


def _joined(count: int, left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers 0, 1, ... of the connected parts of a graph of ``count`` nodes, (count,); edges: (edges,) each."""
    root = np.arange(count)
    while True:
        low = np.minimum(root[left], root[right])
        before = root.copy()
        np.minimum.at(root, root[left], low)
        np.minimum.at(root, root[right], low)
        root = root[root]
        root = root[root]
        if np.array_equal(before, root):
            return np.unique(root, return_inverse=True)[1]


def holds_square(mask: Mask, width: int) -> bool:
    """Whether a square of ``width`` pixels lies wholly in the mask."""
    if width > min(mask.shape):
        return False
    return not bool(highest(highest(~mask, width, 0), width, 1).all())
