"""A sweep from its options to its tables: train what is missing, store each result at once, log it.

A job computes the same row wherever it runs, and the tables are sorted, so that their bytes do not depend on which
worker ended first, nor on how often the sweep was interrupted.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from bnnlib.config.params import Params
from bnnlib.sweeps import backends, grid, logbook, worker
from bnnlib.sweeps.backends import Workers
from bnnlib.sweeps.grid import Job, SweepError
from bnnlib.sweeps.results import Run
from bnnlib.sweeps.tables import Tables, histories_of
from bnnlib.sweeps.worker import Outcome
from bnnlib.tracking.run import open_run


def perform(
    base: Params, axes: Mapping[str, Sequence[object]], data: Path, out: Path, workers: Workers
) -> Iterator[str]:
    """Train what the grid names and the table ``out`` lacks; yields a line for each result, to be shown.

    ``base``: params.yaml. ``data``: the folder with the manifests, NAME.sha256, and perhaps raw files in raw/.
    `SweepError` where the options are wrong, the table comes from another recipe, or a job failed (raised when all
    other jobs are done).
    """
    if out.is_dir():
        raise SweepError(f"{out}: a folder, expected a file for the table; name one in it: {out / 'sweep.csv'}")
    points = grid.variants(base, axes)
    workers.check()
    code = worker.code_fingerprint()
    jobs = grid.distinct(worker.job_of(cfg, data, code) for cfg in points)
    tables = _tables(out, base, axes, data, code)
    waiting = [job for job in jobs if job.key not in tables.runs]
    yield f"{len(jobs)} runs, {len(jobs) - len(waiting)} of them in {out} already"
    tables.write()
    if not waiting:
        return
    logged = {"jobs": len(waiting), **{axis: ",".join(map(str, values)) for axis, values in axes.items()}}
    names, failed = logbook.names(waiting), []
    manifests = sorted({worker.manifest(data, job.data.name) for job in jobs})
    with (
        open_run("sweep", base, logged, manifests, name=logbook.title("sweep", axes)) as log,
        closing(backends.results(waiting, _folders(waiting, data), workers)) as outcomes,
    ):
        for number, outcome in enumerate(outcomes, start=1):
            if outcome.run is None:
                failed.append(f"{outcome.job}: {outcome.error}")
            else:
                tables.add(outcome.run, outcome.moments)
                logbook.log_child(log, logbook.of_outcome(names[outcome.job.key], outcome, outcome.run))
            yield f"{number}/{len(waiting)} {_line(outcome)}"
        log.log_metrics(logbook.summary([tables.runs[job.key] for job in jobs if job.key in tables.runs]))
        log.log_artifact(tables.path)
        log.log_artifact(tables.histories)
        if failed:
            listed = "\n".join(f"  {each}" for each in failed)
            raise SweepError(f"{len(failed)} of {len(waiting)} runs failed, the others are in {out}:\n{listed}")


def _tables(out: Path, base: Params, axes: Mapping[str, Sequence[object]], data: Path, code: str) -> Tables:
    """The tables; `SweepError` where they hold a run whose key differs from what these parameters and this code give.

    Also later, where another process has stored such a run.
    """
    key_now = functools.cache(lambda run: _key_now(run, base, axes, data, code))  # each reading asks again

    def refuse_strangers(runs: Sequence[Run]) -> None:
        strangers = [run for run in runs if run.key != key_now(run)]
        if strangers:
            raise SweepError(
                f"{out} holds {len(strangers)} of {len(runs)} runs by other parameters, data or code than now, among "
                f"them {strangers[0]}; a table holds one recipe: name another file with --out, or move this one and "
                f"{histories_of(out).name} away"
            )

    return Tables(out, refuse_strangers)


def _key_now(run: Run, base: Params, axes: Mapping[str, Sequence[object]], data: Path, code: str) -> str | None:
    """The key that a run at this place of the table has now; None where its topology is gone."""
    if run.topology not in base.topologies:
        return None
    place: dict[str, Sequence[object]] = {
        "datasets": [run.dataset],
        "topologies": [run.topology],
        "bits": [run.bits],
        "seeds": [run.seed],
    }
    if run.bits == 1:
        place["surrogates"] = [run.surrogate]
    if "epochs" in axes:
        place["epochs"] = axes["epochs"]
    [cfg] = grid.variants(base, place)
    return worker.job_of(cfg, data, code).key


def _folders(jobs: Sequence[Job], data: Path) -> dict[str, Path]:
    """Prepare each data set once, before any worker needs it: key of a job -> folder."""
    made: dict[str, Path] = {}
    for job in jobs:
        if job.data.name not in made:  # all jobs of a sweep share the rest of `data`
            made[job.data.name] = worker.first_folder(job, data)
    return {job.key: made[job.data.name] for job in jobs}


def _line(outcome: Outcome) -> str:
    if outcome.run is None:
        return f"{outcome.job}: failed: {outcome.error}"
    return f"{outcome.job}: validation macro-F1 {outcome.run.validation_macro_f1:.4f} (epoch {outcome.run.epoch})"
