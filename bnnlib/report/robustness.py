"""What bit errors do: the table of the stage `robustness`, and its draws together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bnnlib.core import files
from bnnlib.core.files import FileError

if TYPE_CHECKING:  # slow to import
    import pandas as pd

TABLE = "robustness.csv"
REMEDY = "`dvc unfreeze robustness && dvc repro robustness`"
KIND = "bits_flipped"  # all or weights
GROUP = ["bits", KIND, "stored_bits", "share", "flips", "images"]
NUMBERS = ["bits", "stored_bits", "share", "flips", "draw", "images", "accuracy", "not_finite"]
DROP = 0.01  # of the mean accuracy, that counts as none


def read(path: Path) -> pd.DataFrame:
    """The table, a row for each draw; `FileError` where it is missing or lacks a column of numbers."""
    if not path.exists():
        raise FileError(f"{path}: is missing; {REMEDY} makes it")
    table = files.read_csv(path)
    numbers = table.dropna(axis="columns").select_dtypes("number").columns
    lacking = [name for name in NUMBERS if name not in numbers] + [KIND] * (KIND not in table)
    if lacking or table.empty:
        raise FileError(f"{path}: lacks numbers in {', '.join(lacking) or 'all columns'}; {REMEDY} makes it again")
    return table


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each network, kind of bits and share, in that order: `GROUP`, and what the draws have together.

    ``draws``: their number; ``mean``, ``sd`` (of the sample, NaN for one draw), ``minimum`` and ``maximum`` of the
    accuracy; ``not_finite``: its mean.
    """
    draws = table.groupby(GROUP)
    accuracy = draws["accuracy"].agg(draws="count", mean="mean", sd="std", minimum="min", maximum="max")
    return accuracy.assign(not_finite=draws["not_finite"].mean()).reset_index()


def tolerated(found: pd.DataFrame) -> pd.Series:
    """The row of the largest share up to which the mean accuracy falls by `DROP` at most; perhaps that of 0.

    ``found``: the rows of `summary` for one network and one kind of bits.
    """
    holds = found["mean"] >= found["mean"].iloc[0] - DROP
    return found[holds.cummin()].iloc[-1]


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """For MLflow: the mean accuracies, as `robustness.1_bit.weights.0.001.accuracy`."""
    return {
        f"robustness.{row['bits']}_bit.{row[KIND]}.{row['share']:g}.accuracy": row["mean"]
        for row in summary(table).to_dict("records")
    }
