"""Made-up tables of a sweep, for what shows them."""

from __future__ import annotations

from pathlib import Path

from bnnlib.sweeps import tables
from bnnlib.sweeps.grid import Run

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


def write(path: Path, rows: tuple[tuple[str, str, int, str, int, float], ...] = ROWS) -> None:
    """Write a table with these rows, and a score that is a little apart in each other column."""
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
        for number, (place, bits, seed, score) in enumerate(places)  # a key of nothing but digits is still a text
    ]
    path.write_text("\n".join([head, *lines, ""]))
