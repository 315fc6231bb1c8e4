"""Made-up tables of a sweep, for what shows them."""

from __future__ import annotations

from pathlib import Path

from bnnlib.sweep import Run

HEAD = ",".join(Run.model_fields)
# data set, bits, surrogate, profile, seed, macro-F1
ROWS = (
    ("fashion_mnist", 1, "ste", "default", 0, 0.87),
    ("mnist", 1, "approx", "default", 0, 0.975),
    ("mnist", 1, "ste", "default", 0, 0.98),
    ("mnist", 1, "ste", "default", 1, 0.99),
    ("mnist", 1, "ste", "default", 2, 0.988),
    ("mnist", 1, "ste", "record", 0, 0.992),
    ("mnist", 2, "none", "none", 0, 0.991),
    ("mnist", 16, "none", "none", 0, 0.9945),
    ("mnist", 16, "none", "none", 1, 0.9955),
)


def write(path: Path, rows: tuple[tuple[str, int, str, str, int, float], ...] = ROWS) -> None:
    """Write a table with these rows, and a score that is a little apart in each other column."""
    lines = [
        f"{data},{bits},{surrogate},{profile},{seed},{30 + seed},{score},{1 - score},{score + 0.0001},{score - 0.001},"
        f"0.05,{55_712 * bits // 8},{number:016}"  # a key of nothing but digits is still a text
        for number, (data, bits, surrogate, profile, seed, score) in enumerate(rows)
    ]
    path.write_text("\n".join([HEAD, *lines, ""]))
