"""What random bit errors do, as figure, sentences and table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bnnlib.report import robustness
from bnnlib.report.parts.results import spread
from bnnlib.report.parts.source import Source, table
from bnnlib.report.robustness import DROP, KIND
from bnnlib.sweeps.results import Spread, width

if TYPE_CHECKING:  # slow to import
    import pandas as pd

KINDS = ("all", "weights")


def bit_errors(source: Source) -> str:
    """The figure, how many bits there are, how many errors each network bears, and a row for each share."""
    found = robustness.summary(robustness.read(source.reports / robustness.TABLE))
    images, draws = found["images"].max(), found["draws"].max()
    stored, of_weights = (_each(found, kind, lambda rows: f"{rows['stored_bits'].max():,}") for kind in KINDS)
    borne, by_weights = (_each(found, kind, _borne) for kind in KINDS)
    lost = _each(found, "all", lambda rows: f"{rows['not_finite'].max():.0%}")
    return "\n\n".join(
        [
            source.figure("robustness", "Accuracy against the share of stored bits that is flipped"),
            f"- Stored bits that decide an answer: {stored}. Those of weights: {of_weights}.\n"
            f"- The largest share of flipped bits up to which the mean accuracy falls by {100 * DROP:g} percentage "
            f"point at most: {borne}. Where only weights have errors: {by_weights}.\n"
            "- An image whose logits are not all finite counts as wrong. Such images, at the worst share of all bits: "
            f"{lost}.",
            f"Accuracy on {images:,} validation images: mean ± sample standard deviation of {draws} random draws, in "
            "parentheses the minimum. Every draw flips the share of the bits exactly, at least one bit. From "
            f"{source.report(robustness.TABLE)}.",
            _table(found),
        ]
    )


def _each(found: pd.DataFrame, kind: str, text: Callable[[pd.DataFrame], str]) -> str:
    """A text of the rows of each network, by width: "1 bit: 3, 16 bits: 4"."""
    chosen = found[found[KIND] == kind]
    widths = sorted(chosen["bits"].unique())
    return "; ".join(f"{width(bits)}: {text(chosen[chosen['bits'] == bits])}" for bits in widths)


def _borne(rows: pd.DataFrame) -> str:
    most = robustness.tolerated(rows)
    if most["share"] == 0:
        return "none of these"
    return f"{most['share']:g} ({most['flips']:,} {'bit' if most['flips'] == 1 else 'bits'})"


def _table(found: pd.DataFrame) -> str:
    columns = [(bits, kind) for bits in sorted(found["bits"].unique()) for kind in KINDS]
    cells = {(row["share"], row["bits"], row[KIND]): _cell(row) for row in found.to_dict("records")}
    rows = [
        [f"{share:g}", *(cells[share, bits, kind] for bits, kind in columns)]
        for share in sorted(found["share"].unique())
    ]
    return table(["share", *(f"{width(bits)}, {kind}" for bits, kind in columns)], rows)


def _cell(row: dict[Any, Any]) -> str:
    if row["draws"] == 1:
        return spread(Spread(row["mean"], None))
    return f"{spread(Spread(row['mean'], row['sd']))} ({row['minimum']:.4f})"
