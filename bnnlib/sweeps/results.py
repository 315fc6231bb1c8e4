"""The results of a sweep: a row for each training and each epoch, and their means over the seeds."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict

NONE = "none"  # surrogate of networks wider than 1 bit, which have none
SCORES = (
    *("macro_f1", "loss", "accuracy", "validation_macro_f1", "validation_loss"),
    *("passes_macro_f1", "passes_loss"),
)
# What a table has an empty cell for.
Missing = BeforeValidator(lambda value: None if value == "" else value)


class _Row(BaseModel):
    """A row of a table, also from text: the file's numbers read back exactly."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Group(NamedTuple):
    """What runs that differ only in the seed share. ``topology``: its name; ``surrogate``: `NONE` above 1 bit."""

    dataset: str
    topology: str
    bits: int
    surrogate: str

    def __str__(self) -> str:
        surrogate = "" if self.surrogate == NONE else f", {self.surrogate}"
        return f"{self.dataset}, {self.topology}, {width(self.bits)}{surrogate}"


class Run(_Row):
    """One training: its place in the grid, then the results of the epoch with the best macro-F1 on validation.

    ``macro_f1``, ``loss`` (nats an image) and ``accuracy`` are those of the test set, which selects nothing.
    ``passes_macro_f1`` and ``passes_loss`` are those of several passes over each test image, `model.passes`; None
    above 1 bit and where only one was asked for. ``weight_bytes``: the weights at their bit width. ``key``: `Job.key`.
    """

    dataset: str
    topology: str
    bits: int
    surrogate: str
    seed: int
    epoch: int
    macro_f1: float
    loss: float
    accuracy: float
    validation_macro_f1: float
    validation_loss: float
    passes_macro_f1: Annotated[float | None, Missing] = None
    passes_loss: Annotated[float | None, Missing] = None
    weight_bytes: int
    key: str

    def group(self) -> Group:
        """Its group."""
        return Group(self.dataset, self.topology, self.bits, self.surrogate)

    def place(self) -> tuple[Group, int]:
        """Where the run is in the table."""
        return self.group(), self.seed

    def __str__(self) -> str:
        return f"{self.group()}, seed {self.seed}"


class Moment(_Row):
    """One epoch of the run with this key; ``flip_ratio`` is None above 1 bit."""

    key: str
    epoch: int
    train_loss: float
    validation_loss: float
    validation_macro_f1: float
    flip_ratio: Annotated[float | None, Missing]


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1 in the denominator; None for one value)."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class Summary:
    """The ``n`` seeds of one group together: name of a score -> its spread; without those that a run lacks."""

    group: Group
    n: int
    scores: Mapping[str, Spread]


def width(bits: int) -> str:
    """A bit width in words: "1 bit", "16 bits"."""
    return f"{bits} bit{'s' if bits > 1 else ''}"


def ordered(runs: Iterable[Run], moments: Iterable[Moment]) -> tuple[list[Run], list[Moment]]:
    """Both tables in the order of the grid, whatever the order in which the runs ended."""
    table = sorted(runs, key=Run.place)
    ranks = {run.key: rank for rank, run in enumerate(table)}
    return table, sorted(moments, key=lambda moment: (ranks[moment.key], moment.epoch))


def aggregate(runs: Iterable[Run]) -> list[Summary]:
    """Mean and standard deviation over the seeds of each group, in the table's order."""
    groups = itertools.groupby(sorted(runs, key=Run.place), key=Run.group)
    return [_summary(list(group)) for _, group in groups]


def _summary(runs: Sequence[Run]) -> Summary:
    columns = {name: [getattr(run, name) for run in runs] for name in SCORES}
    scores = {name: _spread(column) for name, column in columns.items() if None not in column}
    return Summary(runs[0].group(), len(runs), scores)


def _spread(numbers: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)
