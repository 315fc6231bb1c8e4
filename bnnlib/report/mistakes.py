"""Where two classifiers err: the worst images, the classes most often confused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # slow to import
    import pandas as pd


class Confusion(NamedTuple):
    """How often each network takes class ``label`` for class ``prediction``."""

    label: int
    prediction: int
    full: int
    binary: int


class Errors(NamedTuple):
    """How many of ``images`` each network gets wrong, and both of them."""

    images: int
    full: int
    binary: int
    both: int


def worst(predictions: pd.DataFrame, count: int) -> pd.DataFrame:
    """The images that the binary network gets wrong with the largest loss, worst first, at most ``count``.

    The index says which images of the test set they are; of equal losses the earlier image comes first.
    """
    wrong = predictions[predictions["binary"] != predictions["label"]]
    return wrong.sort_values("binary_loss", ascending=False, kind="stable").head(count)


def confused(predictions: pd.DataFrame, count: int) -> list[Confusion]:
    """The pairs of true and predicted class that the binary network confuses most often, at most ``count``."""
    tables = {name: _wrong(predictions, name) for name in ("full", "binary")}
    ranked = sorted(tables["binary"].items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(*pair, tables["full"].get(pair, 0), often) for pair, often in ranked[:count]]


def errors(predictions: pd.DataFrame) -> Errors:
    """How many images are predicted wrongly."""
    full, binary = (predictions[name] != predictions["label"] for name in ("full", "binary"))
    return Errors(len(predictions), int(full.sum()), int(binary.sum()), int((full & binary).sum()))


def _wrong(predictions: pd.DataFrame, name: str) -> dict[tuple[int, int], int]:
    """(label, prediction) -> how often, where they differ."""
    wrong = predictions[predictions[name] != predictions["label"]]
    pairs, counts = np.unique(wrong[["label", name]].to_numpy(), axis=0, return_counts=True)
    return {(int(label), int(found)): int(often) for (label, found), often in zip(pairs, counts, strict=True)}
