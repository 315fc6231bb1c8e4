"""A sweep or a search in MLflow: a run for the whole, with what came out, and one below it for each training."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bnnlib.sweeps import results
from bnnlib.sweeps.grid import Job
from bnnlib.sweeps.results import NONE, Group, Moment, Run, width
from bnnlib.sweeps.worker import Outcome
from bnnlib.tracking import pipeline, processes
from bnnlib.tracking.pipeline import PARENT_TAG
from bnnlib.tracking.run import RunLog

Status = Literal["FINISHED", "FAILED", "KILLED"]
SCORES = {  # column of the table -> metric
    "macro_f1": "test.macro_f1",
    "loss": "test.loss",
    "accuracy": "test.accuracy",
    "validation_macro_f1": "validation.macro_f1",
    "validation_loss": "validation.loss",
    "passes_macro_f1": "passes.macro_f1",
    "passes_loss": "passes.loss",
}


@dataclass(frozen=True)
class Child:
    """A finished training as it is logged below the open run.

    ``stage``: the kind of run. ``started``, ``seconds``: as in `worker.Outcome`. ``final``: its results by the names of
    metrics. ``parameters``: by their dotted names in params.yaml.
    """

    name: str
    stage: str
    started: float
    seconds: float
    parameters: Mapping[str, Any]
    final: Mapping[str, float]
    moments: Sequence[Moment]
    tags: Mapping[str, str]
    status: Status = "FINISHED"


def title(kind: str, values: Mapping[str, Sequence[object]]) -> str:
    """The name of the run for the whole: "sweep, bits 1 16, seeds 0 1"."""
    return ", ".join([kind, *(f"{name} {' '.join(map(str, each))}" for name, each in values.items())])


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


def of_outcome(name: str, outcome: Outcome, run: Run) -> Child:
    """A finished training of a sweep. ``run``: its row, which the outcome of a failed one lacks."""
    return Child(
        name=name,
        stage="sweep_run",
        started=outcome.started,
        seconds=outcome.seconds,
        parameters=outcome.job.logged,
        final={**_scores(run), "epoch": run.epoch, "weight_bytes": run.weight_bytes},
        moments=outcome.moments,
        tags={"sweep_key": run.key},
    )


def log_child(log: RunLog, child: Child) -> None:
    """Log a training below the open run."""
    began, ended = int(child.started * 1000), int((child.started + child.seconds) * 1000)
    final = {**child.final, "seconds": child.seconds}
    run_ids: list[str] = []

    def create() -> None:
        tags = {**pipeline.common_tags(child.stage, processes.identity()), PARENT_TAG: log.run_id, **child.tags}
        run_ids.append(log.client.create_run(log.experiment_id, began, tags, child.name).info.run_id)

    def write() -> None:
        from mlflow.entities import Metric

        metrics = [Metric(key, value, ended, 0) for key, value in final.items()]
        for moment in child.moments:
            curves = moment.model_dump(exclude={"key", "epoch"}, exclude_none=True)
            metrics += [Metric(key, value, ended, moment.epoch) for key, value in curves.items()]
        log.client.log_batch(run_ids[0], metrics, pipeline.logged(child.parameters))
        log.client.set_terminated(run_ids[0], child.status, ended)

    log.call(create)
    log.call(write)


def summary(runs: Sequence[Run]) -> Mapping[str, float | None]:
    """Metrics of a whole sweep: mean and standard deviation of each group, and its best run by validation."""
    found: dict[str, float | None] = {"sweep.runs": len(runs)}
    groups = {str(each.group): each for each in results.aggregate(runs)}
    for key, words in _short({key: each.group for key, each in groups.items()}).items():
        start = re.sub(r"[^\w.]", "_", ".".join(["sweep", *words]))
        for column, spread in groups[key].scores.items():
            found[f"{start}.{SCORES[column]}.mean"] = spread.mean
            found[f"{start}.{SCORES[column]}.sd"] = spread.sd
    if runs:
        best = max(runs, key=lambda run: run.validation_macro_f1)
        found |= {f"sweep.best.{metric}": score for metric, score in _scores(best).items()}
    return found


def _scores(run: Run) -> dict[str, float]:
    """The scores that the run has, as metrics."""
    return {metric: score for column, metric in SCORES.items() if (score := getattr(run, column)) is not None}
