"""A sweep: trainings over a grid, of seeds, bit widths and more."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bnnlib.config import messages, params
from bnnlib.config.params import Data, Params, ParamsError, Pass
from bnnlib.config.spec import FULL_BITS, Training, Variant
from bnnlib.core import fingerprint
from bnnlib.core.errors import BnnError
from bnnlib.sweeps.results import NONE, Group

# What a grid may vary: the option, and the parameters that it replaces. `bnn search` has one topology.
AXES = {
    "datasets": ("data.name",),
    "topologies": ("model.topology",),
    "topology": ("model.topology",),
    "bits": ("model.bits",),
    "surrogates": ("binary.quantizer.surrogate",),
    "seeds": ("seed",),
    "epochs": ("full.epochs", "binary.epochs", "multibit.epochs"),
}
THREADS = 1  # of each training, whatever params.yaml says: a sweep fills the cores with processes


class SweepError(BnnError):
    """A sweep cannot be run as asked; the message lists every error."""


@dataclass(frozen=True)
class Job:
    """One training of a sweep with all that decides its results: parameters, data and code.

    ``manifest``: file name -> SHA-256 of the raw data; ``code``: fingerprint of the modules that compute.
    ``topology`` and ``surrogate`` are the names in the table for what ``training`` holds; `NONE` for no surrogate.
    ``passes``: those that the 1-bit network is scored with too, beside the plain one.
    ``logged``: the parameters for MLflow, by their dotted names in params.yaml.
    """

    training: Training
    topology: str
    surrogate: str
    data: Data
    manifest: Mapping[str, str]
    code: str
    logged: Mapping[str, Any]
    passes: tuple[Pass, ...] = ()

    @property
    def key(self) -> str:
        """The same for two jobs only where they must give the same results."""
        return fingerprint.of(
            {
                "training": self.training.model_dump(),
                "data": self.data.model_dump(),
                "manifest": dict(self.manifest),
                "code": self.code,
                **({"passes": [each.model_dump() for each in self.passes]} if self.passes else {}),
            }
        )

    def __str__(self) -> str:
        group = Group(self.data.name, self.topology, self.training.bits, self.surrogate)
        return f"{group}, seed {self.training.seed}"


def axes(*, epochs: int | None = None, **texts: str | None) -> dict[str, list[int | str]]:
    """The axes of a grid from its options, such as ``seeds="0,1,2"``; an option that is None is left out."""
    found = {axis: values(text) for axis, text in texts.items() if text is not None}
    return found if epochs is None else {**found, "epochs": [epochs]}


def values(text: str) -> list[int | str]:
    """The values of an option such as "0,1,2" or "ste,approx"; the schema checks whether they are allowed."""
    words = [word.strip() for word in text.split(",")]
    return [int(word) if re.fullmatch(r"-?[0-9]+", word) else word for word in words]


def variants(base: Params, axes: Mapping[str, Sequence[object]], what: str = "the sweep's options") -> list[Params]:
    """The parameters of each point of the grid; an axis that is not named keeps the base's value.

    `SweepError` lists every value that params.yaml would not allow, as one of ``what``.
    """
    errors = [error for axis, given in axes.items() for value in given for error in _errors(base, axis, value)]
    if errors:
        raise SweepError(messages.listed(what, errors))
    grid = itertools.product(*([(axis, value) for value in given] for axis, given in axes.items()))
    return [_replaced(base, dict(point)) for point in grid]


def job(cfg: Params, manifest: Mapping[str, str], code: str) -> Job:
    """The job of one point: 16 bits by the recipe `full`, the other widths as `train_binary` trains them."""
    variant: Variant = "full" if cfg.model.bits == FULL_BITS else "binary"
    training = cfg.training(variant)
    runtime = training.runtime.model_copy(update={"threads": THREADS})
    binary = training.bits == 1
    surrogate = training.quantization.surrogate if binary else NONE
    passes = cfg.model.passes if binary else ()
    training = training.model_copy(update={"runtime": runtime})
    logged = {
        **params.flatten(cfg.data, "data."),
        **cfg.of_training(variant),
        "model.bits": training.bits,
        "runtime.threads": THREADS,
        **({"model.passes": [each.model_dump() for each in passes]} if binary else {}),
    }
    return Job(training, cfg.model.topology, surrogate, cfg.data, manifest, code, logged, passes)


def distinct(jobs: Iterable[Job]) -> list[Job]:
    """The jobs without repetitions, the first of each: above 1 bit all surrogates are the same job.

    So are two topologies of the same blocks, which then differ in their input thresholds alone.
    """
    found: dict[str, Job] = {}
    for job in jobs:
        found.setdefault(job.key, job)
    return list(found.values())


def _errors(base: Params, axis: str, value: object) -> list[str]:
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
    return params.parse(content, "the options")
