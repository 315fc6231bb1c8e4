"""A search from its options to its result: train the trials that are missing, store and log each, name the best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bnnlib.config.params import Params
from bnnlib.config.topology import Topology
from bnnlib.search import plan, results, trial
from bnnlib.search.plan import Asked, Search
from bnnlib.search.results import SearchError, State, Trial
from bnnlib.search.space import thresholds
from bnnlib.search.storage import Storage
from bnnlib.search.trial import Ended
from bnnlib.sweeps import backends, logbook, worker
from bnnlib.sweeps.backends import Call, Workers
from bnnlib.sweeps.logbook import Child, Status
from bnnlib.tracking import processes
from bnnlib.tracking.run import RunLog, open_run

SHOWN = 3  # of the best shapes
# MLflow has no word for a trial that was pruned. Here no trial is logged that runs.
STATUSES: dict[State, Status] = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


@dataclass(frozen=True)
class Places:
    """Where a search reads and writes. ``data``: the folder with the manifests, NAME.sha256, and perhaps raw/.

    ``out``: the table; ``storage``: the file with all that is known, of which the table is made.
    """

    data: Path
    out: Path
    storage: Path


def perform(base: Params, asked: Asked, places: Places, workers: Workers) -> Iterator[str]:
    """Train the trials that the storage lacks; yields a line for each, then the result, to be shown.

    ``base``: params.yaml. `SearchError` or `SweepError` where the options are wrong or the files are of another search.
    """
    cfg, search = plan.search(base, asked, places.data)
    workers.check()
    _refuse_places(places, search)
    storage = Storage(places.storage.absolute(), search, create=True)
    storage.release_killed()
    results.refuse_other(places.out, search.key)
    missing = len(storage.missing())
    yield f"{search.trials} trials, {len(storage.trials())} of them in {places.storage} already"
    if missing:
        yield from _train(cfg, search, storage, places, workers, missing)
    yield from _result(cfg, search, _written(search, storage, places.out), places.out)


def _refuse_places(places: Places, search: Search) -> None:
    for option, path in (("--out", places.out), ("--storage", places.storage)):
        if path.is_dir():
            raise SearchError(f"{option} {path}: a folder, expected a file; name one in it")
    if places.out.absolute() == places.storage.absolute():
        raise SearchError(f"--storage {places.storage}: it is the table, too; name another file")


def _train(
    cfg: Params, search: Search, storage: Storage, places: Places, workers: Workers, missing: int
) -> Iterator[str]:
    """Train as many trials as are missing, one in each call; yields a line for each."""
    process = processes.identity()
    values = {name: [value] for name, value in _named(search).items()}
    manifest = worker.manifest(places.data, cfg.data.name)
    folder = worker.first_folder(search.job, places.data)
    calls = [Call(trial.run, (search, storage.path, folder, process, number)) for number in range(missing)]
    try:
        with (
            open_run("search", cfg, _named(search), [manifest], name=logbook.title("search", values)) as log,
            closing(backends.run(calls, workers)) as outcomes,
        ):
            for number, ended in enumerate(filter(None, outcomes), start=1):
                trials = _written(search, storage, places.out)
                found = next(each for each in trials if each.number == ended.number)
                logbook.log_child(log, _child(search, found, ended))
                yield f"{number}/{missing} {_line(search, found)}"
            _log_result(log, _written(search, storage, places.out))
            log.log_artifact(places.out)
    finally:
        storage.release(process)


def _named(search: Search) -> dict[str, str | int]:
    """The options of a search, as MLflow shows them."""
    return {
        "bytes": search.limit,
        "bits": search.bits,
        "topology": search.job.topology,
        "epochs": search.epochs,
        "trials": search.trials,
    }


def _written(search: Search, storage: Storage, out: Path) -> list[Trial]:
    """The trials as they are now, the table written again."""
    with storage.lock:  # other searches write it, too
        trials = storage.trials()
        results.write(out, trials, search.bits, search.key)
    return trials


def _line(search: Search, found: Trial) -> str:
    about = f"trial {found.number}, {results.shape(found.topology)}, {found.topology.weight_bytes(search.bits):,} bytes"
    if found.state == "failed":
        return f"{about}: failed: {found.error}"
    if found.objective is None:
        last = found.moments[-1]
        return f"{about}: pruned after epoch {last.epoch} (validation loss {last.validation_loss:.4f})"
    return f"{about}: {found.objective:.4f}"


def _child(search: Search, found: Trial, ended: Ended) -> Child:
    """A trial as a run of MLflow."""
    name = f"topologies.{search.job.topology}"
    shape = {f"{name}.input.{search.job.data.name}": found.topology.input} if search.bits == 1 else {}
    shape[f"{name}.blocks"] = found.topology.model_dump()["blocks"]
    final = {"weight_bytes": found.topology.weight_bytes(search.bits), "macs": found.topology.macs}
    return Child(
        name=f"trial {found.number}",
        stage="search_trial",
        started=ended.started,
        seconds=ended.seconds,
        parameters={**search.job.logged, **shape, **{f"sample.{key}": value for key, value in found.sample.items()}},
        final=final if found.objective is None else {**final, "objective": found.objective},
        moments=found.moments,
        tags={"state": found.state, "shape": results.shape(found.topology), "error": found.error or ""},
        status=STATUSES[found.state],
    )


def _log_result(log: RunLog, trials: Sequence[Trial]) -> None:
    """Log how many trials ended how, and the best one."""
    metrics: dict[str, float | None] = {
        f"search.{state}": sum(each.state == state for each in trials) for state in ("complete", "pruned", "failed")
    }
    if ranked := results.best(trials):
        metrics |= {"search.best.objective": ranked[0].objective, "search.best.trial": ranked[0].number}
    log.log_metrics(metrics)


def _result(cfg: Params, search: Search, trials: Sequence[Trial], out: Path) -> Iterator[str]:
    """The best shapes, and the lines to have them in params.yaml."""
    running = [each for each in trials if each.state == "running"]
    if running:
        yield (
            f"{len(running)} more are trained by {running[0].process} (host, process, its start): the same command "
            "shows the result when they are done, and trains them again, on that host, if it was killed"
        )
    if not running and len(trials) < search.trials:
        yield f"{len(trials)} of {search.trials} trials: no other shape of at most {search.limit:,} bytes was found"
    ranked = results.best(trials)
    if not ranked and not running:
        raise SearchError(f"no trial is complete, see {out}; the first: {_line(search, trials[0])}")
    yield f"best of {len(trials)} trials by validation loss, mean of the last epochs; all are in {out}:"
    for each in ranked[:SHOWN]:
        yield f"  {_line(search, each)}"
    if first := next((each for each in ranked if each.number == 0), None):
        yield f"{search.job.topology}, scaled to these bytes, is trial 0: {first.objective:.4f}"
    yield "as lines under `topologies` in params.yaml:"
    for rank, each in enumerate(ranked[:SHOWN], start=1):
        name = f"{search.job.topology}_{search.limit}_{rank}"
        yield from results.entry(name, each.topology, _inputs(cfg, search, each.topology))


def _inputs(cfg: Params, search: Search, topology: Topology) -> Mapping[str, tuple[int, ...]]:
    """The input thresholds for every data set, as many as the network has planes."""
    known: dict[str, tuple[int, ...]] = cfg.topologies[search.job.topology].input.model_dump()
    if search.bits > 1:
        return known
    return {name: thresholds(values, len(topology.input)) for name, values in known.items()}
