"""Made-up runs and tables of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bnnlib.sweeps import tables
from bnnlib.sweeps.results import Moment, Run

HEAD = ",".join(Run.model_fields)
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


def write(path: Path, rows: tuple[tuple[str, str, int, str, int, float], ...] = ROWS) -> None:
    """Write a table with these rows; each other column has a slightly different score."""
    places = [
        (f"{data},{topology},{bits},{surrogate}", bits, seed, score)
        for data, topology, bits, surrogate, seed, score in rows
    ]
    _write(path, HEAD, places)


def write_baseline(path: Path) -> None:
    """Write a table of the commit that had profiles and no topologies."""
    places = [
        (f"{data},{bits},{surrogate},{profile}", bits, seed, score)
        for data, bits, surrogate, profile, seed, score in BASELINE_ROWS
    ]
    _write(path, ",".join(tables.BASELINE_COLUMNS), places)


def _write(path: Path, head: str, places: list[tuple[str, int, int, float]]) -> None:
    lines = [
        f"{place},{seed},{30 + seed},{score},{1 - score},{score + 0.0001},{score - 0.001},0.05,"
        f"{6_964 * bits},{number:016}"
        for number, (place, bits, seed, score) in enumerate(places)  # a key of digits only is still text
    ]
    path.write_text("\n".join([head, *lines, ""]))
