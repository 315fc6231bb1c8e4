"""What a search found: its trials in order, its table, and the best shapes as params.yaml has them."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bnnlib.config.topology import Topology
from bnnlib.core import files
from bnnlib.core.errors import BnnError
from bnnlib.sweeps.results import Moment

State = Literal["complete", "pruned", "failed", "running"]
JUDGED_SHARE = 4  # the objective is that of the last fourth of the epochs
COLUMNS = (
    *("trial", "state", "objective", "epochs", "validation_loss", "validation_macro_f1", "weight_bytes", "macs"),
    *("input", "channels", "kernels", "pools", "error", "search"),
)


class SearchError(BnnError):
    """A search cannot be run as asked."""


@dataclass(frozen=True)
class Trial:
    """One trial: its place in the search, from 0, what was trained, and how that went, epoch by epoch.

    ``sample``: what Optuna chose, see `space.Space`. ``error``: of a failed one. ``process``: the search that it
    belongs to, see `tracking.processes.identity`.
    """

    number: int
    state: State
    topology: Topology
    sample: Mapping[str, float]
    moments: tuple[Moment, ...]
    error: str | None
    process: str

    @property
    def objective(self) -> float | None:
        """See `objective`; None for a trial that is not complete."""
        return objective(self.moments) if self.state == "complete" else None


def objective(moments: Sequence[Moment]) -> float:
    """Mean validation loss of the last fourth of the epochs, of one at least: what a search makes small."""
    return statistics.fmean(moment.validation_loss for moment in moments[-max(1, len(moments) // JUDGED_SHARE) :])


def best(trials: Sequence[Trial]) -> list[Trial]:
    """The complete trials, that of the smallest objective first."""
    ranked = [(trial.objective, trial.number, trial) for trial in trials if trial.objective is not None]
    return [trial for *_, trial in sorted(ranked, key=lambda each: each[:2])]


def shape(topology: Topology) -> str:
    """A topology in a few words: "18k5p2, 36k3p2, 44k3 on 4 planes"; p: the side of the pooling windows."""
    blocks = (f"{block.channels}k{block.kernel}{_pool(block.pool)}" for block in topology.blocks)
    count = len(topology.input)
    return ", ".join(blocks) + (f" on {count} plane{'s' if count > 1 else ''}" if count else "")


def _pool(side: int) -> str:
    return f"p{side}" if side > 1 else ""


def entry(name: str, topology: Topology, inputs: Mapping[str, Sequence[int]]) -> list[str]:
    """The lines of a topology under `topologies` in params.yaml. ``inputs``: thresholds by data set."""
    blocks = (f"{{channels: {each.channels}, kernel: {each.kernel}, pool: {each.pool}}}" for each in topology.blocks)
    return [
        f"  {name}:",
        "    input:",
        *(f"      {data}: {list(thresholds)}" for data, thresholds in inputs.items()),
        "    blocks:",
        *(f"      - {block}" for block in blocks),
    ]


def write(path: Path, trials: Sequence[Trial], bits: int, search: str) -> None:
    """Write the table of the trials that have ended. ``search``: its key, see `plan.Search`."""
    import pandas as pd

    rows = [_row(trial, bits, search) for trial in trials if trial.state != "running"]
    files.write_csv(path, pd.DataFrame(rows, columns=list(COLUMNS)))


def refuse_other(path: Path, search: str) -> None:
    """`SearchError` where there is a file that is not the table of this search."""
    if not path.exists():
        return
    reader = csv.DictReader(io.StringIO(files.read_text(path)))
    if reader.fieldnames != list(COLUMNS) or {row["search"] for row in reader} - {search}:
        raise SearchError(f"{path}: not the table of this search; name another file with --out, or move this one away")


def _row(trial: Trial, bits: int, search: str) -> dict[str, object]:
    """A row; validation scores are those of the last epoch."""
    last = trial.moments[-1] if trial.moments else None
    blocks = trial.topology.blocks
    return {
        "trial": trial.number,
        "state": trial.state,
        "objective": trial.objective,
        "epochs": len(trial.moments),
        "validation_loss": last and last.validation_loss,
        "validation_macro_f1": last and last.validation_macro_f1,
        "weight_bytes": trial.topology.weight_bytes(bits),
        "macs": trial.topology.macs,
        "input": _words(trial.topology.input),
        "channels": _words([block.channels for block in blocks]),
        "kernels": _words([block.kernel for block in blocks]),
        "pools": _words([block.pool for block in blocks]),
        "error": trial.error,
        "search": search,
    }


def _words(numbers: Sequence[int]) -> str:
    return " ".join(map(str, numbers))
