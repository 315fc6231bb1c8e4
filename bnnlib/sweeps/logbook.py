"""A sweep in MLflow: each result is a child run of the sweep's run."""

from __future__ import annotations

from collections.abc import Sequence

from bnnlib.config import params
from bnnlib.sweeps.grid import Job
from bnnlib.sweeps.results import Moment, Run
from bnnlib.tracking.run import RunLog, logged
from bnnlib.tracking.store import ready


# Not a method of `RunLog`, because then every stage of the graph would depend on the sweep.
@logged
def log_result(log: RunLog, job: Job, run: Run, moments: Sequence[Moment]) -> None:
    """Log a finished training as a child of the open run: its parameters, its scores, and those of each epoch."""
    import mlflow

    tags = {"dvc_stage": "sweep_run", "sweep_key": run.key}
    experiment = ready(log.store)  # without it, the run would land in MLflow's default experiment
    with mlflow.start_run(experiment_id=experiment, run_name=str(job), nested=True, tags=tags):
        values = {"model.topology": job.topology, **params.flatten(job.training), **params.flatten(job.data, "data.")}
        mlflow.log_params(values)
        mlflow.log_metrics(run.model_dump(exclude={"dataset", "topology", "bits", "surrogate", "seed", "key"}))
        for moment in moments:  # under their own names: the run's scores are those of the chosen epoch
            scores = moment.model_dump(exclude={"key", "epoch"}, exclude_none=True)
            mlflow.log_metrics({f"epoch_{name}": value for name, value in scores.items()}, step=moment.epoch)
