"""A sweep in MLflow: a run for the grid with the means of its groups, and one below it for each training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bnnlib.sweeps import results
from bnnlib.sweeps.grid import Job
from bnnlib.sweeps.results import NONE, Group, Run, width
from bnnlib.sweeps.worker import Outcome
from bnnlib.tracking import pipeline, processes
from bnnlib.tracking.pipeline import PARENT_TAG
from bnnlib.tracking.run import RunLog

SCORES = {  # column of the table -> metric
    "macro_f1": "test.macro_f1",
    "loss": "test.loss",
    "accuracy": "test.accuracy",
    "validation_macro_f1": "validation.macro_f1",
    "validation_loss": "validation.loss",
}


def name(axes: Mapping[str, Sequence[object]]) -> str:
    """The name of a sweep: "sweep, bits 1 16, seeds 0 1"."""
    return ", ".join(["sweep", *(f"{axis} {' '.join(map(str, values))}" for axis, values in axes.items())])


def names(jobs: Sequence[Job]) -> dict[str, str]:
    """Key of a job -> what tells it from the others of the sweep: "1 bit, seed 3"."""
    groups = _short({job.key: Group(job.data.name, job.topology, job.training.bits, job.surrogate) for job in jobs})
    return {job.key: ", ".join([*groups[job.key], f"seed {job.training.seed}"]) for job in jobs}


def _short(groups: Mapping[str, Group]) -> dict[str, list[str]]:
    """The bit width of each group, and what else differs between groups; wider ones have no surrogate to name."""
    parts = {key: [group.dataset, group.topology, width(group.bits), group.surrogate] for key, group in groups.items()}
    shown = [len({*column} - {NONE}) > 1 for column in zip(*parts.values(), strict=True)]
    return {
        key: [
            part for part, differs in zip(words, shown, strict=True) if (differs or part == words[2]) and part != NONE
        ]
        for key, words in parts.items()
    }


def log_result(log: RunLog, name: str, outcome: Outcome, run: Run) -> None:
    """Log a finished training below the open run. ``run``: its row, which the outcome of a failed one lacks."""
    began, ended = int(outcome.started * 1000), int((outcome.started + outcome.seconds) * 1000)
    scores = {metric: getattr(run, column) for column, metric in SCORES.items()}
    final = {**scores, "epoch": run.epoch, "weight_bytes": run.weight_bytes, "seconds": outcome.seconds}
    run_ids: list[str] = []

    def create() -> None:
        tags = pipeline.common_tags("sweep_run", processes.identity())
        tags |= {PARENT_TAG: log.run_id, "sweep_key": run.key}
        run_ids.append(log.client.create_run(log.experiment_id, began, tags, name).info.run_id)

    def write() -> None:
        from mlflow.entities import Metric

        metrics = [Metric(key, value, ended, 0) for key, value in final.items()]
        for moment in outcome.moments:
            curves = moment.model_dump(exclude={"key", "epoch"}, exclude_none=True)
            metrics += [Metric(key, value, ended, moment.epoch) for key, value in curves.items()]
        log.client.log_batch(run_ids[0], metrics, pipeline.logged(outcome.job.logged))
        log.client.set_terminated(run_ids[0], "FINISHED", ended)

    log.call(create)
    log.call(write)


def summary(runs: Sequence[Run]) -> Mapping[str, float | None]:
    """Metrics of a whole sweep: mean and standard deviation of each group, and its best run by validation."""
    found: dict[str, float | None] = {"sweep.runs": len(runs)}
    groups = {str(each.group): each for each in results.aggregate(runs)}
    for key, words in _short({key: each.group for key, each in groups.items()}).items():
        start = re.sub(r"[^\w.]", "_", ".".join(["sweep", *words]))
        for column, metric in SCORES.items():
            found[f"{start}.{metric}.mean"] = groups[key].scores[column].mean
            found[f"{start}.{metric}.sd"] = groups[key].scores[column].sd
    if runs:
        best = max(runs, key=lambda run: run.validation_macro_f1)
        found |= {f"sweep.best.{metric}": getattr(best, column) for column, metric in SCORES.items()}
    return found
