"""Stages in a few lines, run in a clone by real Python, and what they leave in its database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

# A stage that logs three epochs, a file and parameters; tests put lines into its place MIDDLE.
STAGE = """
import os, sys, time
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


def statuses(database: Path) -> list[tuple[str, str]]:
    """Name and status of each run, in the order in which they began."""
    return rows(database, "select name, status from runs order by start_time")


def rows(database: Path, query: str) -> list[tuple[str, ...]]:
    """The rows of a query, without MLflow, which would keep the file open."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()
