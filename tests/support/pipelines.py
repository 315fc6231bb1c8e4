"""What pipelines in a clone leave in MLflow and in DVC's queue; a killed one; and damage to a file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow
from mlflow.entities import Run
from support.clone import Clone

from bnnlib.config import params
from bnnlib.tracking import pipeline

# One epoch on 400 images, in steps of 40.
SMALL = {"data__limit": "400", "full__epochs": "1", "binary__epochs": "1", "multibit__epochs": "1"}
SMALL |= {"full__batch_size": "40", "binary__batch_size": "40"}
ARTIFACTS = {"figures", "metrics.json", "params.yaml", "dvc.lock"}


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


def killed(clone: Clone, moment: Callable[[], bool]) -> None:
    """Start the training, kill DVC and all below it at that moment, and repair what that may leave half-written."""
    process = subprocess.Popen(
        ["dvc", "repro", "train_binary"],
        cwd=clone.folder,
        env=clone.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not moment():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    clone.run("python", "-m", "bnnlib", "repair")  # `make repro` begins with this too


def flip_byte(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.chmod(0o644)
    path.write_bytes(content)


def assert_whole(clone: Clone, parent: Run, stages: Mapping[str, Run]) -> None:
    """The run above has all parameters, the scores of the reports, the curves of the trainings, and files."""
    client = client_of(clone)
    small = params.load(clone.folder / "params.yaml")
    assert parent.data.params == pipeline.all_params(small)
    assert parent.data.params["topologies.baseline.blocks"].startswith("[{channels: 32, kernel: 9, pool: 1}, ")
    stored = json.loads(clone.read("reports/metrics.json"))
    for variant in ("full", "binary"):
        assert parent.data.metrics[f"{variant}.test.macro_f1"] == stored[variant]["test"]["macro_f1"]
        assert parent.data.metrics[f"{variant}.seconds"] > 0
        [moment] = client.get_metric_history(parent.info.run_id, f"{variant}.validation_macro_f1")
        assert (moment.step, moment.value) == (1, stored[variant]["validation"]["macro_f1"])
        name = f"{variant}.train_loss"
        assert parent.data.metrics[name] == stages[f"train_{variant}"].data.metrics[name]
    assert parent.data.metrics["binary.packed_bytes"] == (clone.folder / "models/binary.bnn").stat().st_size
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} == ARTIFACTS
    note = parent.data.tags["mlflow.note.content"]
    assert f"{stored['binary']['test']['macro_f1']:.4f}" in note
    assert f"figures%2Floss.png&run_uuid={parent.info.run_id}" in note


def assert_restored(clone: Clone) -> None:
    """The training of the full network comes from the cache, and no code of it ran in that experiment."""
    copy = clone.folder / "copy.db"  # MLflow keeps the database open that the test has deleted
    shutil.copyfile(clone.folder / "mlflow.db", copy)
    client = mlflow.MlflowClient(f"sqlite:///{copy}")
    parents = client.search_runs(["1"], "tags.dvc_stage = 'pipeline'")
    [parent] = [run for run in parents if run.data.params["model.bits"] == "8"]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["restored"].split() == ["download", "preprocess", "train_full"]
    assert parent.data.tags["changed"] == "model.bits=8"
    assert parent.data.tags["command"] == "dvc exp run --temp -S model.bits=8"
    stored = json.loads(clone.read("reports/metrics.json"))["full"]
    assert parent.data.metrics["full.test.macro_f1"] == stored["test"]["macro_f1"]
    [moment] = client.get_metric_history(parent.info.run_id, "full.validation_macro_f1")
    assert (moment.step, moment.value) == (1, stored["validation"]["macro_f1"])
    assert "full.seconds" not in parent.data.metrics
    # The queued ones ended before the stage that closes their parent, which the next pipeline then did.
    assert {run.info.status for run in parents} == {"FINISHED"}
    copy.unlink()
