"""One trial of a search, as a worker runs it: on this machine or on another one that reaches the storage."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bnnlib.data import splits
from bnnlib.data.splits import Split
from bnnlib.nn.published import NonFiniteError
from bnnlib.search.plan import Search
from bnnlib.search.results import State
from bnnlib.search.storage import Claim, Storage
from bnnlib.sweeps import worker
from bnnlib.sweeps.results import Moment

PARTS = ("train", "validation")  # the test images are not for choosing


@dataclass(frozen=True)
class Ended:
    """Which trial a worker ended, and its time as in `worker.Outcome`; all else is in the storage."""

    number: int
    started: float
    seconds: float


def run(search: Search, storage: Path, folder: Path, process: str, call: int) -> Ended | None:
    """Train the next trial that is missing, if any, from ``folder`` where this machine has it.

    ``process``, ``call``: see `Storage.claim`. None, too, where the search has given the trial up meanwhile. What keeps
    this worker from any trial is raised, before it takes one.
    """
    with worker.ONE_AT_A_TIME:
        ready = worker.ready_folder(search.job, folder)
        data = {name: splits.read(ready / f"{name}.npz") for name in PARTS}
        stored = Storage(storage, search)
        claim = stored.claim(process, call)
        return None if claim is None else _run(search, stored, claim, data)


def _run(search: Search, stored: Storage, claim: Claim, data: dict[str, Split]) -> Ended | None:
    from optuna.exceptions import UpdateFinishedTrialError

    started, clock = time.time(), time.perf_counter()
    moments: list[Moment] = []
    state: State = "complete"
    error = None
    try:
        training = search.job.training.model_copy(update={"topology": claim.topology})
        try:
            for epoch in worker.epochs_of(training, data):
                moments.append(worker.moment(str(claim.number), epoch))
                if not stored.report(claim, moments[-1]):
                    state = "pruned"
                    break
        except NonFiniteError as found:
            state, error = "failed", str(found)
        stored.end(claim, moments, state, error)
    except UpdateFinishedTrialError:  # released
        return None
    return Ended(claim.number, started, time.perf_counter() - clock)
