"""The tables of a sweep on disk: one with a row for each run, one with a row for each epoch of each run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bnnlib.core import files
from bnnlib.core.files import FileError
from bnnlib.sweeps import results
from bnnlib.sweeps.results import Moment, Run

Row = TypeVar("Row", bound=BaseModel)
BASELINE_COMMIT = "59841fe"
BASELINE_TABLE = f"baseline_sweep_{BASELINE_COMMIT}.csv"
BASELINE_COLUMNS = [
    *("dataset", "bits", "surrogate", "profile", "seed", "epoch", "macro_f1", "loss", "accuracy"),
    *("validation_macro_f1", "validation_loss", "weight_bytes", "key"),
]


class Tables:
    """The table of runs and, beside it, that of their epochs; a run counts when both hold it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.histories = path.with_name(f"{path.stem}_histories{path.suffix}")
        moments = rows(self.histories, Moment)
        known = {moment.key for moment in moments}
        self.runs = {run.key: run for run in rows(path, Run) if run.key in known}
        self._moments = [moment for moment in moments if moment.key in self.runs]

    def add(self, run: Run, moments: Iterable[Moment]) -> None:
        """Add a run and write both files; the table last, because its row says that all of the run is stored."""
        self.runs[run.key] = run
        self._moments.extend(moments)
        self.write()

    def write(self) -> None:
        """Write both files, even when they hold no run yet."""
        runs, moments = results.ordered(self.runs.values(), self._moments)
        _write(self.histories, Moment, moments)
        _write(self.path, Run, runs)


def rows(path: Path, row: type[Row]) -> list[Row]:
    """The rows of a table, none where there is no file; numbers come back exactly as they were written."""
    return [_parsed(path, line, row, cells) for line, cells in _lines(path, list(row.model_fields))]


def baseline_rows(path: Path) -> list[Run]:
    """The runs of the topology `baseline` from the table of commit 59841fe, as it measured them.

    At that commit there was one topology, and recipes had profiles. The run of the profile `record`, a longer training
    that did not help, is left out: no page shows it.
    """
    found = _lines(path, BASELINE_COLUMNS)
    return [_parsed(path, line, Run, _translated(cells)) for line, cells in found if cells["profile"] != "record"]


def _translated(cells: dict[str, Any]) -> dict[str, Any]:
    """Cells under today's columns."""
    return {"topology": "baseline", **{name: cell for name, cell in cells.items() if name != "profile"}}


def _lines(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of a table with exactly these columns, none where there is no file: number and cells."""
    if not path.exists():
        return
    reader = csv.DictReader(io.StringIO(files.read_text(path)))
    if reader.fieldnames != columns:
        raise FileError(f"{path}: columns are {reader.fieldnames}, expected {columns}; restore it, or move it away")
    for cells in reader:
        yield reader.line_num, cells


def _parsed(path: Path, line: int, row: type[Row], cells: dict[str, Any]) -> Row:
    try:
        return row.model_validate(cells)
    except ValidationError as error:
        detail = error.errors()[0]
        raise FileError(
            f"{path}, line {line}: {'.'.join(map(str, detail['loc']))}: {detail['input']!r}: {detail['msg']}"
        ) from error


def _write(path: Path, row: type[Row], rows: Sequence[Row]) -> None:
    import pandas as pd

    files.write_csv(path, pd.DataFrame([each.model_dump() for each in rows], columns=list(row.model_fields)))
