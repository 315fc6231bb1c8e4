"""What pipelines in a clone leave in MLflow and in DVC's queue; and damage to a file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import mlflow
from mlflow.entities import Run
from support.clone import Clone


def client_of(clone: Clone) -> mlflow.MlflowClient:
    """A client of the clone's database."""
    return mlflow.MlflowClient(f"sqlite:///{clone.folder}/mlflow.db")


def runs_of(clone: Clone) -> list[Run]:
    """All runs of the study, newest first."""
    experiment = client_of(clone).get_experiment_by_name("bnn")
    assert experiment is not None
    return list(client_of(clone).search_runs([experiment.experiment_id], max_results=1000))


def first_pipeline(clone: Clone) -> tuple[Run, dict[str, Run]]:
    """The oldest parent run, and the runs below it by stage."""
    runs = runs_of(clone)
    parent = next(run for run in reversed(runs) if run.data.tags["dvc_stage"] == "pipeline")
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return parent, {run.data.tags["dvc_stage"]: run for run in below}


def trainings_in_the_database(clone: Clone) -> list[tuple[str, str, str]]:
    """Bits, parent and experiment of each `train_binary`; read without MLflow, which keeps a deleted database open."""
    query = """
        select params.value, parents.value, experiments.value from runs
        join params on params.run_uuid = runs.run_uuid and params.key = 'model.bits'
        join tags as parents on parents.run_uuid = runs.run_uuid and parents.key = 'mlflow.parentRunId'
        join tags as experiments on experiments.run_uuid = runs.run_uuid and experiments.key = 'dvc_experiment'
        where runs.name like 'train_binary, %'
    """
    with sqlite3.connect(clone.folder / "mlflow.db") as database:
        return list(database.execute(query))


def queue_status(clone: Clone) -> str:
    """The output of `dvc queue status`, which fails while a worker writes the file that it reads."""
    done = clone.run("dvc", "queue", "status", check=False)
    return done.stdout if done.returncode == 0 else f"Running, {done.stderr}"


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(content)
