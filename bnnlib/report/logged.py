"""What MLflow gets of the reports: scores and sizes by dotted name, the rows of a training's history."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnnlib.config.params import flatten
from bnnlib.core import files


def scores(metrics: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, float | None]:
    """Scores and sizes, as `binary.test.macro_f1`, from the contents of metrics.json and sizes.json."""
    found = flatten(metrics) | flatten(sizes)
    return {name: value for name, value in found.items() if not name.endswith(".bits")}  # a parameter


def of_network(variant: str, found: Mapping[str, float | None]) -> dict[str, float | None]:
    """Those of one network, without its name."""
    start = f"{variant}."
    return {name.removeprefix(start): value for name, value in found.items() if name.startswith(start)}


def history(reports: Path, variant: str) -> list[dict[str, float | None]]:
    """The epochs of a training as `train` wrote them; None where a column has no value."""
    table = files.read_csv(reports / f"history_{variant}.csv").astype(object)
    rows = table.where(table.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]
