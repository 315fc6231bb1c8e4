"""Made-up runs and tables of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnnlib.core import records
from bnnlib.sweeps import tables
from bnnlib.sweeps.results import Moment, Run
from bnnlib.sweeps.tables import Tables

# data set, topology, bits, surrogate, seed, macro-F1
ROWS = (
    ("fashion_mnist", "pooled", 1, "ste", 0, 0.87),
    ("mnist", "large", 1, "ste", 0, 0.992),
    ("mnist", "pooled", 1, "approx", 0, 0.975),
    ("mnist", "pooled", 1, "ste", 0, 0.98),
    ("mnist", "pooled", 1, "ste", 1, 0.99),
    ("mnist", "pooled", 1, "ste", 2, 0.988),
    ("mnist", "pooled", 2, "none", 0, 0.991),
    ("mnist", "pooled", 16, "none", 0, 0.9945),
    ("mnist", "pooled", 16, "none", 1, 0.9955),
)
# Of the old table: data set, bits, surrogate, profile, seed, macro-F1
BASELINE_ROWS = (
    ("fashion_mnist", 1, "ste", "default", 0, 0.83),
    ("mnist", 1, "ste", "default", 0, 0.985),
    ("mnist", 1, "ste", "default", 1, 0.987),
    ("mnist", 1, "ste", "record", 0, 0.96),
    ("mnist", 4, "none", "none", 0, 0.9925),
    ("mnist", 16, "none", "none", 0, 0.994),
    ("mnist", 16, "none", "none", 1, 0.996),
)


def run(**changes: Any) -> Run:
    """A run with made-up scores; ``changes``: other values of its fields."""
    values: dict[str, Any] = {
        "dataset": "mnist",
        "topology": "pooled",
        "bits": 1,
        "surrogate": "ste",
        "seed": 0,
        "epoch": 3,
        "macro_f1": 0.5,
        "loss": 1.0,
        "accuracy": 0.5,
        "validation_macro_f1": 0.5,
        "validation_loss": 1.0,
        "weight_bytes": 6964,
        "key": "k",
    }
    return Run(**{**values, **changes})


def moment(key: str, epoch: int) -> Moment:
    """An epoch of the run with this key."""
    return Moment(key=key, epoch=epoch, train_loss=1.0, validation_loss=1.0, validation_macro_f1=0.5, flip_ratio=None)


def write(
    path: Path,
    rows: tuple[tuple[str, str, int, str, int, float], ...] = ROWS,
    sizes: Mapping[int, int] | None = None,
) -> None:
    """Write a table with these rows, of one epoch each; each other column has a slightly different score.

    ``sizes``: bytes of weights by bits.
    """
    written = Tables(path)
    for number, (data, topology, bits, surrogate, seed, score) in enumerate(rows):
        key = f"{number:016}"  # a key of digits only is still text
        scores = _scores(bits, seed, score)
        place = {"dataset": data, "topology": topology, "bits": bits, "surrogate": surrogate, "seed": seed, "key": key}
        size = scores["weight_bytes"] if sizes is None else sizes[bits]
        written.add(Run(**{**place, **scores, "weight_bytes": size}), [moment(key, 1)])


def _scores(bits: int, seed: int, score: float) -> dict[str, Any]:
    return {
        "epoch": 30 + seed,
        "macro_f1": score,
        "loss": 1 - score,
        "accuracy": score + 0.0001,
        "validation_macro_f1": score - 0.001,
        "validation_loss": 0.05,
        "weight_bytes": 6_964 * bits,
    }


def write_baseline(path: Path) -> None:
    """Write a table of the commit that had profiles and no topologies."""
    lines = [
        ",".join(
            map(str, (data, bits, surrogate, profile, seed, *_scores(bits, seed, score).values(), f"{number:016}"))
        )
        for number, (data, bits, surrogate, profile, seed, score) in enumerate(BASELINE_ROWS)
    ]
    path.write_text("\n".join([",".join(tables.BASELINE_COLUMNS), *lines, ""]))
    records.note(path)
