"""Stages in a few lines, run in a clone by real Python, and what they leave in its database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

EMPTIED = ("metrics", "latest_metrics", "params", "tags", "runs", "model_version_tags", "registered_model_aliases")
EMPTIED += ("model_versions", "registered_models")
# A program that is taken for DVC by its name; it prints the number of the stage below it, and waits for it.
DVC = """
import subprocess, sys
stage = subprocess.Popen(sys.argv[1:])
print(stage.pid, flush=True)
sys.exit(stage.wait())
"""
# A stage that logs three epochs, a file and parameters; tests put lines into its place MIDDLE.
STAGE = """
import os, signal, sys, time
for number in (signal.SIGHUP, signal.SIGTERM):  # they are ignored below nohup
    signal.signal(number, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)  # and this one behind an & of a shell
from pathlib import Path
from bnnlib.config import params
from bnnlib.tracking.run import open_run
with open_run("train_full", params.load("params.yaml"), {"seed": 0}, data=[Path("params.yaml")]) as log:
    for epoch in range(1, 4):
        log.log_epoch("full", {"epoch": epoch, "validation_loss": 1.0 / epoch, "flip_ratio": None})
    log.log_artifact(Path("params.yaml"))
    MIDDLE
print("done")
"""


def stage(middle: str = "pass") -> str:
    """The source of a stage."""
    return STAGE.replace("MIDDLE", middle)


# Before a stage: let a method of MLflow's client fail a few times.
FAILING = """
import mlflow
original, left = mlflow.MlflowClient.CALL, [TIMES]
def fail(*arguments, **named):
    if left[0]:
        left[0] -= 1
        raise ERROR
    return original(*arguments, **named)
mlflow.MlflowClient.CALL = fail
import bnnlib.tracking.outbox
bnnlib.tracking.outbox.PAUSE_S = SECONDS
"""


def failing(call: str, error: str, times: int, pause_s: float = 0.5) -> str:
    """Source that lets a method of MLflow's client raise an error some times; the next attempt is after a pause."""
    source = FAILING.replace("CALL", call).replace("ERROR", error)
    return source.replace("TIMES", str(times)).replace("SECONDS", str(pause_s))


def fresh(database: Path) -> Path:
    """The database without the runs and models of other tests, where there is one: to set it up takes seconds."""
    if database.exists():
        with closing(sqlite3.connect(database)) as connection, connection:
            for table in EMPTIED:
                connection.execute(f"delete from {table}")  # noqa: S608 names of ours
    return database


def statuses(database: Path) -> list[tuple[str, str]]:
    """Name and status of each run, in the order in which they began."""
    return rows(database, "select name, status from runs order by start_time")


def rows(database: Path, query: str) -> list[tuple[str, ...]]:
    """The rows of a query, without MLflow, which would keep the file open."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()
