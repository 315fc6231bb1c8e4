"""Straight thin lines, as of ruled paper, forms and frames, found in a mask and taken out of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bnnlib.serving import morphology
from bnnlib.serving.morphology import Mask

THICKEST = 0.03  # of the picture's longer side
STEEPEST = 0.2  # 11 degrees
BLOCK = 16  # pixels along the line that are looked at together
COVERED = 0.6  # share of the blocks along a line in which it must show
THIN = 0.5  # share of the shortest line that must show where no stroke lies on it
HAIR = 3  # pixels
CLEAR = 3  # a stroke that crosses a line is longer across it than the line is thick, by this many pixels


def across(mask: Mask, shortest: float) -> Mask:
    """The pixels of nearly horizontal lines of at least ``shortest`` pixels, without strokes that cross them."""
    heights = morphology.run_lengths(mask)
    thickest = max(4, round(THICKEST * max(mask.shape)))
    thin = (heights > 0) & (heights <= thickest)
    found = np.zeros_like(mask)
    for _ in range(3):  # the lines of one direction at a time
        paths = _paths(thin & ~found, mask, shortest)
        if not paths:
            break
        for rows, first, last in paths:
            _take(found, thin, heights, rows, first, last)
    return _of_long_parts(found, mask, heights, shortest) if found.any() else found


def _of_long_parts(found: Mask, mask: Mask, heights: NDArray[np.int32], shortest: float) -> Mask:
    """Without what is in shorter parts, where a stroke only looks as if it went on a line, unless it is very thin."""
    labels = morphology.label(mask)
    columns = np.nonzero(labels)[1]
    numbers = labels[labels > 0]
    first, last = np.full(labels.max() + 1, mask.shape[1]), np.zeros(labels.max() + 1, int)
    np.minimum.at(first, numbers, columns)
    np.maximum.at(last, numbers, columns)
    return found & (((last - first) >= 0.8 * shortest)[labels] | (heights <= HAIR))


def _take(found: Mask, thin: Mask, heights: NDArray[np.int32], rows: NDArray[np.int64], first: int, last: int) -> None:
    """Mark a line's pixels. ``rows``: its row at each column; it goes from column ``first`` up to ``last``."""
    columns = np.arange(first, last)
    reach = np.arange(-6, 7)
    place = rows[first:last] + reach[:, None]  # (13, columns)
    inside = (place >= 0) & (place < len(thin))
    place = place.clip(0, len(thin) - 1)
    near = thin[place, columns] & inside & (np.abs(reach) <= 2)[:, None]
    if not near.any():
        return
    thickness = int(np.median(heights[place, columns][near]))
    high = heights[place, columns]
    marked = inside & (high > 0) & (high <= thickness + CLEAR) & (np.abs(reach) <= thickness // 2 + 2)[:, None]
    found[place, columns] |= marked


def _shows(mask: Mask) -> Mask:
    """Whether a row shows in a block of columns: (blocks, height)."""
    height, width = mask.shape
    blocks = -(-width // BLOCK)
    padded = np.pad(mask, ((0, 0), (0, blocks * BLOCK - width)))
    shows = (padded.reshape(height, blocks, BLOCK).sum(axis=2) >= 3).T
    wide = shows.copy()
    wide[:, 1:] |= shows[:, :-1]
    wide[:, :-1] |= shows[:, 1:]
    return wide


def _paths(thin: Mask, mask: Mask, shortest: float) -> list[tuple[NDArray[np.int64], int, int]]:
    """The lines of the direction in which most is covered: rows at each column, first column, last column."""
    height, width = thin.shape
    blocks = -(-width // BLOCK)
    if blocks < 4 or not thin.any():
        return []
    centre = (np.arange(blocks) + 0.5) * BLOCK - width / 2
    slopes = np.arange(-STEEPEST, STEEPEST + 0.001, 0.01)
    margin = int(STEEPEST * width / 2) + 2
    field = np.pad(_shows(thin), ((0, 0), (margin, margin)))
    shifts = np.rint(slopes[:, None] * centre).astype(np.int64)  # (slopes, blocks)
    at = np.arange(height) + margin
    score = np.stack([field[np.arange(blocks)[:, None], shift[:, None] + at].sum(axis=0) for shift in shifts])
    least = max(3, int(THIN * shortest / BLOCK))
    strong = np.where(score >= least, score, 0).astype(np.float64) ** 2
    if not strong.any():
        return []
    best = int(strong.sum(axis=1).argmax())
    place = np.arange(blocks)[:, None], shifts[best][:, None] + at
    lit, crossed = field[place], np.pad(_shows(mask), ((0, 0), (margin, margin)))[place]  # (blocks, height)
    found = []
    column = (np.arange(width) - width / 2) * slopes[best]
    for row in _peaks(score[best], least):
        span = _span(lit[:, row], lit[:, row] | crossed[:, row], shortest / BLOCK)
        if span is not None:
            found.append((np.rint(row + column).astype(np.int64), span[0] * BLOCK, min(width, span[1] * BLOCK)))
    return found


def _peaks(score: NDArray[np.int64], least: int) -> list[int]:
    """Rows where the score is the highest within three rows."""
    high = morphology.highest(np.pad(score, 3), 7, 0)
    rows = np.flatnonzero((score == high) & (score >= least))
    kept: list[int] = []
    for row in rows.tolist():
        if kept and row - kept[-1] <= 3:
            continue
        kept.append(row)
    return kept


def _span(lit: Mask, crossed: Mask, shortest: float) -> tuple[int, int] | None:
    """First block and the one after the last of the longest stretch that is covered, or None if it is too short.

    ``lit``: blocks where the line shows; ``crossed``: where it shows, or a stroke lies on it.
    """
    blocks = np.flatnonzero(crossed)
    if not len(blocks):
        return None
    ends = np.flatnonzero(np.diff(blocks) > max(4, 0.25 * len(lit)))  # a wide gap ends a line
    firsts, lasts = np.r_[0, ends + 1], np.r_[ends, len(blocks) - 1]
    lengths = blocks[lasts] - blocks[firsts] + 1
    longest = int(lengths.argmax())
    share = (lasts[longest] - firsts[longest] + 1) / lengths[longest]
    first, last = int(blocks[firsts[longest]]), int(blocks[lasts[longest]]) + 1
    if last - first < shortest - 1 or share < COVERED or lit[first:last].sum() < THIN * shortest:
        return None
    return first, last
