"""The tables of a sweep on disk: a row for each run, and beside it a row for each epoch of each run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bnnlib import files, sweep
from bnnlib.files import FileError
from bnnlib.sweep import Moment, Run

Row = TypeVar("Row", bound=BaseModel)


class Tables:
    """The table of runs and, beside it, that of their epochs; a run is there when both have it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.histories = path.with_name(f"{path.stem}_histories{path.suffix}")
        moments = rows(self.histories, Moment)
        known = {moment.key for moment in moments}
        self.runs = {run.key: run for run in rows(path, Run) if run.key in known}
        self._moments = [moment for moment in moments if moment.key in self.runs]

    def add(self, run: Run, moments: Iterable[Moment]) -> None:
        """Add a run and write both files; the table last, for its row says that all of the run is stored."""
        self.runs[run.key] = run
        self._moments.extend(moments)
        self.write()

    def write(self) -> None:
        """Write both files, also where they hold no run yet."""
        runs, moments = sweep.ordered(self.runs.values(), self._moments)
        _write(self.histories, Moment, moments)
        _write(self.path, Run, runs)


def rows(path: Path, row: type[Row]) -> list[Row]:
    """The rows of a table, none where there is no file; numbers come back exactly as they were written."""
    if not path.exists():
        return []
    reader = csv.DictReader(io.StringIO(files.read_text(path)))
    expected = list(row.model_fields)
    if reader.fieldnames != expected:
        raise FileError(f"{path}: columns are {reader.fieldnames}, expected {expected}; restore it, or move it away")
    try:
        return [row.model_validate(cells) for cells in reader]
    except ValidationError as error:
        detail = error.errors()[0]
        raise FileError(
            f"{path}, line {reader.line_num}: {'.'.join(map(str, detail['loc']))}: {detail['input']!r}: {detail['msg']}"
        ) from error


def _write(path: Path, row: type[Row], rows: Sequence[Row]) -> None:
    import pandas as pd

    files.write_csv(path, pd.DataFrame([each.model_dump() for each in rows], columns=list(row.model_fields)))
