"""What two classifiers get wrong: the worst images, the classes most often confused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:  # slow to import
    import pandas as pd


class Confusion(NamedTuple):
    """How many images of class ``label`` each network predicts as class ``prediction``."""

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
    """At most ``count`` images that the binary network gets wrong, those with the largest loss first.

    The index is the image's place in the test set; with equal losses the earlier image comes first.
    """
    wrong = predictions[predictions["binary"] != predictions["label"]]
    return wrong.sort_values("binary_loss", ascending=False, kind="stable").head(count)


def confused(predictions: pd.DataFrame, count: int) -> list[Confusion]:
    """At most ``count`` pairs of true and predicted class, those first that the binary network confuses most often."""
    tables = {name: _wrong(predictions, name) for name in ("full", "binary")}
    ranked = sorted(tables["binary"].items(), key=lambda item: (-item[1], item[0]))
    return [Confusion(*pair, tables["full"].get(pair, 0), often) for pair, often in ranked[:count]]


def errors(predictions: pd.DataFrame) -> Errors:
    """How many images are predicted wrongly."""
    full, binary = (predictions[name] != predictions["label"] for name in ("full", "binary"))
    return Errors(len(predictions), int(full.sum()), int(binary.sum()), int((full & binary).sum()))


def _wrong(predictions: pd.DataFrame, name: str) -> dict[tuple[int, int], int]:
    """(label, prediction) -> number of images, where the two differ."""
    wrong = predictions[predictions[name] != predictions["label"]]
    pairs, counts = np.unique(wrong[["label", name]].to_numpy(), axis=0, return_counts=True)
    return {(int(label), int(found)): int(often) for (label, found), often in zip(pairs, counts, strict=True)}
