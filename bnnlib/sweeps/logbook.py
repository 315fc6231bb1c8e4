"""A sweep in the logbook: each result is a run below the sweep's."""

from __future__ import annotations

from collections.abc import Sequence

from bnnlib import tracking
from bnnlib.config import params
from bnnlib.sweeps.grid import Job, Moment, Run
from bnnlib.tracking import RunLog


# Not a method of `RunLog`: each stage of the graph would depend on the sweep.
@tracking.logged
def log_result(log: RunLog, job: Job, run: Run, moments: Sequence[Moment]) -> None:
    """Log a finished training below the open run: its parameters, its scores, and those of each epoch."""
    import mlflow

    tags = {"dvc_stage": "sweep_run", "sweep_key": run.key}
    experiment = tracking.ready(log.store)  # without it MLflow's default one, away from the parent
    with mlflow.start_run(experiment_id=experiment, run_name=str(job), nested=True, tags=tags):
        logged = {"model.topology": job.topology, **params.flatten(job.training), **params.flatten(job.data, "data.")}
        mlflow.log_params(logged)
        mlflow.log_metrics(run.model_dump(exclude={"dataset", "topology", "bits", "surrogate", "seed", "key"}))
        for moment in moments:  # under names of their own: the run's are those of the chosen epoch
            scores = moment.model_dump(exclude={"key", "epoch"}, exclude_none=True)
            mlflow.log_metrics({f"epoch_{name}": value for name, value in scores.items()}, step=moment.epoch)
