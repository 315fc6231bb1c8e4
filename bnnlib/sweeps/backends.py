"""Where jobs run: processes of this machine, which joblib drives, or a Dask cluster."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from bnnlib.core.extras import needed
from bnnlib.sweeps import worker
from bnnlib.sweeps.grid import Job, SweepError
from bnnlib.sweeps.worker import Outcome

if TYPE_CHECKING:
    from distributed import Client

Backend = Literal["loky", "dask"]
Result = TypeVar("Result")
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


@dataclass(frozen=True)
class Call(Generic[Result]):
    """A function, by its name in a module, and what it gets. Its pickle makes the call where it is loaded.

    A worker that gets this pickle as plain bytes, to load them itself, can say that it lacks the package. One that
    finds our functions in Dask's own messages loses its connection instead, and the client waits for ever.
    """

    function: Callable[..., Result]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Result], tuple[Any, ...]]:
        return self.function, self.arguments


def results(jobs: Sequence[Job], folders: Mapping[str, Path], workers: Workers) -> Generator[Outcome]:
    """Run the jobs of a sweep, as `run` does. ``folders``: key of a job -> its prepared data."""
    return run([Call(worker.run_job, (job, folders[job.key])) for job in jobs], workers)


def run(calls: Sequence[Call[Result]], workers: Workers) -> Generator[Result]:
    """Make calls, of one function; yields each result as soon as it is ready.

    Close it where an error ends the loop over it: a client of Dask that is left to the interpreter's end waits there.
    """
    return _here(calls, workers.jobs) if workers.scheduler is None else _on_cluster(calls, workers.scheduler)


def _here(calls: Sequence[Call[Result]], jobs: int | None) -> Generator[Result]:
    """Run in processes of this machine, ``jobs`` of them."""
    import joblib

    with joblib.parallel_config(backend="loky"):
        processes = joblib.cpu_count() if jobs is None else jobs
        parallel = joblib.Parallel(processes, return_as="generator_unordered", batch_size=1)
    try:
        yield from parallel(joblib.delayed(call.function)(*call.arguments) for call in calls)
    except BrokenProcessPool as error:
        raise SweepError(
            "a worker process was ended from outside, perhaps because memory ran out; what was done is stored, "
            "and the same command continues from there (--jobs 1 needs the least memory)"
        ) from error


def _on_cluster(calls: Sequence[Call[Result]], scheduler: str) -> Generator[Result]:
    """Run on a Dask cluster; calls of a worker that is lost go to the others.

    Calls are handed out all at once, so that workers that join later find some.
    """
    with needed("cluster", "--backend dask"):
        from distributed import CancelledError, KilledWorker, as_completed
    with _connected(scheduler) as client:
        try:
            # Nothing else holds the futures: Dask would repeat what a lost worker had done as long as something does.
            sent = as_completed(client.map(pickle.loads, [*map(pickle.dumps, calls)], pure=False), loop=client.loop)
            for future in sent:
                yield future.result()
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
        except (ImportError, AttributeError) as error:
            if not (lacking := _without(client, calls[0].function)):
                raise
            raise SweepError(
                f"workers of the cluster at {scheduler} cannot load bnnlib: {lacking}; install bnnlib[train] there, of "
                "the same commit as here, and start them again; what was done is stored, and the same command "
                "continues from there"
            ) from error


def _connected(scheduler: str) -> Client:
    """A client of a cluster that has a worker."""
    from distributed import Client

    try:
        client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise SweepError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error})") from error
    try:
        client.wait_for_workers(1, timeout=FIRST_WORKER_S)
    except TimeoutError as error:
        client.close()
        raise SweepError(f"the cluster at {scheduler} has no worker; start some: {WORKER}") from error
    return client


def _without(client: Client, function: Callable[..., object]) -> str:
    """Workers that cannot load a function of ours, each with the reason; empty where all can."""
    found = client.run(pickle.loads, pickle.dumps(function), on_error="return")
    reasons = {address: answer for address, answer in found.items() if isinstance(answer, Exception)}
    return ", ".join(f"{address} ({reason})" for address, reason in reasons.items())
