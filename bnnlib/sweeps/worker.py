"""One job of a sweep, as a worker runs it: on this machine or on another one that has the project installed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from bnnlib import training
from bnnlib.config import params
from bnnlib.config.params import Params
from bnnlib.config.spec import Training
from bnnlib.core import fingerprint, runtime
from bnnlib.core.errors import BnnError
from bnnlib.core.files import FileError
from bnnlib.data import prepare, sources
from bnnlib.data.sources import Source
from bnnlib.data.splits import Split
from bnnlib.export import pack
from bnnlib.nn.published import Published, restore
from bnnlib.packed import engines, passes
from bnnlib.packed.model import Pass
from bnnlib.scoring import evaluation
from bnnlib.scoring.metrics import Scores
from bnnlib.sweeps import grid
from bnnlib.sweeps.grid import Job, SweepError
from bnnlib.sweeps.results import Moment, Run
from bnnlib.training import loop
from bnnlib.training.loop import Epoch

# The folders and files of the package that compute a row. The values of the parameters are part of the key. The packed
# engine, by which several passes are scored, is not here: the tests hold it to the same logits, bit for bit.
CODE = (*training.CODE, "data/idx.py", "data/prepare.py")
# A Dask worker with several threads would run several jobs in one process. But torch has one generator for all, and
# Python 3.11 raises `SystemError` when two threads parse code, as for its fingerprint, at the same time.
ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """The result of a job: its row and its epochs, or the error that ended it.

    ``started``: when its training began, in seconds of Unix time by the clock of the worker; ``seconds``: how long that
    took, 0 where there was none. Neither is in the tables, whose bytes depend on the job alone.
    """

    job: Job
    run: Run | None
    moments: tuple[Moment, ...]
    error: str | None
    started: float
    seconds: float


def run_job(job: Job, folder: Path) -> Outcome:
    """Train one network and score it; runs in a worker, from ``folder`` where this machine has it."""
    try:
        with ONE_AT_A_TIME:
            return _timed(job, prepare.read(ready_folder(job, folder)))
    except BnnError as error:
        return Outcome(job, None, (), str(error), started=time.time(), seconds=0.0)


def job_of(cfg: Params, data: Path, code: str) -> Job:
    """The job of these parameters. ``data``: the folder with the manifests, NAME.sha256, and perhaps raw files."""
    return grid.job(cfg, sources.read_manifest(manifest(data, cfg.data.name)), code)


def manifest(data: Path, name: str) -> Path:
    """The list of the raw files of a data set."""
    return data / f"{name}.sha256"


def first_folder(job: Job, data: Path) -> Path:
    """The folder with a job's data, prepared before any worker needs it."""
    return prepared_folder(job, [sources.folder(data / "raw")])


def ready_folder(job: Job, folder: Path) -> Path:
    """The folder with a job's data: the one named where this machine has it; `SweepError` where the code is other."""
    if (found := code_fingerprint()) != job.code:
        raise SweepError(
            f"this worker runs other code ({found}) than the command ({job.code}); install the same commit there"
        )
    return folder if prepare.is_complete(folder) else prepared_folder(job, [])


def code_fingerprint() -> str:
    """Fingerprint of the modules that compute, as they are on this machine."""
    return fingerprint.of_package(CODE)


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Where prepared data are kept: BNN_CACHE_DIR, else bnn in the user's folder of caches."""
    named = environ.get("BNN_CACHE_DIR")
    if not named:
        return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnn"
    try:
        return Path(named).expanduser()
    except RuntimeError as error:
        raise SweepError(f"BNN_CACHE_DIR: {named}: there is no such user; name a folder") from error


def prepared_folder(job: Job, near: Sequence[Source]) -> Path:
    """The folder with a job's data in this machine's cache; made from raw files, those of ``near`` first."""
    named = os.environ.get("BNN_DATA_DIR")
    places = (*near, *sources.all_sources(job.data.name, Path(named) if named else None))
    cache = cache_folder(os.environ)
    try:
        return prepare.cached(cache, job.manifest, job.data, places)
    except OSError as error:
        reason = f"{cache}: prepared data cannot be kept there ({error.strerror})"
        raise SweepError(f"{reason}; BNN_CACHE_DIR names another folder") from error
    except FileError as error:
        raise SweepError(f"{error}; BNN_CACHE_DIR names another folder") from error


def _timed(job: Job, splits: Mapping[str, Split]) -> Outcome:
    """Train; the time of a training that fails counts too."""
    started, clock = time.time(), time.perf_counter()
    run: Run | None = None
    moments: tuple[Moment, ...] = ()
    message = None
    try:
        run, moments = _train(job, splits)
    except BnnError as error:
        message = str(error)
    return Outcome(job, run, moments, message, started, time.perf_counter() - clock)


def epochs_of(cfg: Training, splits: Mapping[str, Split]) -> Iterator[Epoch]:
    """Train, alone in this process."""
    runtime.seed(cfg.seed)
    runtime.configure(cfg.runtime.threads, cfg.runtime.device)
    return loop.fit(splits["train"], splits["validation"], cfg)


def _train(job: Job, splits: Mapping[str, Split]) -> tuple[Run, tuple[Moment, ...]]:
    cfg = job.training
    device = cfg.runtime.device
    epochs = list(epochs_of(cfg, splits))
    best = loop.best(epochs)
    model = restore(best.published).to(device)
    scores = evaluation.evaluate(model, *evaluation.tensors(splits["test"], device)).scores
    several = passes_scores(best.published, job.passes, splits["test"]) if job.passes else None
    run = Run(
        dataset=job.data.name,
        topology=job.topology,
        bits=cfg.bits,
        surrogate=job.surrogate,
        seed=cfg.seed,
        epoch=best.epoch,
        macro_f1=scores.macro_f1,
        loss=scores.loss,
        accuracy=scores.accuracy,
        validation_macro_f1=best.validation.macro_f1,
        validation_loss=best.validation.loss,
        passes_macro_f1=None if several is None else several.macro_f1,
        passes_loss=None if several is None else several.loss,
        weight_bytes=cfg.topology.weight_bytes(cfg.bits),
        key=job.key,
    )
    return run, tuple(moment(job.key, epoch) for epoch in epochs)


def passes_scores(published: Published, given: Sequence[params.Pass], test: Split) -> Scores:
    """Scores of a 1-bit network that makes these passes beside the plain one."""
    model = pack.pack(published, [Pass(**each.model_dump()) for each in given])
    logits = passes.logits(engines.best(model), test.images, len(model.passes))
    return evaluation.score(torch.from_numpy(logits), torch.from_numpy(test.labels).long()).scores


def moment(key: str, epoch: Epoch) -> Moment:
    """The row of an epoch."""
    return Moment(
        key=key,
        epoch=epoch.epoch,
        train_loss=epoch.train.loss,
        validation_loss=epoch.validation.loss,
        validation_macro_f1=epoch.validation.macro_f1,
        flip_ratio=epoch.flip_ratio,
    )
