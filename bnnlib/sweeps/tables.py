"""The tables of a sweep on disk: one with a row for each run, one with a row for each epoch of each run."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from bnnlib.core import files, fingerprint, records
from bnnlib.core.files import FileError
from bnnlib.sweeps import results
from bnnlib.sweeps.locks import Lock
from bnnlib.sweeps.results import Moment, Run

Row = TypeVar("Row", bound=BaseModel)
DIGEST = "digest"  # the last column of the table of runs, by which a change of the row or of its epochs is found
BASELINE_COMMIT = "59841fe"
BASELINE_TABLE = f"baseline_sweep_{BASELINE_COMMIT}.csv"
BASELINE_COLUMNS = [
    *("dataset", "bits", "surrogate", "profile", "seed", "epoch", "macro_f1", "loss", "accuracy"),
    *("validation_macro_f1", "validation_loss", "weight_bytes", "key"),
]
COLUMNS = [*Run.model_fields, DIGEST]


class Tables:
    """The table of runs and, beside it, that of their epochs; a run counts when both hold it.

    Several processes may write one table: each takes a lock, reads again what is there, and adds its own. ``check``
    gets the runs of every reading, to raise an error where they must not be mixed with what this process adds.
    """

    def __init__(self, path: Path, check: Callable[[Sequence[Run]], None] = lambda _: None) -> None:
        self.path = path
        self.histories = histories_of(path)
        self.lock = Lock(path)
        self.runs: dict[str, Run] = {}
        self._moments: dict[tuple[str, int], Moment] = {}
        self._check = check
        self._read()

    def add(self, run: Run, moments: Iterable[Moment]) -> None:
        """Add a run and write both files; a run that is there already stays as it is."""
        with self.lock:
            self._read()
            if run.key not in self.runs:
                self.runs[run.key] = run
                self._moments |= {(moment.key, moment.epoch): moment for moment in moments}
            self._write()

    def write(self) -> None:
        """Write both files, even when they hold no run yet."""
        with self.lock:
            self._read()
            self._write()

    def _read(self) -> None:
        """Take in what is on disk."""
        found = read(self.path)
        self._check([run for run, _ in found])
        for run, moments in found:
            self.runs[run.key] = run
            self._moments |= {(moment.key, moment.epoch): moment for moment in moments}

    def _write(self) -> None:
        """Write the table last, because its row says that all of the run is stored."""
        runs, moments = results.ordered(self.runs.values(), self._moments.values())
        of_run = _by_key(moments)
        lines = [{**run.model_dump(), DIGEST: _digest(run, of_run.get(run.key, []))} for run in runs]
        _write(self.histories, [*Moment.model_fields], [moment.model_dump() for moment in moments])
        _write(self.path, COLUMNS, lines)


def histories_of(path: Path) -> Path:
    """The file with the epochs of the runs in a table."""
    return path.with_name(f"{path.stem}_histories{path.suffix}")


def read(path: Path) -> list[tuple[Run, list[Moment]]]:
    """The runs of a table with their epochs, none where there is no file; numbers come back exactly as written.

    Epochs without a run are left out: a sweep was killed before it wrote the run. `FileError` where a row or its epochs
    are not what was written.
    """
    # The runs before their epochs, because `_write` writes them last: those of a run found here are there.
    lines = [(line, cells.pop(DIGEST), cells) for line, cells in _lines(path, COLUMNS)]
    histories = histories_of(path)
    columns = [*Moment.model_fields]
    of_run = _by_key(_parsed(histories, line, Moment, cells) for line, cells in _lines(histories, columns))
    found = []
    for line, digest, cells in lines:
        run = _parsed(path, line, Run, cells)
        moments = of_run.get(run.key, [])
        if digest != _digest(run, moments):
            raise FileError(
                f"{path}, line {line}: {DIGEST} is {digest!r}, so this row, or its epochs in {histories}, are not what "
                "the sweep wrote; restore both files, or remove the row to train it again"
            )
        found.append((run, moments))
    return found


def _by_key(moments: Iterable[Moment]) -> dict[str, list[Moment]]:
    found: dict[str, list[Moment]] = {}
    for moment in moments:
        found.setdefault(moment.key, []).append(moment)
    return found


def _digest(run: Run, moments: Sequence[Moment]) -> str:
    return fingerprint.of([run.model_dump(), *(moment.model_dump() for moment in moments)])


def baseline_rows(path: Path) -> list[Run]:
    """The runs of the topology `baseline` from the table of commit 59841fe, as it measured them.

    At that commit there was one topology, and recipes had profiles. The run of the profile `record`, a longer training
    that did not help, is left out: no page shows it. `FileError` where the table is not the one of record.
    """
    if path.exists():
        records.check(path)
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


def _write(path: Path, columns: list[str], lines: Sequence[Mapping[str, object]]) -> None:
    import pandas as pd

    files.write_csv(path, pd.DataFrame(lines, columns=columns))
