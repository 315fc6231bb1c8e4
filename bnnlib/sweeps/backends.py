"""Where a sweep's jobs run: processes of this machine, or a Dask cluster; joblib drives both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bnnlib.core.extras import needed
from bnnlib.sweeps import worker
from bnnlib.sweeps.grid import Job, SweepError
from bnnlib.sweeps.worker import Outcome

if TYPE_CHECKING:
    import joblib
    from distributed import Client
    from joblib.parallel import ParallelBackendBase

Backend = Literal["loky", "dask"]
CONNECT_S = 20
FIRST_WORKER_S = 60
WORKER = "dask worker ADDRESS --nworkers auto --nthreads 1"


@dataclass(frozen=True)
class Workers:
    """Where jobs run: ``jobs`` processes here (None: one per core), or the Dask cluster at ``scheduler``."""

    backend: Backend = "loky"
    jobs: int | None = None
    scheduler: str | None = None

    def check(self) -> None:
        """`SweepError` where the options do not fit together."""
        if self.backend == "dask" and self.scheduler is None:
            raise SweepError("--backend dask needs --scheduler ADDRESS, as `dask scheduler` prints it: tcp://HOST:8786")
        if self.backend != "dask" and self.scheduler is not None:
            raise SweepError(f"--scheduler {self.scheduler} is for --backend dask, but the backend is {self.backend}")
        if self.backend == "dask" and self.jobs is not None:
            raise SweepError(f"--jobs {self.jobs} is for --backend loky; a Dask cluster runs a job on each worker")


def results(jobs: Sequence[Job], folders: Mapping[str, Path], workers: Workers) -> Iterator[Outcome]:
    """Run jobs; yields each outcome as soon as it is ready. ``folders``: key of a job -> its prepared data."""
    import joblib

    with _processes(workers.jobs) if workers.scheduler is None else _cluster(workers.scheduler) as parallel:
        yield from parallel(joblib.delayed(worker.run_job)(job, folders[job.key]) for job in jobs)


@contextmanager
def _processes(jobs: int | None) -> Iterator[joblib.Parallel]:
    """Processes of this machine, ``jobs`` of them."""
    import joblib

    with joblib.parallel_config(backend="loky"):
        parallel = _parallel(joblib.cpu_count() if jobs is None else jobs)
    try:
        yield parallel
    except BrokenProcessPool as error:
        raise SweepError(
            "a process of the sweep was ended from outside, perhaps because memory ran out; what was done is stored, "
            "and the same command continues from there (--jobs 1 needs the least memory)"
        ) from error


@contextmanager
def _cluster(scheduler: str) -> Iterator[joblib.Parallel]:
    """A Dask cluster, as many at a time as it has threads; jobs of a worker that is lost go to the others."""
    import joblib

    with needed("cluster", "--backend dask"):
        from distributed import CancelledError, Client, KilledWorker
    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SweepError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
    with client:
        with joblib.parallel_config(backend=_dask_backend(client)):
            parallel = _parallel(n_jobs=-1)
        try:
            yield parallel
        except TimeoutError as error:
            raise SweepError(f"the cluster at {scheduler} has no worker; start some: {WORKER}") from error
        except KilledWorker as error:
            raise SweepError(
                f"a job ended each worker that took it, perhaps because memory ran out: {error}"
            ) from error
        except CancelledError as error:
            reason = " ".join(str(error).split())
            raise SweepError(
                f"the scheduler at {scheduler} was lost ({reason}); what was done is stored: start it and its workers "
                "again, and the same command continues from there"
            ) from error


def _dask_backend(client: Client) -> ParallelBackendBase:
    """The backend of joblib for Dask, without jobs on this machine."""
    from joblib._dask import DaskDistributedBackend

    class WorkersOnly(DaskDistributedBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int) -> int:
            """At least two: with one, joblib would run the jobs right here instead of on the only worker."""
            return max(2, super().effective_n_jobs(n_jobs))

    return WorkersOnly(client=client, wait_for_workers_timeout=FIRST_WORKER_S)


def _parallel(n_jobs: int) -> joblib.Parallel:
    """Jobs are handed out all at once, so that workers that join later find some, and one by one."""
    import joblib

    return joblib.Parallel(n_jobs, return_as="generator_unordered", pre_dispatch="all", batch_size=1)
