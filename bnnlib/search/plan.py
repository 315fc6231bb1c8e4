"""What is searched for: the options, checked, and all that decides what a trial gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bnnlib.config.params import Params
from bnnlib.core import fingerprint
from bnnlib.search.results import SearchError
from bnnlib.search.space import Space
from bnnlib.sweeps import grid, worker
from bnnlib.sweeps.grid import Job

CODE = ("search/results.py", "search/space.py", "search/storage.py", "search/trial.py")  # beside that of a training


@dataclass(frozen=True)
class Asked:
    """The options of `bnn search`; None: as params.yaml has it. ``limit``: of weight bytes; None: the topology's."""

    limit: int | None
    trials: int
    epochs: int
    bits: int | None = None
    topology: str | None = None


@dataclass(frozen=True)
class Search:
    """A search, and the job of its origin: the named topology as it is. ``trials``: how many there shall be in all."""

    job: Job
    limit: int
    trials: int

    @property
    def bits(self) -> int:
        """Width of weights and activations."""
        return self.job.training.bits

    @property
    def epochs(self) -> int:
        """Of each trial."""
        return self.job.training.recipe.epochs

    @property
    def space(self) -> Space:
        """The shapes to choose from."""
        return Space(self.job.training.topology, self.bits, self.limit)

    def about(self) -> dict[str, str | int]:
        """What its trials depend on, by name: one storage holds trials of one search."""
        return {
            "bytes": self.limit,
            "bits": self.bits,
            "epochs": self.epochs,
            "topology": self.job.topology,
            "data set": self.job.data.name,
            "data": fingerprint.of({"data": self.job.data.model_dump(), "manifest": dict(self.job.manifest)}),
            "parameters": fingerprint.of(self.job.training.model_dump()),
            "code": fingerprint.of([self.job.code, fingerprint.of_package(CODE)]),
        }

    @property
    def key(self) -> str:
        """The same for two searches only where they search for the same in the same way."""
        return fingerprint.of(self.about())


def search(base: Params, asked: Asked, data: Path) -> tuple[Params, Search]:
    """The search that these options ask for, and its parameters; `SweepError` or `SearchError` where it cannot be."""
    given = {"topology": asked.topology, "bits": asked.bits, "epochs": asked.epochs}
    axes = {name: [value] for name, value in given.items() if value is not None}
    [cfg] = grid.variants(base, axes, "the search's options")
    job = worker.job_of(cfg, data, worker.code_fingerprint())
    own = job.training.topology.weight_bytes(job.training.bits)
    found = Search(job, own if asked.limit is None else asked.limit, asked.trials)
    if not found.space.origin.blocks:
        raise SearchError(f"--topology: {cfg.model.topology} has no blocks whose channels could be chosen")
    least, most = found.space.bounds()
    if not least <= found.limit <= most:
        raise SearchError(
            f"--bytes: {found.limit} is not allowed; allowed: {least} to {most}, the least and the most weight bytes "
            f"that the channels of {cfg.model.topology} can have at --bits {found.bits}"
        )
    return cfg, found
