"""A sweep: trainings over a grid, of seeds, bit widths and more, and the tables of their results."""

from __future__ import annotations

import itertools
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict

from bnnlib.config import params
from bnnlib.config.params import FULL_BITS, Data, Params, ParamsError, Training
from bnnlib.core import fingerprint
from bnnlib.core.errors import BnnError

# What a grid may vary: the option, and the parameters that it replaces.
AXES = {
    "datasets": ("data.name",),
    "topologies": ("model.topology",),
    "bits": ("model.bits",),
    "surrogates": ("binary.surrogate",),
    "seeds": ("seed",),
    "epochs": ("full.epochs", "binary.epochs", "multibit.epochs"),
}
NONE = "none"  # surrogate of networks wider than 1 bit, which have none
SCORES = ("macro_f1", "loss", "accuracy", "validation_macro_f1", "validation_loss")
THREADS = 1  # of each training, whatever params.yaml says: a sweep fills the cores with processes


class SweepError(BnnError):
    """A sweep cannot be run as asked; the message lists every fault."""


class _Row(BaseModel):
    """A row of a table, also from text: the file's numbers read back exactly."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Group(NamedTuple):
    """What runs share that differ by the seed alone. ``topology``: its name; ``surrogate``: `NONE` above 1 bit."""

    dataset: str
    topology: str
    bits: int
    surrogate: str

    def __str__(self) -> str:
        surrogate = "" if self.surrogate == NONE else f", {self.surrogate}"
        return f"{self.dataset}, {self.topology}, {width(self.bits)}{surrogate}"


class Run(_Row):
    """One training: its place in the grid, then the results of the epoch with the best macro-F1 on validation.

    ``macro_f1``, ``loss`` (nats an image) and ``accuracy`` are those of the test set, which chooses nothing.
    ``weight_bytes``: the weights at their bit width. ``key``: `Job.key`.
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
    flip_ratio: Annotated[float | None, BeforeValidator(lambda value: None if value == "" else value)]


@dataclass(frozen=True)
class Job:
    """One training of a sweep with all that decides its results: parameters, data and code.

    ``manifest``: file name -> SHA-256 of the raw data; ``code``: fingerprint of the modules that compute.
    ``topology`` and ``surrogate`` are the names in the table for what ``training`` holds; `NONE` for no surrogate.
    """

    training: Training
    topology: str
    surrogate: str
    data: Data
    manifest: Mapping[str, str]
    code: str

    @property
    def key(self) -> str:
        """The same for two jobs only where they must give the same results."""
        return fingerprint.of(
            {
                "training": self.training.model_dump(),
                "data": self.data.model_dump(),
                "manifest": dict(self.manifest),
                "code": self.code,
            }
        )

    def __str__(self) -> str:
        group = Group(self.data.name, self.topology, self.training.bits, self.surrogate)
        return f"{group}, seed {self.training.seed}"


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1 in the denominator; None for one value)."""

    mean: float
    sd: float | None


@dataclass(frozen=True)
class Summary:
    """What the ``n`` seeds of one group came to: name of a score -> its spread."""

    group: Group
    n: int
    scores: Mapping[str, Spread]


def width(bits: int) -> str:
    """A bit width in words: "1 bit", "16 bits"."""
    return f"{bits} bit{'s' if bits > 1 else ''}"


def values(text: str) -> list[int | str]:
    """The values of an option such as "0,1,2" or "ste,approx"; whether they are allowed, the schema says."""
    words = [word.strip() for word in text.split(",")]
    return [int(word) if re.fullmatch(r"-?[0-9]+", word) else word for word in words]


def variants(base: Params, axes: Mapping[str, Sequence[object]]) -> list[Params]:
    """The parameters of each point of the grid; an axis that is not named keeps the base's value.

    `SweepError` lists every value that params.yaml would not allow.
    """
    faults = [fault for axis, given in axes.items() for value in given for fault in _faults(base, axis, value)]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise SweepError("\n".join([f"the sweep's options: {count}", *(f"  {fault}" for fault in faults)]))
    grid = itertools.product(*([(axis, value) for value in given] for axis, given in axes.items()))
    return [_replaced(base, dict(point)) for point in grid]


def job(cfg: Params, manifest: Mapping[str, str], code: str) -> Job:
    """The job of one point: 16 bits by the recipe `full`, the other widths as `train_binary` trains them."""
    training = cfg.training("full" if cfg.model.bits == FULL_BITS else "binary")
    runtime = training.runtime.model_copy(update={"threads": THREADS})
    surrogate = training.quantization.surrogate if training.bits == 1 else NONE
    training = training.model_copy(update={"runtime": runtime})
    return Job(training, cfg.model.topology, surrogate, cfg.data, manifest, code)


def distinct(jobs: Iterable[Job]) -> list[Job]:
    """The jobs without repetitions, the first of each: above 1 bit all surrogates are the same job.

    So are two topologies of the same blocks, which then differ in their input thresholds alone.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        found.setdefault(job.key, job)
    return list(found.values())


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
    scores = {name: _spread([getattr(run, name) for run in runs]) for name in SCORES}
    return Summary(runs[0].group(), len(runs), scores)


def _spread(numbers: Sequence[float]) -> Spread:
    return Spread(statistics.fmean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None)


def _faults(base: Params, axis: str, value: object) -> list[str]:
    """What the schema has against a value of an option: one line, also where it replaces several parameters."""
    try:
        _replaced(base, {axis: value})
    except ParamsError as error:
        return [f"--{axis}: {str(error).splitlines()[1].strip()}"]
    return []


def _replaced(base: Params, point: Mapping[str, object]) -> Params:
    """The base with the values of one point of the grid."""
    content: dict[str, Any] = base.model_dump()
    for axis, value in point.items():
        for name in AXES[axis]:
            *path, last = name.split(".")
            section = content
            for step in path:
                section = section[step]
            section[last] = value
    return params.parse(content, "the sweep's options")
